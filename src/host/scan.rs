//! Looking through all processes that `/proc` shows: who descends from whom, and who carries a mark.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;

use super::proc_stat::{Stat, read_file};
use super::process::{Pid, ProcId};

/// How often a look is taken again while processes come and go under it.
const TRIES: usize = 5;

/// All living processes that descend from one of `roots`, the roots themselves excluded.
///
/// With a child subreaper as root these are all that it ever started and that still live, whoever their parents
/// were. A root that is gone has no descendants: they were handed to another parent when it ended.
///
/// Reading `/proc` takes time, in which processes fork and end. A look in which somebody's parent is missing is
/// taken again, since a chain may be broken there; a child of a process that forked and ended behind the
/// reader's back can still be missed, so who has to be sure that none lives looks twice.
///
/// # Errors
/// When this process can't look, for want of open files: that is no proof that none lives.
pub fn descendants(roots: &[ProcId]) -> io::Result<Vec<ProcId>> {
    let mut processes = look()?;
    let mut missing = missing_parents(&processes);
    for _ in 1..TRIES {
        if missing.is_empty() {
            break;
        }
        processes = look()?;
        // The same ones missing twice are hidden from us (hidepid), not ended.
        let before = std::mem::replace(&mut missing, missing_parents(&processes));
        if before == missing {
            break;
        }
    }
    Ok(below(roots, &processes))
}

/// All living processes that have `NAME=value` in the environment that they were started with, as far as we may
/// read it (own user's processes, or all for root), except those with an id in `skip`.
///
/// A last resort: a program may have overwritten its environment, or been started with an empty one.
///
/// # Errors
/// As for [`descendants`].
pub fn with_marker(name: &str, value: &str, skip: &[Pid]) -> io::Result<Vec<ProcId>> {
    let mark = format!("{name}={value}");
    let mut found = Vec::new();
    for pid in all_pids()? {
        if skip.contains(&pid) {
            continue;
        }
        let environment = environment_of(pid)?;
        if environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()) {
            found.extend(ProcId::look_for(pid)?);
        }
    }
    Ok(found)
}

/// What `pid` was started with; empty where it can't be read.
fn environment_of(pid: Pid) -> io::Result<Vec<u8>> {
    let environment = read_file(pid, "environ")?.unwrap_or_default();
    // A first thread that has ended shows none, while others of its process run on.
    if environment.is_empty() && Stat::read(pid)?.is_some_and(|stat| stat.is_headless()) {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let file = format!("task/{}/environ", thread.file_name().to_string_lossy());
            match read_file(pid, &file)? {
                Some(environment) if !environment.is_empty() => return Ok(environment),
                _ => {}
            }
        }
    }
    Ok(environment)
}

/// The ids of all processes that `/proc` shows.
fn all_pids() -> io::Result<Vec<Pid>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        pids.extend(name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::new));
    }
    Ok(pids)
}

fn look() -> io::Result<HashMap<Pid, Stat>> {
    let mut processes = HashMap::new();
    for pid in all_pids()? {
        processes.extend(Stat::read(pid)?.map(|stat| (stat.pid, stat)));
    }
    Ok(processes)
}

fn missing_parents(processes: &HashMap<Pid, Stat>) -> BTreeSet<Pid> {
    processes
        .values()
        .filter_map(|stat| stat.parent)
        .filter(|parent| !processes.contains_key(parent))
        .collect()
}

fn below(roots: &[ProcId], processes: &HashMap<Pid, Stat>) -> Vec<ProcId> {
    let mut children: HashMap<Pid, Vec<&Stat>> = HashMap::new();
    for stat in processes.values() {
        if let Some(parent) = stat.parent {
            children.entry(parent).or_default().push(stat);
        }
    }
    let is_there = |root: &&ProcId| processes.get(&root.pid).is_some_and(|stat| stat.id() == **root);
    let mut open: Vec<Pid> = roots.iter().filter(is_there).map(|root| root.pid).collect();
    let mut seen: HashSet<Pid> = open.iter().copied().collect();
    let mut found = Vec::new();
    while let Some(parent) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            // Ids that are used again while we read could close a circle.
            if seen.insert(child.pid) {
                open.push(child.pid);
                found.extend(child.is_alive().then(|| child.id()));
            }
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::{Guarded, Stray, eventually, is_inside, other_process, ready_to_die};
    use std::process::{Command, Stdio};

    fn stat(pid: i32, parent: i32, state: char) -> (Pid, Stat) {
        let pid = Pid::new(pid).unwrap();
        (
            pid,
            Stat {
                pid,
                command: String::new(),
                state,
                parent: Pid::new(parent),
                group: None,
                threads: 1,
                start_time: 7,
            },
        )
    }

    fn id(pid: i32, start_time: u64) -> ProcId {
        ProcId { pid: Pid::new(pid).unwrap(), start_time }
    }

    fn pids(found: &[ProcId]) -> Vec<i32> {
        found.iter().map(|id| id.pid.get()).collect()
    }

    #[test]
    fn descendants_are_found_through_a_zombie_and_not_among_neighbours() {
        let processes = HashMap::from([
            stat(1, 0, 'S'),
            stat(5, 1, 'S'),
            stat(6, 5, 'Z'),
            stat(3, 6, 'S'),
            stat(7, 1, 'S'),
        ]);
        assert_eq!(pids(&below(&[id(5, 7)], &processes)), [3]);
        assert_eq!(pids(&below(&[id(1, 7)], &processes)), [3, 5, 7]);
        assert_eq!(pids(&below(&[id(5, 7), id(7, 7)], &processes)), [3]);
    }

    #[test]
    fn the_children_of_a_later_process_with_the_same_id_are_not_taken() {
        let processes = HashMap::from([stat(1, 0, 'S'), stat(5, 1, 'S'), stat(6, 5, 'S')]);
        assert_eq!(pids(&below(&[id(5, 6)], &processes)), Vec::<i32>::new());
    }

    #[test]
    fn a_look_that_misses_a_parent_is_not_whole() {
        assert!(missing_parents(&HashMap::from([stat(1, 0, 'S'), stat(6, 1, 'S')])).is_empty());
        let broken = missing_parents(&HashMap::from([stat(1, 0, 'S'), stat(3, 6, 'S')]));
        assert_eq!(broken, BTreeSet::from([Pid::new(6).unwrap()]));
    }

    #[test]
    fn a_circle_of_reused_ids_ends() {
        let processes = HashMap::from([stat(5, 6, 'S'), stat(6, 5, 'S')]);
        assert_eq!(pids(&below(&[id(5, 7)], &processes)), [6]);
    }

    #[test]
    fn a_grandchild_in_a_session_of_its_own_is_a_descendant() {
        let (shell, line) = Guarded::shell("setsid sleep 600 & echo $!; wait");
        let stray = Stray::parse(&line);
        let root = ProcId::of(shell.pid()).unwrap();
        eventually("the shell's child is seen", || {
            descendants(&[root]).unwrap().iter().any(|found| found.pid == stray.0)
        });
        assert!(!descendants(&[root]).unwrap().contains(&root), "the root is not its own descendant");
    }

    #[test]
    fn a_mark_is_found_wherever_the_process_hangs_and_only_if_it_is_whole() {
        let value = uuid::Uuid::new_v4().to_string();
        let marked = |value: &str, script: &str| {
            let mut shell = Command::new("sh");
            let mut child =
                Guarded::spawn(shell.args(["-c", script]).env("PL_TEST_MARK", value).stdout(Stdio::piped()));
            let line = child.line();
            (child, line)
        };
        // The first shell ends at once, so that its child hangs below another process.
        let (_gone, line) = marked(&value, "setsid sleep 600 >/dev/null & echo $!");
        let stray = Stray::parse(&line);
        let (longer, _line) = marked(&format!("{value}x"), "echo; exec sleep 600");
        let (hidden, _line) = marked(&format!("y PL_TEST_MARK={value}"), "echo; exec sleep 600");
        let found = || with_marker("PL_TEST_MARK", &value, &[Pid::me()]).unwrap();
        eventually("the stray process is found", || found().iter().any(|found| found.pid == stray.0));
        for other in [&longer, &hidden] {
            assert!(found().iter().all(|found| found.pid != other.pid()), "a value that only contains ours");
        }
        let skipped = with_marker("PL_TEST_MARK", &value, &[stray.0]).unwrap();
        assert!(skipped.iter().all(|found| found.pid != stray.0));
    }

    #[test]
    fn a_mark_is_found_where_the_first_thread_of_a_process_has_ended() {
        const NAME: &str = "host::scan::tests::a_mark_is_found_where_the_first_thread_of_a_process_has_ended";
        if is_inside(NAME) {
            // SAFETY: the new process makes one thread, and touches nothing that another one may have had in its hands.
            if unsafe { libc::fork() } == 0 {
                let _other = std::thread::spawn(ready_to_die_silently);
                // SAFETY: ends this one thread, the first of its process.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            }
            ready_to_die();
        }
        let value = uuid::Uuid::new_v4().to_string();
        let other = other_process(NAME, "PL_TEST_MARK", &value);
        let headless = || descendants(&[ProcId::of(other.pid()).unwrap()]).unwrap();
        eventually("its first thread has ended", || {
            headless()
                .first()
                .is_some_and(|id| Stat::read(id.pid).unwrap().is_some_and(|stat| stat.is_headless()))
        });
        let found = with_marker("PL_TEST_MARK", &value, &[other.pid()]).unwrap();
        assert_eq!(found, headless());
    }

    fn ready_to_die_silently() {
        loop {
            std::thread::park();
        }
    }
}
