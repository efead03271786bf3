//! The wrapped driver: the custom executor's own driver, which does the job's work under the lock.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{Fault, Problem};
use super::reader::{Item, Schema, Section};
use super::suggest::shown;
use super::yaml::Value;

/// A driver for GitLab Runner's custom executor. Keys, meanings and default times are those of `[runners.custom]` in
/// the runner's config.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// Tells the runner about the driver.
    pub config: Option<DriverCommand>,
    /// Makes the job's environment.
    pub prepare: Option<DriverCommand>,
    /// Runs one script of the job.
    pub run: DriverCommand,
    /// Takes the job's environment down.
    pub cleanup: Option<DriverCommand>,
    /// How long `config` may take.
    pub config_timeout: Duration,
    /// How long `prepare` may take; waiting for the lock does not count.
    pub prepare_timeout: Duration,
    /// How long `cleanup` may take.
    pub cleanup_timeout: Duration,
    /// From TERM to KILL.
    pub graceful_kill: Duration,
    /// How long KILL is waited for.
    pub force_kill: Duration,
}

/// One command of a driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverCommand {
    /// The program: an absolute path, or a name to be found on PATH.
    pub exec: String,
    /// Its arguments, before those that the runner adds.
    pub args: Vec<String>,
}

const DRIVER: Schema = Schema {
    name: "driver",
    keys: &[
        "config_exec",
        "config_args",
        "config_exec_timeout",
        "prepare_exec",
        "prepare_args",
        "prepare_exec_timeout",
        "run_exec",
        "run_args",
        "cleanup_exec",
        "cleanup_args",
        "cleanup_exec_timeout",
        "graceful_kill_timeout",
        "force_kill_timeout",
    ],
    inner: &[],
};

/// The runner's own defaults (its executors/custom/consts.go and common/const.go).
const EXEC_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const GRACEFUL_KILL: Duration = Duration::from_secs(10 * 60);
const FORCE_KILL: Duration = Duration::from_secs(10);

const BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(7 * 24 * 3600);

impl Driver {
    /// Reads the key `driver`.
    pub(super) fn read(item: Item) -> Result<Self, Fault> {
        let mut section = Section::open(item.into_node(), &DRIVER)?;
        let run = section.need("run_exec", "run_exec: /opt/driver/run")?;
        let run = command(run, section.take("run_args"))?;
        Ok(Self {
            config: optional(&mut section, "config_exec", "config_args")?,
            prepare: optional(&mut section, "prepare_exec", "prepare_args")?,
            run,
            cleanup: optional(&mut section, "cleanup_exec", "cleanup_args")?,
            config_timeout: time(&mut section, "config_exec_timeout", EXEC_TIMEOUT)?,
            prepare_timeout: time(&mut section, "prepare_exec_timeout", EXEC_TIMEOUT)?,
            cleanup_timeout: time(&mut section, "cleanup_exec_timeout", EXEC_TIMEOUT)?,
            graceful_kill: time(&mut section, "graceful_kill_timeout", GRACEFUL_KILL)?,
            force_kill: time(&mut section, "force_kill_timeout", FORCE_KILL)?,
        })
    }
}

fn optional(
    section: &mut Section,
    exec: &'static str,
    args: &'static str,
) -> Result<Option<DriverCommand>, Fault> {
    let words = section.take(args);
    match (section.take(exec), words) {
        (Some(program), words) => command(program, words).map(Some),
        (None, Some(words)) => {
            Err(words.bad(format!("there is no `{exec}` for these arguments: add it, or drop them")))
        }
        (None, None) => Ok(None),
    }
}

fn command(exec: Item, args: Option<Item>) -> Result<DriverCommand, Fault> {
    let (key, place) = (exec.key, exec.place);
    let exec = exec.text()?;
    let relative = exec.contains('/') && !exec.starts_with('/');
    let wrong = if exec.contains('\0') {
        Some("a word of a command has no NUL in it".to_owned())
    } else if relative {
        // The runner would look for it in the job's own temporary folder.
        Some(format!(
            "{:?} is a relative path: write an absolute one, or a name that is on PATH",
            shown(&exec)
        ))
    } else {
        None
    };
    if let Some(why) = wrong {
        return Err(Fault::new(place, Problem::Value { key, why }));
    }
    Ok(DriverCommand { exec, args: args.map(words).transpose()?.unwrap_or_default() })
}

/// Arguments: any texts, also empty ones, also none.
pub(super) fn words(item: Item) -> Result<Vec<String>, Fault> {
    let word =
        |item: Item| match item.value {
            Value::Text(text) if !text.contains('\0') => Ok(text),
            Value::Text(_) => Err(Fault::new(
                item.place,
                Problem::Value { key: item.key, why: "a word of a command has no NUL in it".into() },
            )),
            Value::Number(ref number) => Err(item
                .bad(format!("{} is a number: write it in quotes, as a word of a command", shown(number)))),
            _ => item.text(),
        };
    item.list()?.into_iter().map(word).collect()
}

fn time(section: &mut Section, key: &'static str, default: Duration) -> Result<Duration, Fault> {
    Ok(section.opt(key, |item| seconds(item).duration(BOUNDS))?.unwrap_or(default))
}

/// config.toml has whole seconds here, and its lines are to be taken over as they are.
fn seconds(item: Item) -> Item {
    match item.value {
        Value::Number(number) => Item { value: Value::Text(format!("{number}s")), ..item },
        _ => item,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, Source};
    use super::*;

    fn read(text: &str) -> Result<Driver, String> {
        let environment = Environment { home: Some("/home/u".into()), ..Environment::default() };
        let config = Config::parse(&format!("driver: {text}"), Source::File("f.yaml".into()), &environment);
        config.map(|config| config.driver.expect("it has a driver")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_keys_of_the_runners_file_are_read_with_its_times_in_seconds() {
        let driver = read(
            "{ config_exec: /d, config_args: [config, ''], config_exec_timeout: 5, prepare_exec: d, \
             prepare_exec_timeout: 90s, run_exec: /d, run_args: [run], cleanup_exec: /d, cleanup_args: [], \
             cleanup_exec_timeout: 7, graceful_kill_timeout: 3, force_kill_timeout: 2 }",
        )
        .unwrap();
        let command = |exec: &str, args: &[&str]| DriverCommand {
            exec: exec.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        assert_eq!(driver.config, Some(command("/d", &["config", ""])));
        assert_eq!((driver.prepare, driver.run), (Some(command("d", &[])), command("/d", &["run"])));
        assert_eq!(driver.cleanup, Some(command("/d", &[])));
        let times = [driver.config_timeout, driver.prepare_timeout, driver.cleanup_timeout];
        assert_eq!(times.map(|time| time.as_secs()), [5, 90, 7]);
        assert_eq!((driver.graceful_kill.as_secs(), driver.force_kill.as_secs()), (3, 2));
    }

    #[test]
    fn the_times_that_are_left_out_are_the_runners_own() {
        let driver = read("{ run_exec: /d }").unwrap();
        assert_eq!((driver.config, driver.prepare, driver.cleanup), (None, None, None));
        assert_eq!(driver.config_timeout.as_secs(), 3600);
        assert_eq!((driver.graceful_kill.as_secs(), driver.force_kill.as_secs()), (600, 10));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_way_out() {
        for (text, part) in [
            ("{}", "driver has no `run_exec`"),
            ("{ run_exec: bin/d }", "absolute one, or a name that is on PATH"),
            ("{ run_exec: /d, prepare_args: [x] }", "no `prepare_exec` for these arguments"),
            ("{ run_exec: /d, run_args: [5] }", "write it in quotes"),
            ("{ run_exec: /d, run_args: x }", "a list"),
            ("{ run_exec: /d, run_exce: /d }", "did you mean `run_exec`?"),
            ("{ run_exec: /d, force_kill_timeout: 0 }", "from 100ms to"),
            ("/d", "a map"),
            ("{ run_exec: /d }\nshell: bash", "has both `shell` and `driver`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
