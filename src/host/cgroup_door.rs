//! How a process gets into a cgroup as it is started: born there, where the kernel can do that.
//!
//! Moving a process that is there already makes the kernel wait until no process of the host is about to fork or to
//! end (`cgroup_threadgroup_rwsem`): 5 to 20 ms for each script of a job. One that is born in a cgroup waits for
//! nobody (clone3(2), `CLONE_INTO_CGROUP`, since Linux 5.7).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// From linux/sched.h.
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The way into one cgroup.
#[derive(Debug)]
pub struct Door {
    pub(super) directory: OwnedFd,
    pub(super) procs: OwnedFd,
}

impl Door {
    /// Gets a process that was forked and is about to exec into the cgroup: by a twin that is born inside and has the
    /// same parent, or, on an older kernel, by moving it. Returns in the process that is inside. If that is a twin,
    /// its id was written to `twin`, four bytes, and the first process has ended.
    ///
    /// # Errors
    /// What the kernel says of the move; the process then stays where it was.
    ///
    /// # Safety
    /// Only in a process that fork(2) has just made and that has one thread, as the twin goes on with its memory.
    /// It makes system calls only and allocates nothing.
    pub unsafe fn pass(&self, twin: impl AsFd) -> io::Result<()> {
        // SAFETY: as for this function.
        match unsafe { self.bear_twin() } {
            Born::Twin => Ok(()),
            Born::First(pid) => {
                let told = rustix::io::write(twin, &pid.to_ne_bytes());
                // SAFETY: ends this process at once and runs nothing of it.
                unsafe { libc::_exit(i32::from(told.is_err())) }
            }
            // Older kernels know no such clone, and some containers' filters forbid it.
            Born::Nobody => self.step_in(),
        }
    }

    /// Moves the calling process in. Async-signal-safe: one write.
    ///
    /// # Errors
    /// What the kernel says; the process then stays where it was.
    pub fn step_in(&self) -> io::Result<()> {
        rustix::io::write(&self.procs, b"0")?;
        Ok(())
    }

    unsafe fn bear_twin(&self) -> Born {
        // SAFETY: a structure of numbers, for which zero stands for nothing.
        let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
        // A sibling: its end is told to this process's parent as this one's is.
        arguments.flags = CLONE_INTO_CGROUP | CLONE_PARENT;
        arguments.cgroup = u64::from(self.directory.as_raw_fd().cast_unsigned());
        // SAFETY: without CLONE_VM the twin has memory of its own, and goes on from here as after fork(2).
        let answer =
            unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
        match i32::try_from(answer) {
            Ok(0) => Born::Twin,
            Ok(pid @ 1..) => Born::First(pid),
            _ => Born::Nobody,
        }
    }
}

/// Who goes on after a clone.
enum Born {
    /// The new process.
    Twin,
    /// The one that was there, with the new one's id.
    First(i32),
    /// The one that was there, alone.
    Nobody,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::process::{Pid, ProcId};
    use crate::host::testing::{eventually, with_cgroup};
    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::process::{WaitOptions, getpgid, setpgid, waitpid};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn who_passes_is_in_the_cgroup_and_a_child_of_ours() {
        with_cgroup(|cgroup| {
            let (door, (told, twin)) = (cgroup.door().unwrap(), pipe_with(PipeFlags::CLOEXEC).unwrap());
            let mut command = Command::new("sleep");
            let enter = move || door.pass_and_lead(&twin);
            // SAFETY: `pass` is made for this place, and `setpgid` is one system call.
            let mut first = unsafe { command.arg("600").pre_exec(enter) }.spawn().unwrap();
            drop(command);
            assert!(first.wait().unwrap().success(), "the first process has ended, and the twin runs");
            let mut bytes = [0; 4];
            assert_eq!(rustix::io::read(&told, &mut bytes).unwrap(), 4);
            let pid = Pid::new(i32::from_ne_bytes(bytes)).unwrap();
            assert_eq!(cgroup.pids().unwrap(), [pid]);
            assert_eq!(Pid::from(getpgid(Some(pid.into())).unwrap()), pid);
            assert_eq!(ProcId::of(pid).unwrap().command().as_deref(), Some("sleep"));
            assert!(cgroup.kill().unwrap());
            eventually("the twin is ours to reap", || {
                waitpid(Some(pid.into()), WaitOptions::NOHANG).unwrap().is_some()
            });
        });
    }

    impl Door {
        fn pass_and_lead(&self, twin: impl AsFd) -> io::Result<()> {
            // SAFETY: called between fork and exec.
            unsafe { self.pass(twin) }?;
            Ok(setpgid(None, None)?)
        }
    }
}
