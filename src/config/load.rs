//! Which file the configuration is read from.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::error::{ConfigError, NamedBy};
use super::settings::{Config, Source};

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the configuration: from `named` (`--config`), else `$PIPELINE_LOCK_CONFIG`, else
/// `/etc/pipeline-lock/config.yaml`, else `~/.config/pipeline-lock/config.yaml`, else the built-in default.
///
/// A file that was named, or that is at one of the places, is the one: if it can't be read or is wrong, that is
/// an error. No other is taken in its stead, as jobs would then run under other locks than the operator chose.
pub fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
    load_with(named, &Environment::of_process(), read_file)
}

/// As [`load`], with the environment and the reading of files given.
pub fn load_with(
    named: Option<&Path>,
    environment: &Environment,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Result<Config, ConfigError> {
    let chosen = match (named, &environment.config) {
        (Some(path), _) => Some((path.to_owned(), NamedBy::Option)),
        (None, Some(path)) if path.is_empty() => return Err(ConfigError::EmptyVariable),
        (None, Some(path)) => Some((PathBuf::from(path), NamedBy::Variable)),
        (None, None) => None,
    };
    if let Some((file, named)) = chosen {
        return match read(&file) {
            Ok(text) => Config::parse(&text, Source::File(file), environment),
            Err(source) => Err(ConfigError::Unreadable { file, named, source }),
        };
    }
    for file in environment.places() {
        match read(&file) {
            Ok(text) => return Config::parse(&text, Source::File(file), environment),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(source) => return Err(ConfigError::Unreadable { file, named: NamedBy::Place, source }),
        }
    }
    Config::built_in(environment)
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.mode() & 0o002 != 0 {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "everybody may write to it, and it says which commands run",
        ));
    }
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            "it is larger than 1 MiB: is it the right file?",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ETC: &str = "/etc/pipeline-lock/config.yaml";
    const HOME: &str = "/home/u/.config/pipeline-lock/config.yaml";

    fn environment() -> Environment {
        Environment { home: Some("/home/u".into()), ..Environment::default() }
    }

    /// A reader of made-up files; an error stands for a file that is there and can't be read.
    fn files(
        files: &[(&'static str, Result<&'static str, ErrorKind>)],
    ) -> impl Fn(&Path) -> io::Result<String> {
        let files: BTreeMap<_, _> = files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
        move |path| match files.get(path) {
            Some(Ok(text)) => Ok((*text).to_owned()),
            Some(Err(kind)) => Err((*kind).into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn source(
        named: Option<&str>,
        environment: &Environment,
        all: &[(&'static str, Result<&'static str, ErrorKind>)],
    ) -> Result<Source, String> {
        let config = load_with(named.map(Path::new), environment, files(all));
        config.map(|config| config.source).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_of_the_five_places_wins() {
        let variable = Environment { config: Some("/v".into()), ..environment() };
        let all = [("/o", Ok("")), ("/v", Ok("")), (ETC, Ok("")), (HOME, Ok(""))];
        let file = |path: &str| Ok(Source::File(path.into()));
        assert_eq!(source(Some("/o"), &variable, &all), file("/o"));
        assert_eq!(source(None, &variable, &all), file("/v"));
        assert_eq!(source(None, &environment(), &all), file(ETC));
        assert_eq!(source(None, &environment(), &all[3..]), file(HOME));
        assert_eq!(source(None, &environment(), &[]), Ok(Source::BuiltIn));
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error_and_no_fall_through() {
        let all = [(ETC, Ok(""))];
        let error = source(Some("/o"), &environment(), &all).unwrap_err();
        assert!(error.contains("/o") && error.contains("--config"), "{error}");
        let variable = Environment { config: Some("/v".into()), ..environment() };
        let error = source(None, &variable, &all).unwrap_err();
        assert!(error.contains("/v") && error.contains("PIPELINE_LOCK_CONFIG"), "{error}");
        let empty = Environment { config: Some("".into()), ..environment() };
        assert!(source(None, &empty, &all).unwrap_err().contains("empty"));
    }

    #[test]
    fn a_file_at_its_place_that_cannot_be_read_is_an_error() {
        for place in [ETC, HOME] {
            let error =
                source(None, &environment(), &[(place, Err(ErrorKind::PermissionDenied))]).unwrap_err();
            assert!(error.contains(place) && error.contains("read it"), "{error}");
        }
    }

    #[test]
    fn a_file_at_its_place_that_is_wrong_is_an_error() {
        let error = source(None, &environment(), &[(ETC, Ok("leese: 60s")), (HOME, Ok(""))]).unwrap_err();
        assert!(error.starts_with("/etc/pipeline-lock/config.yaml:1:1: unknown key `leese`"), "{error}");
    }

    #[test]
    fn the_state_folder_is_the_systems_for_root_and_ones_own_for_others() {
        let folder = |environment: Environment| environment.state_folder();
        let root = Environment { root: true, ..environment() };
        assert_eq!(folder(root), Some("/var/lib/pipeline-lock".into()));
        assert_eq!(folder(environment()), Some("/home/u/.local/state/pipeline-lock".into()));
        let xdg = Environment { state_home: Some("/s".into()), ..environment() };
        assert_eq!(folder(xdg), Some("/s/pipeline-lock".into()));
        let relative = Environment { state_home: Some("s".into()), ..environment() };
        assert_eq!(folder(relative), Some("/home/u/.local/state/pipeline-lock".into()));
        let error = load_with(None, &Environment::default(), files(&[])).unwrap_err().to_string();
        assert!(error.contains("state:"), "{error}");
    }

    #[test]
    fn real_files_are_read_up_to_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, "wait: 5m").unwrap();
        assert_eq!(read_file(&path).unwrap(), "wait: 5m");
        std::fs::write(&path, "#".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() + 1)).unwrap();
        assert_eq!(read_file(&path).unwrap_err().kind(), ErrorKind::FileTooLarge);
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(read_file(&path).unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(read_file(folder.path()).is_err());
    }

    #[test]
    fn a_file_that_everybody_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, "wait: 5m").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let error = load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("config.yaml") && error.contains("chmod o-w"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
        assert!(read_file(&path).is_ok(), "a group is the operator's choice");
    }
}
