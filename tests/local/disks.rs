//! What the filesystem and the file's modes do not allow: told with its cause, and nothing else is used instead.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
};

use pipeline_lock::{
    client::Here,
    host::presence::PresenceError,
    lock::Value,
    store::{Consistency, Expected, LocalStore, Store, StoreError, Swap},
};

use crate::support::{
    a_name, begin, block_on, child_with_own_mounts, made, name_of, open, place, raise, refusal, role, run,
};

/// Root may read and write everything; without that right the mode counts for root, too.
#[test]
fn a_file_without_permission_is_refused() {
    let (_folder, path) = made();
    for (file, mode) in [("locks.db", 0o400), ("locks.db-wal", 0o400), ("locks.db-shm", 0o400)] {
        let file = path.with_file_name(file);
        let before = fs::metadata(&file).unwrap().permissions();
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let refused = thread::scope(|scope| {
            let powerless = scope.spawn(|| {
                drop_capabilities();
                LocalStore::open(&path).and_then(|store| block_on(raise(&store)))
            });
            powerless.join().unwrap()
        });
        let Err(StoreError::Refused(message)) = refused else { panic!("{}: {refused:?}", file.display()) };
        assert!(message.contains("may not write"), "{message}");
        assert!(message.contains(&format!("with mode {mode:o}")), "{message}");
        fs::set_permissions(&file, before).unwrap();
    }
    open(&path);
}

#[test]
fn a_folder_without_permission_is_refused() {
    let (folder, path) = place();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o500)).unwrap();
    thread::scope(|scope| {
        let powerless = scope.spawn(|| {
            drop_capabilities();
            refusal(&path, "cannot be made (Permission denied");
            refusal(&path.with_file_name("below/locks.db"), "has no folder, and none can be made");
        });
        powerless.join().unwrap();
    });
}

/// Takes this thread's power to read and write everything.
fn drop_capabilities() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
}

#[test]
fn a_read_only_filesystem_is_refused() {
    let Some(path) = role() else {
        let (_folder, path) = made();
        return run(&mut child_with_own_mounts(name_of(a_read_only_filesystem_is_refused), &path));
    };
    let folder = path.parent().unwrap();
    let store = open(&path);
    run(Command::new("mount").arg("--bind").args([folder, folder]));
    run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(folder));
    refusal(&path, "is on a read-only filesystem");
    refusal(&path.with_file_name("new.locks.db"), "Read-only file system");
    drop(store);
}

/// Nobody outside of a container sees what is locked there, and it is gone with the container.
#[test]
fn the_inside_of_a_container_is_refused() {
    let Some(path) = role() else {
        let (_folder, path) = place();
        return run(&mut child_with_own_mounts(name_of(the_inside_of_a_container_is_refused), &path));
    };
    let folder = path.parent().unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(folder));
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let layers = "lowerdir=lower,upperdir=upper,workdir=work";
    let mut mount = Command::new("mount");
    run(mount.current_dir(folder).args(["-t", "overlay", "-o", layers, "overlay", "merged"]));
    let inside = folder.join("merged/new/locks.db");
    let error = LocalStore::open(&inside).unwrap_err();
    assert!(matches!(&error, StoreError::Refused(m) if m.contains("mount a volume")), "{error}");
    assert!(!inside.parent().unwrap().exists(), "something was made there");
}

/// Its log and the locks of its users would be in another folder than those of others.
#[test]
fn a_file_that_is_mounted_by_itself_is_refused() {
    let Some(path) = role() else {
        let (_folder, path) = made();
        return run(&mut child_with_own_mounts(name_of(a_file_that_is_mounted_by_itself_is_refused), &path));
    };
    let inside = path.with_file_name("inside");
    fs::create_dir(&inside).unwrap();
    let mounted = inside.join("locks.db");
    File::create(&mounted).unwrap();
    run(Command::new("mount").arg("--bind").args([&path, &mounted]));
    refusal(&mounted, "is mounted by itself");
    assert_eq!(fs::read_dir(&inside).unwrap().count(), 1, "something was made there");
    run(Command::new("umount").arg(&mounted));
    fs::remove_file(&mounted).unwrap();
    run(Command::new("mount").arg("--bind").args([path.parent().unwrap(), &inside]));
    open(&mounted);
}

/// There a living holder may look dead to another host, for a table's locks as well as for those of a file.
#[test]
fn who_lives_is_not_shown_on_a_filesystem_that_others_take_part_in() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("NOT RUN: this test needs root, to mount what belongs to another user");
    }
    let Some(path) = role() else {
        let (_folder, path) = place();
        let test = name_of(who_lives_is_not_shown_on_a_filesystem_that_others_take_part_in);
        return run(&mut child_with_own_mounts(test, &path));
    };
    let folder = path.parent().unwrap();
    let holds = folder.join("holds");
    fs::create_dir(&holds).unwrap();
    // One of another user, who answers nothing: what the kernel says of it is all that is asked.
    let options = "fd=3,rootmode=40000,user_id=65534,group_id=65534";
    let mount = format!("exec 3<>/dev/fuse && exec mount -i -t fuse none holds -o {options}");
    run(Command::new("sh").current_dir(folder).args(["-c", &mount]));
    let error = Here::open(folder).unwrap_err();
    assert!(matches!(&error, PresenceError::Shared { path, .. } if *path == holds), "{error}");
    let message = error.to_string();
    assert!(message.contains("FUSE") && message.contains("`state`"), "{message}");
}

/// The swap fails with its cause, changes nothing, and works again once there is room.
#[test]
fn a_full_disk_is_told_and_passes() {
    let Some(path) = role() else {
        let (_folder, path) = place();
        return run(&mut child_with_own_mounts(name_of(a_full_disk_is_told_and_passes), &path));
    };
    let folder = path.parent().unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder));
    let store = open(&path);
    let before = block_on(begin(&store));
    let filler = folder.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}

    let mut large = before.clone();
    large.extra.insert("Padding".into(), Value::S("x".repeat(50_000)));
    large.seal(store.now());
    let is_full = |error: &StoreError| matches!(error, StoreError::Unavailable(m) if m.contains("disk or quota is full") && m.contains("free some space"));
    let error = block_on(store.swap(&a_name(), Expected::This(&before), &large)).unwrap_err();
    assert!(is_full(&error), "{error:?}");
    let error = LocalStore::open(&folder.join("another.locks.db")).unwrap_err();
    assert!(is_full(&error), "{error:?}");
    assert_eq!(block_on(store.read(&a_name(), Consistency::Strong)).unwrap(), Some(before.clone()));

    fs::remove_file(&filler).unwrap();
    drop(file);
    let swap = block_on(store.swap(&a_name(), Expected::This(&before), &large)).unwrap();
    assert_eq!(swap, Swap::Swapped(large));
}
