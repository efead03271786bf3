//! As whom a job's scripts run: another user than the runner's, if the file names one, with folders to build in.

use std::{io::Write, path::Path};

use rustix::process::geteuid;

use crate::{
    config::Config,
    host::{
        given_folder::{Given, give_folder},
        user::User,
    },
    keeper::Scripts,
    report::JobLog,
};

/// How the file has the job's scripts run. Makes the folders for builds and caches that it names, if they are for
/// another user; the error is for the job's log.
pub(super) fn scripts_of<W: Write>(config: &Config, log: &mut JobLog<W>) -> Result<Scripts, String> {
    let user = match &config.run_as {
        Some(name) => Some(user_of(name, geteuid().as_raw())?),
        None => None,
    };
    if let Some(user) = &user {
        for dir in [&config.builds_dir, &config.cache_dir].into_iter().flatten() {
            prepare_folder(dir, user, log)?;
        }
    }
    Ok(Scripts { shell: config.shell.clone(), prefix: config.prefix.clone(), user })
}

/// The user `name`, for a runner whose user has the id `mine`.
fn user_of(name: &str, mine: u32) -> Result<User, String> {
    if mine != 0 {
        return Err(format!(
            "`run_as: {name}` needs a runner that runs as root, and this one runs as user id {mine}: drop the key, or \
             run the runner as {name} itself"
        ));
    }
    match User::find(name) {
        Ok(Some(user)) if user.uid == 0 => {
            Err(format!("`run_as: {name}`: this user is root (user id 0): name another one, or drop the key"))
        }
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!(
            "`run_as: {name}`: this host has no such user: make it (useradd --create-home {name}), or correct the name"
        )),
        Err(error) => Err(format!("`run_as: {name}`: the user can't be looked up: {error}")),
    }
}

fn prepare_folder<W: Write>(dir: &Path, user: &User, log: &mut JobLog<W>) -> Result<(), String> {
    let given = give_folder(dir, user).map_err(|error| error.to_string())?;
    if given == Given::Closed {
        let (dir, name) = (dir.display(), &user.name);
        log.note(&format!(
            "user {name} may not write into {dir}: if the job fails there, `chown {name} {dir}`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_cannot_be_taken_is_said_with_the_way_out() {
        for (name, mine, part) in [
            ("ci", 1000, "needs a runner that runs as root"),
            ("no-such-user-of-this-host", 0, "useradd"),
            ("root", 0, "is root"),
        ] {
            let error = user_of(name, mine).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert_ne!(user_of("nobody", 0).unwrap().uid, 0);
    }
}
