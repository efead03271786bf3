//! What the kernel says of one process: the files of `/proc/PID`, above all its one line in `stat`.

use std::fs::File;
use std::io::{self, Read};

use super::pid::{Pid, ProcId};

/// How much of a file is read at once.
const ROOM: usize = 4096;

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The id of the process.
    pub pid: Pid,
    /// The name of the command.
    pub command: String,
    /// The state: `R`, `S`, `D`, `T`, `Z` …
    pub state: char,
    /// The parent; none for those whose parent lies outside of this pid namespace.
    pub parent: Option<Pid>,
    /// The process group; none if its leader lies outside of this pid namespace.
    pub group: Option<Pid>,
    /// How many threads there are.
    pub threads: u32,
    /// Ticks since boot.
    pub start_time: u64,
}

impl Stat {
    /// Reads the line of `pid`; none if there is no such process, or if it is hidden from us.
    pub fn read(pid: Pid) -> io::Result<Option<Self>> {
        let line = read_file(pid, "stat")?;
        Ok(line.and_then(|line| Self::parse(&String::from_utf8_lossy(&line))))
    }

    /// Takes the line apart. The command may hold anything, also `) R 1`: only the last parenthesis ends it.
    fn parse(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(" (")?;
        let (command, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The state is field 3 of the manual page.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            pid: Pid::new(pid.parse().ok()?)?,
            command: command.to_owned(),
            state: field(3)?.chars().next()?,
            parent: Pid::new(field(4)?.parse().ok()?),
            group: Pid::new(field(5)?.parse().ok()?),
            threads: field(20)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
        })
    }

    /// Whether the process runs (or could). A zombie whose other threads go on does: its first thread alone ended.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x') || self.threads > 1
    }

    /// Whether it runs on without its first thread.
    pub fn is_headless(&self) -> bool {
        self.state == 'Z' && self.threads > 1
    }

    /// Which process this is.
    pub fn id(&self) -> ProcId {
        ProcId { pid: self.pid, start_time: self.start_time }
    }
}

/// Reads a file of `/proc/PID`; none if the process is gone or won't let us look.
///
/// An error means that this process can't look at all for want of something, such as open files. It must not be
/// taken for the absence of the other one.
pub(super) fn read_file(pid: Pid, file: &str) -> io::Result<Option<Vec<u8>>> {
    match File::open(format!("/proc/{pid}/{file}")).and_then(read_whole) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// A look goes through some hundred processes, most of whose files fit: two reads then, where std begins with 32
/// bytes, as these files have no size.
fn read_whole(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; ROOM];
    let mut filled = 0;
    loop {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if filled == bytes.len() {
            bytes.resize(filled * 2, 0);
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOMEM].contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "4242 (a) R 1 (b)) S 17 4242 4242 0 -1 4194304 107 0 0 0 0 0 0 0 20 0 1 0 998877 2469888 200";

    #[test]
    fn a_command_with_parentheses_is_told_from_the_fields_after_it() {
        let stat = Stat::parse(LINE).unwrap();
        assert_eq!(stat.command, "a) R 1 (b)");
        assert_eq!((stat.state, stat.parent, stat.threads), ('S', Pid::new(17), 1));
        assert_eq!(stat.group, Pid::new(4242));
        let outside = Stat::parse(&LINE.replace(" 17 4242 ", " 17 0 ")).unwrap();
        assert_eq!(outside.group, None);
        assert_eq!(stat.id(), ProcId { pid: Pid::new(4242).unwrap(), start_time: 998_877 });
    }

    #[test]
    fn a_zombie_is_dead_unless_its_other_threads_run_on() {
        let zombie = Stat::parse(&LINE.replace(" S 17", " Z 17")).unwrap();
        assert!(!zombie.is_alive());
        assert!(Stat { threads: 2, ..zombie }.is_alive());
    }

    #[test]
    fn a_line_cut_short_is_no_process() {
        assert_eq!(Stat::parse("4242 (sh) S 17 4242"), None);
        assert_eq!(Stat::parse(""), None);
    }
}
