//! A wrapped driver's config stage: its answer, with this driver's own added to it.

use std::{
    env,
    io::{self, Read},
    os::fd::AsFd,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
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
const DRAIN: std::time::Duration = std::time::Duration::from_secs(1);

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
        .spawn()?;
    let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
    let mut asked =
        Asked { process: ProcId::of_unreaped(Pid::of_child(&child)), child, output, answer: Vec::new() };
    if asked.wait(driver, &signals)? {
        return Ok((Some(asked.child.wait()?), asked.answer));
    }
    let tree = JobTree {
        known: asked.process.into_iter().collect(),
        marker: Some(Marker { name: MARKER.into(), value: mark }),
        exclude: vec![Pid::me()],
        ..JobTree::default()
    };
    let _ = tree.end_blocking(Patience { term_grace: driver.graceful_kill, kill_limit: driver.force_kill });
    Ok((None, Vec::new()))
}

struct Asked {
    process: Option<ProcId>,
    child: Child,
    output: ChildStdout,
    answer: Vec<u8>,
}

impl Asked {
    /// Reads its answer until its end; false: it takes too long.
    fn wait(&mut self, driver: &Driver, signals: &Signals) -> io::Result<bool> {
        let mut until = BootTime::now() + driver.config_timeout;
        let timer = BootTimer::new()?;
        let pidfd = self.process.map(ProcId::pidfd).transpose()?.flatten();
        let (mut is_open, mut has_ended) = (true, pidfd.is_none());
        while is_open || !has_ended {
            if BootTime::now() >= until {
                return Ok(has_ended);
            }
            timer.arm(until)?;
            let mut fds = vec![PollFd::from_borrowed_fd(timer.as_fd(), PollFlags::IN)];
            fds.extend(signals.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let kept = fds.len();
            if is_open {
                fds.push(PollFd::new(&self.output, PollFlags::IN));
            }
            if let Some(pidfd) = pidfd.as_ref().filter(|_| !has_ended) {
                fds.push(PollFd::new(pidfd, PollFlags::IN));
            }
            if let Err(error) = poll(&mut fds, None)
                && error != rustix::io::Errno::INTR
            {
                return Err(error.into());
            }
            let ready: Vec<bool> = fds[kept..].iter().map(|fd| !fd.revents().is_empty()).collect();
            signals.take();
            if !has_ended && ready.last() == Some(&true) {
                has_ended = true;
                until = BootTime::now() + DRAIN;
            }
            if is_open && ready.first() == Some(&true) {
                is_open = self.read()?;
            }
        }
        Ok(true)
    }

    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 8192];
        let got = self.output.read(&mut buffer)?;
        if self.answer.len() <= LONGEST {
            self.answer.extend(&buffer[..got]);
        }
        Ok(got > 0)
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
