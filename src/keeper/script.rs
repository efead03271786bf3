//! Starting a job's command, as the runner's own shell executor would see it run: its own process group, the
//! stage's directory, environment and mask, no descriptor but 0, 1 and 2.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags, open},
    pipe::{PipeFlags, pipe_with},
    process::{setpgid, umask},
};

use super::{
    command::CommandBlock,
    locks,
    protocol::{Launch, Scripts},
    shell,
    wish::LockWish,
};
use crate::{
    client::{Hold, MARKER},
    host::{
        cgroup::Cgroup,
        process::{Pid, ProcId},
        user::User,
    },
};

/// The descriptors that a command gets.
#[derive(Debug)]
pub struct Streams {
    /// Standard input; `None`: nothing to read.
    pub input: Option<OwnedFd>,
    /// Standard output.
    pub output: OwnedFd,
    /// Standard error.
    pub error: OwnedFd,
}

/// What the keeper changes of itself and takes back in the command.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// The keeper's own `oom_score_adj` before it lowered it.
    pub oom_score_adj: Option<String>,
}

/// Makes of a block that names a script alone the command that runs it, as it is to be run.
pub fn arrange(scripts: &Scripts, block: &mut CommandBlock, streams: &mut Streams) -> io::Result<()> {
    let script = block.args.first().map(PathBuf::from).unwrap_or_default();
    let command = scripts.command(&script, &shell::first_line(&script)).map_err(io::Error::other)?;
    if command.reads_script {
        streams.input = Some(shell::in_memory(&script)?);
    }
    block.args = command.words;
    if let Some(user) = &scripts.user {
        // The runner's folder is closed to others.
        block.dir = PathBuf::from("/");
        block.env.retain(|(key, _)| key != "XDG_RUNTIME_DIR");
        let own =
            [("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name), ("SHELL", &user.shell)];
        block.env.extend(own.map(|(key, value)| (key.into(), value.into())));
    }
    Ok(())
}

/// Starts `block` for `launch`. The process leads its own group, or is in the group of `beside`.
pub fn start(
    block: &CommandBlock,
    launch: &Launch,
    streams: Streams,
    cgroup: Option<&Cgroup>,
    before: &Before,
    beside: Option<Pid>,
) -> io::Result<ProcId> {
    let mut words = block.args.iter();
    let program =
        words.next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command was given"))?;
    let mut command = Command::new(program);
    command
        .args(words)
        .current_dir(&block.dir)
        .env_clear()
        .envs(block.env.iter().map(|(k, v)| (k, v)))
        .stdin(streams.input.map_or_else(Stdio::null, Stdio::from))
        .stdout(streams.output)
        .stderr(streams.error);
    if let Some(beside) = beside {
        command.process_group(beside.get());
    }
    let leads = beside.is_none();
    let mask = Mode::from_raw_mode(block.umask);
    let door = cgroup.map(Cgroup::door).transpose()?;
    let (told, twin) = pipe_with(PipeFlags::CLOEXEC)?;
    let oom = before.oom_score_adj.clone();
    let user = launch.scripts.as_ref().and_then(|scripts| scripts.user.as_ref());
    let user = user.map(|user| (user.uid, user.gid, user.gids()));
    // SAFETY: the closure runs between fork and exec; it makes system calls only and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            umask(mask);
            if let Some(door) = &door {
                door.pass(&twin)?;
            }
            // Here, as it may be another process than the one that was forked.
            if leads {
                setpgid(None, None)?;
            }
            if let Some(score) = &oom {
                let file =
                    open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(&file, score.as_bytes())?;
            }
            // The last: after it nothing of root's can be done any more.
            if let Some((uid, gid, groups)) = &user {
                User::become_thread(*uid, *gid, groups)?;
            }
            Ok(())
        });
    }
    let child = command.spawn().map_err(|error| {
        let program = program.to_string_lossy();
        let dir = block.dir.display();
        let is_dir = block.dir.is_dir();
        let kind = if is_dir { error.kind() } else { io::ErrorKind::NotADirectory };
        let hint = match kind {
            io::ErrorKind::NotFound if launch.in_session => "; is it installed, and on your PATH?",
            io::ErrorKind::NotFound => "; is it installed, and on the runner's PATH?",
            _ => "",
        };
        io::Error::new(kind, format!("`{program}` can't be started in {dir}: {error}{hint}"))
    })?;
    // With it goes the closure, and with that this process's copy of the pipe's other end.
    drop(command);
    let pid = read_pid(&told)?.unwrap_or_else(|| Pid::of_child(&child));
    ProcId::of_unreaped(pid).ok_or_else(|| io::Error::other("the command ended before it could be seen"))
}

/// The id that a first process told of its twin before it ended; none if it became the command itself.
fn read_pid(told: &OwnedFd) -> io::Result<Option<Pid>> {
    let mut bytes = [0; 4];
    let got = rustix::io::read(told, &mut bytes)?;
    Ok(if got == bytes.len() { Pid::new(i32::from_ne_bytes(bytes)) } else { None })
}

/// What a command has from the keeper: the mark by which it is known, and what it can read of its locks.
pub fn own_variables(mark: String, holds: &[Hold], wishes: &[LockWish]) -> Vec<(OsString, OsString)> {
    let of_locks =
        locks::variables(holds, wishes).into_iter().map(|(name, value)| (name.into(), value.into()));
    std::iter::once((MARKER.into(), mark.into())).chain(of_locks).collect()
}
