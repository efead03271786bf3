//! The instance and the project, out of the address of the job's repository.

/// What an address such as `https://gitlab-ci-token:…@gitlab.example:8443/group/app.git` says. The credentials
/// in it are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RepoUrl {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// The host in lower case, with its port where that isn't the scheme's own.
    pub(super) host: String,
    /// The path without `.git`, and without `/` at its ends.
    pub(super) path: String,
}

impl RepoUrl {
    /// Reads an address; none if it is not one of the form that GitLab sends.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, port, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => ("https", ":443", rest),
            (_, Some(rest)) => ("http", ":80", rest),
            _ => return None,
        };
        let (authority, path) = rest.split_once('/')?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_ascii_lowercase();
        let host = host.strip_suffix(port).unwrap_or(&host).to_owned();
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
        (is_host(&host) && is_project_path(&path)).then_some(Self { scheme, host, path })
    }

    /// The page of the job `id`, by the rule that the runner has for it (`JobURL` in its source).
    pub(super) fn job_page(&self, id: u64) -> String {
        format!("{}://{}/{}/-/jobs/{id}", self.scheme, self.host, self.path)
    }
}

/// A host name or address, perhaps with a port.
fn is_host(host: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b".-_:[]".contains(&c);
    !host.is_empty() && host.bytes().all(allowed)
}

/// Segments as GitLab's projects and groups have them: letters, digits, `_`, `-` and `.`, at least two of them.
///
/// That none has a `:` and none is `..` is what lock names rest on (see `ownership`).
pub(super) fn is_project_path(path: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "_-.+~".contains(c);
    let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.chars().all(allowed);
    path.contains('/') && path.split('/').all(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Option<(String, String)> {
        RepoUrl::parse(url).map(|url| (url.host, url.path))
    }

    #[test]
    fn host_and_path_are_taken_and_the_token_is_not() {
        let url = RepoUrl::parse("https://gitlab-ci-token:s3cr@t@GitLab.example/group/sub/app.git").unwrap();
        assert_eq!((url.host.as_str(), url.path.as_str()), ("gitlab.example", "group/sub/app"));
        assert!(!format!("{url:?}").contains("s3cr"));
        assert_eq!(url.job_page(7), "https://gitlab.example/group/sub/app/-/jobs/7");
    }

    #[test]
    fn a_port_belongs_to_the_host_unless_it_is_the_schemes_own() {
        assert_eq!(parts("https://h:443/a/b.git").unwrap().0, "h");
        assert_eq!(parts("http://h:443/a/b.git").unwrap().0, "h:443");
        assert_eq!(parts("http://[::1]:8080/a/b.git").unwrap().0, "[::1]:8080");
    }

    #[test]
    fn what_is_no_project_is_not_taken_for_one() {
        let wrong = [
            "",
            "ssh://git@h/a/b.git",
            "git@h:a/b.git",
            "https://h/app.git",
            "https://h",
            "https:///a/b",
            "https://h/a/../b.git",
            "https://h/a//b.git",
            "https://h/a/b:c.git",
            "https://h x/a/b.git",
        ];
        for url in wrong {
            assert_eq!(parts(url), None, "{url:?}");
        }
    }
}
