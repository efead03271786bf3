//! The end of a job whose keeper is dead: its processes first, then its locks.

use std::{io, thread, time::Duration};

use tracing::{info, warn};

use super::{
    folder::{JobFolder, KeeperRecord, keeper_of},
    open::{open_client, open_here},
    protocol::Farewell,
};
use crate::{
    client::{Client, Found},
    host::clock::BootTime,
    lock::Token,
    report::with_causes,
};

/// How long the release of a dead keeper's lock is tried by one stage.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first pause of one that tries on, and the longest: each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Ends what survives of `token` and gives its locks back. `Ok(None)`: its keeper lives, or some of its
/// processes can't be ended.
pub fn bury(folder: &JobFolder, token: Token) -> anyhow::Result<Option<Farewell>> {
    let record = match folder.read_record() {
        Ok(record) => record,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // It was killed before it asked for anything, or is just beginning: without its folder it can't.
            folder.remove_unrecorded(token);
            return Ok(Some(Farewell::default()));
        }
        Err(error) => return Err(error.into()),
    };
    let here = open_here(&record.store, folder.state())?;
    let found = match here.bury(token) {
        // A keeper that lives makes its file anew.
        Found::Missing if keeper_of(&record, token).is_some() => Found::Alive,
        Found::Missing => here.bury_without_file(token),
        found => found,
    };
    let Found::Buried(grave) = found else { return Ok(None) };
    let farewell = give_back(&record, folder, token)?;
    if farewell.failed.is_empty() {
        grave.remove()?;
        folder.remove(&record.owner, token);
    }
    Ok(Some(farewell))
}

/// As [`bury`], for a stage that ends with an error anyway: what it can't do is left to cleanup.
pub fn bury_now(folder: &JobFolder, token: Token) -> bool {
    bury_within(Duration::ZERO, folder, token)
}

/// As [`bury`], for one that may be the last to come: it tries on for `limit` while the store does not answer, or
/// somebody else has the dead one in hand. A waiter that looks who is ahead of it takes no folder away, and one
/// that fails leaves everything. Whether it is over.
pub fn bury_within(limit: Duration, folder: &JobFolder, token: Token) -> bool {
    let until = BootTime::now() + limit;
    let (mut pause, longest) = PAUSES;
    loop {
        match bury(folder, token) {
            Ok(Some(farewell)) => {
                info!(released = ?farewell.released, failed = ?farewell.failed, "buried");
                if farewell.failed.is_empty() {
                    return true;
                }
            }
            Ok(None) => info!("somebody else buries this job, or it lives"),
            Err(error) => warn!(error = with_causes(&error), "the job's lock is left to cleanup"),
        }
        if !folder.exists() {
            return true;
        }
        if BootTime::now() + pause >= until {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

fn give_back(record: &KeeperRecord, folder: &JobFolder, token: Token) -> anyhow::Result<Farewell> {
    let mut farewell = Farewell::default();
    if record.locks.is_empty() {
        return Ok(farewell);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = open_client(&record.store, folder.state()).await?;
        for name in &record.locks {
            match tokio::time::timeout(PATIENCE, withdraw(&client, name, token)).await {
                Ok(Ok(())) => farewell.released.push(name.clone()),
                Ok(Err(error)) => farewell.failed.push(error),
                Err(_) => farewell.failed.push(format!("lock {name}: the store did not answer in time")),
            }
        }
        client.recorded().await;
        Ok(farewell)
    })
}

async fn withdraw(client: &Client, name: &crate::lock::LockName, token: Token) -> Result<(), String> {
    client.withdraw_dead(name, token).await.map_err(|error| error.to_string())
}
