//! Between two stages: a job whose processes live on has nobody but its keeper, and a keeper can be stopped. So the
//! run stage that leaves such processes behind leaves a sentinel too, which ends them before the lease does.

use std::{
    fs::OpenOptions,
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};
use tracing::{info, warn};

use super::{
    supervise::Left,
    switch::{ABANDONED_GRACE, Outside, switch_time, until_the_lease},
};
use crate::{
    host::{
        clock::{BootTime, BootTimer},
        private_folder::open_or_make,
        process::ProcId,
    },
    keeper::{Ask, Connection, JobFolder, TOKEN_VARIABLE, bury_within, without_the_job},
    lock::Token,
};

/// The longest time between two looks at the deadline.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// How long it tries to bury a dead keeper: shorter than a forsaken job is left alone after somebody has begun with it.
const BURIAL: Duration = Duration::from_secs(50);

/// What a sentinel has to know.
#[derive(Clone, Debug)]
pub struct Sentinel {
    /// The state folder.
    pub state: PathBuf,
    /// The job.
    pub token: Token,
    /// The cgroup of its processes, if it has one.
    pub cgroup: Option<PathBuf>,
    /// From TERM to KILL.
    pub kill_grace: Duration,
}

/// Leaves a sentinel with the processes that a stage's command left behind.
pub fn leave_sentinel(folder: &JobFolder, token: Token, left: &Left) {
    let (state, cgroup, kill_grace) = (folder.state().to_owned(), left.cgroup.clone(), left.kill_grace);
    if let Err(error) = (Sentinel { state, token, cgroup, kill_grace }).start() {
        warn!(%error, "nobody but the keeper watches over what the command left behind");
    }
}

impl Sentinel {
    /// Starts it as a process of its own session, which outlives the stage and keeps nothing of it open.
    pub(super) fn start(&self) -> io::Result<Child> {
        let log = open_or_make(&self.folder().log(), OpenOptions::new().append(true))?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("pipeline-lock")
            .arg("sentinel")
            .arg(&self.state)
            .arg(self.kill_grace.as_millis().to_string())
            .args(&self.cgroup)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log));
        without_the_job(&mut command);
        command.env(TOKEN_VARIABLE, self.token.to_string());
        // SAFETY: the closure runs between fork and exec and makes one system call; it allocates nothing.
        unsafe {
            command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
        }
        command.spawn()
    }

    /// Watches until the job is over, or has to be ended from here.
    pub fn watch(&self) -> io::Result<()> {
        let folder = self.folder();
        let opened = Connection::open(&folder).and_then(|c| Ok((c, folder.open_deadline()?)));
        let Ok((connection, deadline)) = opened else {
            // It died, or ended, while this process started.
            self.keeper_is_gone(&folder);
            return Ok(());
        };
        connection.ask(&Ask::Watch, &[])?;
        // Below the keeper of a wrapped driver is that one's cleanup too, which is nobody's to end.
        let is_wrapped = folder.read_record()?.driver.is_some();
        let keeper = if is_wrapped { None } else { connection.keeper(&folder) };
        let timer = BootTimer::new()?;
        loop {
            let switch = switch_time(&deadline, self.kill_grace);
            if switch.is_some_and(|at| BootTime::now() >= at) {
                warn!(
                    "the keeper gives no news and the lease is about to end: the job's processes are ended"
                );
                self.job(keeper).end(until_the_lease(&deadline));
                return Ok(());
            }
            let far = BootTime::now() + LOOK_EVERY;
            timer.arm(switch.unwrap_or(far).min(far))?;
            let mut fds = [
                PollFd::new(connection.stream(), PollFlags::IN),
                PollFd::from_borrowed_fd(timer.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !fds[0].revents().is_empty() && connection.hear()?.is_none() {
                self.keeper_is_gone(&folder);
                return Ok(());
            }
        }
    }

    /// A keeper that ends has taken its folder away; one that died has not.
    fn keeper_is_gone(&self, folder: &JobFolder) {
        if !folder.exists() {
            return;
        }
        info!("the keeper is dead: the job is ended");
        self.job(None).end(ABANDONED_GRACE);
        let _ = bury_within(BURIAL, folder, self.token);
    }

    fn job(&self, keeper: Option<ProcId>) -> Outside {
        Outside { token: self.token, cgroup: self.cgroup.clone(), known: None, keeper }
    }

    fn folder(&self) -> JobFolder {
        JobFolder::of(Path::new(&self.state), self.token)
    }
}
