//! From a script to the command that runs it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Seek, Write},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::fs::{MemfdFlags, memfd_create};
use thiserror::Error;

use super::protocol::Scripts;

/// What the runner's own shell executor calls PowerShell with (its shells/powershell.go).
const POWERSHELL_ARGS: [&str; 5] = ["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File"];

/// Where a shell finds its script if it can't have the file's path.
const STANDARD_INPUT: &str = "/dev/stdin";

/// Why a script can't be run. Each is a matter of the configuration.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Misfit {
    /// The runner sends PowerShell scripts, and the file names another shell. Leave `shell` out, or make it pwsh.
    #[error(
        "the runner sends PowerShell scripts (`shell = \"pwsh\"` in its config.toml), and `{0}` runs none: leave the key \
         `shell` out of pipeline-lock's file, or write `shell: pwsh`"
    )]
    PowerShellScript(String),
    /// The file names PowerShell, and the runner sends scripts for another shell.
    #[error(
        "the runner sends scripts for a POSIX shell, and `{0}` runs none: set `shell = \"pwsh\"` in its config.toml, or \
         leave the key `shell` out of pipeline-lock's file"
    )]
    PosixScript(String),
    /// The file names a plain POSIX shell, and the runner sends scripts for bash.
    #[error(
        "the runner sends scripts for bash, and `{0}` may not run them: set `shell = \"sh\"` in its config.toml, or \
         leave the key `shell` out of pipeline-lock's file"
    )]
    BashScript(String),
    /// PowerShell takes scripts by path alone, and another user can't reach the runner's files.
    #[error(
        "PowerShell scripts can't be run by another user (`run_as`), under the runner's own executors neither: run \
         the runner as that user, or use bash"
    )]
    PowerShellUser,
}

/// A command for a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShellCommand {
    pub(super) words: Vec<OsString>,
    /// Whether the script is to be on its standard input.
    pub(super) reads_script: bool,
}

/// What a shell is, by its program's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bash,
    Posix,
    PowerShell,
    /// Something of the operator's own: it gets the script's path.
    Other,
}

impl Kind {
    fn of(program: &str) -> Self {
        match Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default() {
            "bash" => Self::Bash,
            "sh" | "dash" | "ash" => Self::Posix,
            "pwsh" | "powershell" => Self::PowerShell,
            _ => Self::Other,
        }
    }
}

impl Scripts {
    /// The command for `script`, of which `first_line` is known.
    ///
    /// A POSIX shell that another program starts, or another user's, gets its script by standard input, as under the
    /// runner's shell executor: the runner's files are closed to other users.
    pub(super) fn command(&self, script: &Path, first_line: &str) -> Result<ShellCommand, Misfit> {
        let is_powershell = script.extension().is_some_and(|extension| extension == "ps1");
        let default = if is_powershell { "pwsh" } else { "bash" };
        let shell = self.shell.clone().unwrap_or_else(|| vec![default.to_owned()]);
        let program = shell.first().cloned().unwrap_or_default();
        let kind = Kind::of(&program);
        match kind {
            Kind::Bash | Kind::Posix if is_powershell => return Err(Misfit::PowerShellScript(program)),
            Kind::PowerShell if !is_powershell => return Err(Misfit::PosixScript(program)),
            Kind::Posix if first_line.starts_with("#!") && first_line.trim_end().ends_with("bash") => {
                return Err(Misfit::BashScript(program));
            }
            Kind::PowerShell if self.user.is_some() => return Err(Misfit::PowerShellUser),
            _ => {}
        }
        let is_alone = shell.len() == 1;
        let mut words: Vec<OsString> = self.prefix.iter().chain(&shell).map(OsString::from).collect();
        if kind == Kind::PowerShell && is_alone {
            words.extend(POWERSHELL_ARGS.map(OsString::from));
        }
        let is_posix = matches!(kind, Kind::Bash | Kind::Posix);
        let reads_script = self.user.is_some() || (is_posix && !self.prefix.is_empty());
        match (reads_script, is_posix) {
            (true, true) => {}
            (true, false) => words.push(STANDARD_INPUT.into()),
            (false, _) => words.push(script.into()),
        }
        Ok(ShellCommand { words, reads_script })
    }
}

/// The first line of a script, as far as it can be read; what is wrong with the file its shell will say.
pub(super) fn first_line(script: &Path) -> String {
    let mut bytes = [0; 64];
    let got = File::open(script).and_then(|mut file| file.read(&mut bytes)).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..got]).lines().next().unwrap_or_default().to_owned()
}

/// The script in a memory file, to be read from its start.
pub(super) fn in_memory(script: &Path) -> io::Result<OwnedFd> {
    let said = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", script.display()));
    let mut file = File::from(memfd_create("script", MemfdFlags::CLOEXEC)?);
    file.write_all(&std::fs::read(script).map_err(said)?)?;
    file.rewind()?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASH: &str = "#!/usr/bin/env bash";

    fn scripts(shell: &[&str], prefix: &[&str]) -> Scripts {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        Scripts { shell: (!shell.is_empty()).then(|| words(shell)), prefix: words(prefix), user: None }
    }

    fn run(scripts: &Scripts, script: &str, first_line: &str) -> Result<String, Misfit> {
        let command = scripts.command(Path::new(script), first_line)?;
        let words: Vec<_> = command.words.iter().map(|word| word.to_str().unwrap()).collect();
        Ok(words.join(" ") + if command.reads_script { " <" } else { "" })
    }

    #[test]
    fn without_a_choice_the_shell_is_the_one_that_fits_the_script() {
        let free = scripts(&[], &[]);
        assert_eq!(run(&free, "/s/script", BASH).unwrap(), "bash /s/script");
        let pwsh = "pwsh -NoProfile -NonInteractive -ExecutionPolicy Bypass -File /s/script.ps1";
        assert_eq!(run(&free, "/s/script.ps1", "").unwrap(), pwsh);
    }

    #[test]
    fn a_chosen_shell_has_its_own_arguments() {
        assert_eq!(run(&scripts(&["bash", "--login"], &[]), "/s", BASH).unwrap(), "bash --login /s");
        assert_eq!(run(&scripts(&["/bin/sh"], &[]), "/s", "#!/usr/bin/env sh").unwrap(), "/bin/sh /s");
        let own = scripts(&["pwsh", "-NoLogo", "-File"], &[]);
        assert_eq!(run(&own, "/s.ps1", "").unwrap(), "pwsh -NoLogo -File /s.ps1");
        assert!(run(&scripts(&["/opt/pwsh"], &[]), "/s.ps1", "").unwrap().ends_with("-File /s.ps1"));
        assert_eq!(
            run(&scripts(&["/opt/in-a-box", "x"], &[]), "/s.ps1", "").unwrap(),
            "/opt/in-a-box x /s.ps1"
        );
    }

    #[test]
    fn a_script_and_a_shell_that_do_not_fit_are_told_apart() {
        let misfit = |shell, script, line| run(&scripts(&[shell], &[]), script, line).unwrap_err();
        assert_eq!(misfit("bash", "/s.ps1", ""), Misfit::PowerShellScript("bash".into()));
        assert_eq!(misfit("pwsh", "/s", BASH), Misfit::PosixScript("pwsh".into()));
        assert_eq!(misfit("/bin/dash", "/s", BASH), Misfit::BashScript("/bin/dash".into()));
    }

    #[test]
    fn a_shell_below_another_program_reads_its_script_from_standard_input() {
        assert_eq!(run(&scripts(&[], &["sudo", "-u", "ci"]), "/s", BASH).unwrap(), "sudo -u ci bash <");
        assert!(run(&scripts(&[], &["nice"]), "/s.ps1", "").unwrap().starts_with("nice pwsh -NoProfile"));
        assert_eq!(run(&scripts(&["box"], &["nice"]), "/s", BASH).unwrap(), "nice box /s");
    }

    #[test]
    fn another_users_shell_never_needs_the_runners_files() {
        let user = crate::host::user::User::find("root").unwrap();
        let of = |shell: &[&str]| Scripts { user: user.clone(), ..scripts(shell, &[]) };
        assert_eq!(run(&of(&[]), "/s", BASH).unwrap(), "bash <");
        assert_eq!(run(&of(&["box"]), "/s", BASH).unwrap(), "box /dev/stdin <");
        assert_eq!(run(&of(&[]), "/s.ps1", "").unwrap_err(), Misfit::PowerShellUser);
    }
}
