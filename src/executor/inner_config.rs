//! A wrapped driver's config stage: its answer, with this driver's own added to it.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Map, Value};

use super::{Signals, StageExit, inner};
use crate::{
    client::MARKER,
    config::{Driver, DriverCommand},
    host::{
        clock::{BootTime, BootTimer},
        ending::Patience,
        process::{Pid, ProcId},
        tree::{JobTree, Marker},
    },
    lock::Token,
};

/// The longest answer that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// How long the answer is waited for when the command has ended: a child that keeps its output holds nothing up.
const DRAIN: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug)]
pub struct ConfigFailure {
    /// For the job's log.
    pub message: String,
    /// For the runner.
    pub exit: StageExit,
}

impl ConfigFailure {
    fn system(message: String) -> Self {
        Self { message, exit: StageExit::SystemFailure }
    }
}

/// Asks the wrapped driver; what it answers, an empty answer if it has none.
pub(super) fn ask(driver: &Driver, token: Token) -> Result<Map<String, Value>, ConfigFailure> {
    let Some(command) = &driver.config else { return Ok(Map::new()) };
    let named =
        |what: String| ConfigFailure::system(format!("the driver's config_exec {}: {what}", command.exec));
    let (status, answer) = run(command, driver, token).map_err(|error| named(error.to_string()))?;
    match status {
        None => {
            let limit = driver.config_timeout;
            Err(named(format!("took longer than config_exec_timeout ({limit:?}) and was ended")))
        }
        Some(status) if !status.success() => {
            let exit = StageExit::of(status);
            Err(ConfigFailure { message: named(format!("ended with {status}")).message, exit })
        }
        Some(_) if answer.len() > LONGEST => Err(named("its answer is longer than 1 MiB".into())),
        Some(_) => parse(&answer).map_err(named),
    }
}

/// Runs the command in the stage's own process group, whose signals are the runner's. The status is none if it took
/// too long.
fn run(command: &DriverCommand, driver: &Driver, token: Token) -> io::Result<(Option<ExitStatus>, Vec<u8>)> {
    // TERM goes to the whole group; this process waits for the driver's end.
    let signals = Signals::handle()?;
    let mark = token.to_string();
    let mut child = Command::new(&command.exec)
        .args(&command.args)
        .env_clear()
        .envs(inner::environment(env::vars_os()))
        // By this the keeper finds later on what it leaves behind.
        .env(MARKER, &mark)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let process = ProcId::of_unreaped(Pid::of_child(&child));
    let mut asked = Asked {
        output: child.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe))),
        error: child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe))),
        answer: Vec::new(),
    };
    if asked.hear(process, driver.config_timeout, &signals)? {
        return Ok((Some(child.wait()?), asked.answer));
    }
    let tree = JobTree {
        known: process.into_iter().collect(),
        marker: Some(Marker { name: MARKER.into(), value: mark }),
        exclude: vec![Pid::me()],
        ..JobTree::default()
    };
    let _ = tree.end_blocking(Patience { term_grace: driver.graceful_kill, kill_limit: driver.force_kill });
    Ok((None, Vec::new()))
}

/// What comes from a driver that was asked.
struct Asked {
    /// None: it is at its end, as is the next.
    output: Option<File>,
    error: Option<File>,
    answer: Vec<u8>,
}

impl Asked {
    /// Reads its answer, and passes on what else it says, until its end; false: it takes too long.
    fn hear(&mut self, process: Option<ProcId>, limit: Duration, signals: &Signals) -> io::Result<bool> {
        let mut until = BootTime::now() + limit;
        let timer = BootTimer::new()?;
        let mut pidfd = process.map(ProcId::pidfd).transpose()?.flatten();
        while pidfd.is_some() || self.output.is_some() || self.error.is_some() {
            if BootTime::now() >= until {
                return Ok(pidfd.is_none());
            }
            timer.arm(until)?;
            let mut fds = vec![PollFd::from_borrowed_fd(timer.as_fd(), PollFlags::IN)];
            let watched = [
                pidfd.as_ref().map(AsFd::as_fd),
                self.output.as_ref().map(AsFd::as_fd),
                self.error.as_ref().map(AsFd::as_fd),
            ];
            // What is not there never becomes ready.
            fds.extend(watched.into_iter().map(|fd| match fd {
                Some(fd) => PollFd::from_borrowed_fd(fd, PollFlags::IN),
                None => PollFd::from_borrowed_fd(timer.as_fd(), PollFlags::empty()),
            }));
            fds.extend(signals.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            if let Err(error) = poll(&mut fds, None)
                && error != rustix::io::Errno::INTR
            {
                return Err(error.into());
            }
            let [has_ended, has_answered, has_spoken] = [1, 2, 3].map(|at| !fds[at].revents().is_empty());
            signals.take();
            if has_ended {
                pidfd = None;
                until = BootTime::now() + DRAIN;
            }
            if has_answered {
                self.read_answer()?;
            }
            if has_spoken {
                self.pass_on()?;
            }
        }
        Ok(true)
    }

    fn read_answer(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        let Some(output) = &mut self.output else { return Ok(()) };
        let got = output.read(&mut buffer)?;
        if got == 0 {
            self.output = None;
        }
        if self.answer.len() <= LONGEST {
            self.answer.extend(&buffer[..got]);
        }
        Ok(())
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        let Some(error) = &mut self.error else { return Ok(()) };
        let got = error.read(&mut buffer)?;
        if got == 0 {
            self.error = None;
        }
        let _ = io::stderr().write_all(&buffer[..got]);
        Ok(())
    }
}

/// Reads an answer as strictly as the runner does: fields that it knows are of their kind or null.
fn parse(answer: &[u8]) -> Result<Map<String, Value>, String> {
    if answer.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let fields = match serde_json::from_slice(answer) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err("its answer is JSON, but not an object".into()),
        Err(error) => return Err(format!("its answer is not JSON: {error}")),
    };
    for (key, value) in &fields {
        let fits = match key.as_str() {
            "hostname" | "builds_dir" | "cache_dir" | "shell" => value.is_string(),
            "builds_dir_is_shared" => value.is_boolean(),
            "driver" => value.as_object().is_some_and(|driver| {
                ["name", "version"]
                    .iter()
                    .all(|key| driver.get(*key).is_none_or(|v| v.is_string() || v.is_null()))
            }),
            "job_env" => value.as_object().is_some_and(|env| env.values().all(Value::is_string)),
            _ => true,
        };
        if !fits && !value.is_null() {
            return Err(format!("`{key}` of its answer is not what the runner wants there"));
        }
    }
    let names = fields.get("job_env").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    if let Some(name) = names.into_iter().find(|name| name.starts_with("PIPELINE_LOCK_")) {
        return Err(format!(
            "`job_env` of its answer has {name}: names that begin with PIPELINE_LOCK_ are taken"
        ));
    }
    Ok(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_be_empty_and_may_have_fields_that_nobody_knows() {
        assert_eq!(parse(b"\n").unwrap(), Map::new());
        assert_eq!(parse(br#"{"hostname": null, "new": [1]}"#).unwrap().keys().collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn an_answer_that_the_runner_would_not_read_is_told_from_one_that_it_would() {
        for (answer, part) in [
            ("nonsense", "not JSON"),
            ("[]", "not an object"),
            (r#"{"builds_dir": 5}"#, "`builds_dir`"),
            (r#"{"builds_dir_is_shared": "yes"}"#, "`builds_dir_is_shared`"),
            (r#"{"driver": {"name": 1}}"#, "`driver`"),
            (r#"{"job_env": {"A": 1}}"#, "`job_env`"),
            (r#"{"job_env": {"PIPELINE_LOCK_TOKEN": "x"}}"#, "PIPELINE_LOCK_TOKEN: names that begin"),
        ] {
            let error = parse(answer.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{answer}: {error}");
        }
    }
}
