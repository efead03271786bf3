//! `reserve`: keeps a lock from everyone for a while.

use uuid::Uuid;

use super::{
    Exit,
    args::ReserveArgs,
    here_job::who_outside,
    main::runtime,
    static_note::{self, Note},
};
use crate::{
    client::{Held, Reservation},
    config::Config,
    lock::{LockName, Token},
    report::{self, clean, clock_time, holder_name, taken_by},
    store::StoreError,
};

/// Reserves.
pub fn run(args: &ReserveArgs, config: &Config) -> anyhow::Result<Exit> {
    let name = LockName::new(&args.name)?;
    let reason = args.reason.clone();
    let token = Token::new(Uuid::new_v4());
    let wanted = Reservation { token, who: who_outside("reserve"), reason, lasting: Some(args.lasting) };
    let reserved = runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        // Before it is asked for: without the note nobody could release what an unanswered write has brought.
        static_note::write(&config.state, Note::Reserved, &name, &token.to_string())?;
        let reserved = client.reserve(&name, &wanted).await;
        let may_stand = match &reserved {
            Ok(reserved) => !reserved.is_newer,
            Err(error) => matches!(error, StoreError::Unanswered(_)),
        };
        if !may_stand {
            static_note::remove(&config.state, Note::Reserved, &name, &token.to_string());
        }
        let reserved = reserved?;
        client.recorded().await;
        anyhow::Ok(reserved)
    })?;
    anyhow::ensure!(
        !reserved.is_newer,
        "lock {name}: its document has format {}, written by a newer pipeline-lock; upgrade this one",
        reserved.state.format
    );
    if let Some(old) = &reserved.replaced {
        report::say(&format!(
            "the reservation of {} is replaced: {}",
            holder_name(old),
            clean(old.reserved.as_deref().unwrap_or_default())
        ));
    }
    let until = reserved.until.map_or_else(|| "it is released".to_owned(), clock_time);
    report::say(&format!("lock {name} is reserved until {until}"));
    let holds: Vec<Held> = Held::all(&reserved.state).into_iter().filter(|h| h.reserved.is_none()).collect();
    if let Some(how) = taken_by(&holds) {
        report::say(&format!("it is {how}, which goes on; nobody gets it after that"));
    }
    if !reserved.state.queue.is_empty() {
        report::say(&format!("{} wait, and go on waiting", reserved.state.queue.len()));
    }
    Ok(Exit::Done)
}
