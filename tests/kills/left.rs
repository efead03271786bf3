//! What a job leaves behind: processes, zombies, files, cgroups.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{harness::Host, scene::Scene};

/// How soon after its end nothing of a job is left.
const GONE: Duration = Duration::from_secs(1);

/// What the folders of a host keep for good: nothing that grows with the number of jobs.
const STAYS: [&str; 4] = ["bells", "waiting", "jobs", "owners"];

/// Zombies that a process of the hosts should have reaped.
pub fn zombies(scene: &Scene) -> Option<String> {
    until_none(GONE, || {
        let parents: Vec<i32> = scene.hosts().flat_map(Host::processes).map(|process| process.pid).collect();
        let zombies = zombies_and_parents().into_iter().filter(|(_, parent)| parents.contains(parent));
        zombies.map(|(pid, parent)| format!("zombie {pid} of {parent}")).collect()
    })
}

/// All that is left of the scene's jobs when they are over.
pub fn anything(scene: &Scene, slack: Duration) -> Option<String> {
    let tokens = scene.tokens();
    until_none(GONE + slack, || {
        let mut left = Vec::new();
        for host in scene.hosts() {
            left.extend(host.processes().iter().map(|process| format!("{process:?}")));
            left.extend(files(host).iter().map(|path| path.display().to_string()));
        }
        if left.is_empty() {
            left.extend(cgroups(&tokens).iter().map(|path| path.display().to_string()));
        }
        left
    })
}

fn until_none(limit: Duration, look: impl Fn() -> Vec<String>) -> Option<String> {
    let start = Instant::now();
    loop {
        let left = look();
        if left.is_empty() {
            return None;
        }
        if start.elapsed() >= limit {
            return Some(format!("left behind: {}{}", left.join(", "), said_by(&left)));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the keepers and sentinels whose logs are left wrote there.
fn said_by(left: &[String]) -> String {
    let logs = left.iter().filter(|path| path.ends_with("keeper.log"));
    logs.filter_map(|path| fs::read_to_string(path).ok()).map(|log| format!("\n{log}")).collect()
}

/// Files in a host's folders of state that should be gone.
fn files(host: &Host) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for folder in ["state", "locks.db.d"] {
        below(&host.path().join(folder), &mut left);
    }
    let stays = |path: &PathBuf| {
        let parent = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        // A database has one file whose flock its users share.
        let is_users = path.ends_with("locks.db.d/users");
        path.is_file() && (is_users || parent.is_some_and(|name| STAYS[..2].contains(&name)))
    };
    left.retain(|path| !path.is_dir() && !stays(path));
    left
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            below(&path, found);
        }
        found.push(path);
    }
}

/// The cgroups of these jobs, wherever this process sees any.
fn cgroups(tokens: &[String]) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is there");
    let mounts = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    let mut found = Vec::new();
    for mount in mounts.filter_map(|line| line.split(' ').nth(4)) {
        folders_below(Path::new(mount), &mut found);
    }
    let of_a_job = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("pipeline-lock-") && tokens.iter().any(|token| name.ends_with(token))
    };
    found.retain(of_a_job);
    found
}

fn folders_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders_below(&entry.path(), found);
            found.push(entry.path());
        }
    }
}

/// All zombies of this host, each with its parent.
fn zombies_and_parents() -> Vec<(i32, i32)> {
    let stats = fs::read_dir("/proc").expect("/proc is there").flatten();
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| zombie_and_parent(&stat)).collect()
}

/// proc_pid_stat(5): the number, the name in parentheses, the state, the parent.
fn zombie_and_parent(stat: &str) -> Option<(i32, i32)> {
    let (number, rest) = (stat.split_once(' ')?.0, stat.rsplit_once(") ")?.1);
    let mut fields = rest.split(' ');
    (fields.next()? == "Z").then_some(())?;
    Some((number.parse().ok()?, fields.next()?.parse().ok()?))
}
