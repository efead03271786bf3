//! Root looks after the locks of a runner that is another user: it leaves nothing there that the runner can't use.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use crate::harness::{Host, NOBODYS_ID};

/// What in `folder` and below it is not the runner's.
fn of_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it is a folder").flatten() {
        let about = entry.metadata().expect("it is there");
        if about.uid() != NOBODYS_ID {
            found.push(entry.path().display().to_string());
        }
        if about.is_dir() {
            found.extend(of_others(&entry.path()));
        }
    }
    found
}

#[test]
fn what_root_makes_in_the_state_folder_of_another_user_is_that_users() {
    let Some(host) = Host::with_another_user("") else { return };
    let runners = host.path().join("runner");
    fs::create_dir(&runners).expect("the folder is writable");
    chown(&runners, Some(NOBODYS_ID), Some(NOBODYS_ID)).expect("it is root's");
    host.write("config.yaml", &format!("state: {}/state\n", runners.display()));
    let commands: [&[&str]; 8] = [
        &["status"],
        &["reserve", "shop/test", "--reason", "the database moves"],
        &["acquire", "--name", "shop/prod"],
        &["unlock", "shop/prod", "--yes"],
        &["exec", "--name", "shop/prod", "--", "true"],
        &["history", "shop/prod"],
        &["release", "--name", "shop/test"],
        &["try", "--", "true"],
    ];
    for command in commands {
        host.run(command).with_code(0);
        assert_eq!(of_others(&runners), Vec::<String>::new(), "after {command:?}");
    }
}
