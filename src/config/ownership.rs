//! Which names belong to which project.
//!
//! Each project owns `HOST/PATH` and all that begins with `HOST/PATH/` or `HOST/PATH:`. A name that isn't
//! declared shared is always one of the job's own project, whatever its author wrote into variables:
//!
//! - A template must begin with `{CI_SERVER_HOST}/{CI_PROJECT_PATH}` and then end, or go on with `/` or `:`. So
//!   an author's text stands behind the project's own prefix and can't run into it (`app` + `-2`).
//! - Hosts and paths come from the job's facts, never from variables. Neither has a `:` or an empty, `.` or
//!   `..` part that could move where one ends (a host's port has its `:` before the first `/`).
//! - Names are texts and are compared byte by byte: nothing resolves `..`. Still, a name with an empty, `.` or
//!   `..` part is refused, so that no reader takes it for another one.
//!
//! Could project `a/b` with environment `c` meet project `a/b/c`? On one instance they don't exist together:
//! GitLab gives each path to one group or project (its `routes` table has a unique index on the path), so `a/b`
//! is a project or else a group that has projects below it. Two projects of which neither's path begins with
//! the other's never share a name. After a rename the worst is that one waits for the other's last job. Who
//! wants to rest on nothing of the kind writes `:` behind the path, which no path has in it.
//!
//! A shared name is the file's own, and that must stay so: where its template uses what an author may set, it
//! has to begin with text of the file's, up to a `/` or `:`, and that text can't be the job's host. So no
//! author's text makes a shared name out of another project's. (A file that begins its shared names with the host
//! of another instance that uses the same store shares that instance's names. It says so itself.)

use super::facts::JobFacts;
use super::template::{Part, Template, TemplateError};
use super::values::is_identity;

/// What may stand between a project's own prefix and the rest of a name.
const BOUNDARIES: [char; 2] = ['/', ':'];

/// The names of the job's own project begin with this; none if the job doesn't say who it is.
pub(super) fn own_prefix(facts: &JobFacts) -> Option<String> {
    Some(format!("{}/{}", facts.host.as_ref()?, facts.project_path.as_ref()?))
}

/// Whether `name` is `prefix` or lies below it.
pub(super) fn lies_under(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(BOUNDARIES))
}

/// An empty, `.` or `..` part of a name, if it has one.
pub(super) fn odd_part(name: &str) -> Option<&str> {
    name.split('/').find(|part| matches!(*part, "" | "." | ".."))
}

/// Checks that an unshared name can be none but the project's own.
pub(super) fn check_own(template: &Template) -> Result<(), TemplateError> {
    let bare = |part: Option<&Part>, wanted: &str| matches!(part, Some(Part::Variable { name, filters }) if name == wanted && filters.is_empty());
    let parts = template.parts();
    let begins = bare(parts.first(), "CI_SERVER_HOST")
        && matches!(parts.get(1), Some(Part::Text(text)) if text == "/")
        && bare(parts.get(2), "CI_PROJECT_PATH");
    let goes_on = match parts.get(3) {
        None => true,
        Some(Part::Text(text)) => text.starts_with(BOUNDARIES),
        Some(Part::Variable { .. }) => false,
    };
    if begins && goes_on {
        return Ok(());
    }
    let why = "a lock of one project begins with {CI_SERVER_HOST}/{CI_PROJECT_PATH}, then ends or goes on with \
               `/` or `:`, so that no project can take another's; for a lock of several projects add \
               `shared: true` and `projects:`";
    Err(wrong(template, why))
}

/// Checks that a shared name can be none but the file's own.
pub(super) fn check_shared(template: &Template) -> Result<(), TemplateError> {
    let begins = matches!(template.parts().first(), Some(Part::Text(text)) if text.contains(BOUNDARIES));
    if begins || !uses_authors_text(template) {
        return Ok(());
    }
    let why = "a shared name that uses what a job's author may set begins with text of its own up to a `/` or \
               `:`, for example `shared/`";
    Err(wrong(template, why))
}

fn wrong(template: &Template, why: &str) -> TemplateError {
    TemplateError { template: super::suggest::shown(template.as_str()), at: 1, why: why.to_owned() }
}

/// Whether an author has a say in what the template becomes.
fn uses_authors_text(template: &Template) -> bool {
    let authors = |part: &Part| matches!(part, Part::Variable { name, .. } if !is_identity(name));
    template.parts().iter().any(authors)
}

/// Whether a shared name that an author had a say in would lie on the job's own instance, where it could be
/// another project's.
pub(super) fn shared_name_is_forged(template: &Template, name: &str, facts: &JobFacts) -> bool {
    let on_instance = facts.host.as_ref().is_some_and(|host| lies_under(name, host));
    on_instance && uses_authors_text(template)
}

#[cfg(test)]
mod tests {
    use super::{super::values::TOLD, *};

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    #[test]
    fn an_unshared_template_begins_with_the_project_and_a_boundary() {
        let own = "{CI_SERVER_HOST}/{CI_PROJECT_PATH}";
        for rest in ["", "/x", ":x", "/{CI_ENVIRONMENT_NAME}", ":{CI_ENVIRONMENT_NAME|slug}"] {
            assert!(check_own(&template(&format!("{own}{rest}"))).is_ok(), "{rest}");
        }
        let wrong = [
            "x",
            "{CI_PROJECT_PATH}",
            "{CI_SERVER_HOST}/{CI_PROJECT_NAMESPACE}/x",
            "{X}/{CI_PROJECT_PATH}",
            "{CI_SERVER_HOST|slug}/{CI_PROJECT_PATH}",
            "{CI_SERVER_HOST}/{CI_PROJECT_PATH|lower}/x",
            "{CI_SERVER_HOST}/x/{CI_PROJECT_PATH}",
            "{CI_SERVER_HOST}/{CI_PROJECT_PATH}-x",
            "{CI_SERVER_HOST}/{CI_PROJECT_PATH}{X}",
            "{CI_SERVER_HOST}{CI_PROJECT_PATH}",
        ];
        for text in wrong {
            assert!(check_own(&template(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_shared_template_begins_with_the_files_own_text_before_an_authors() {
        for text in ["deploy", "{CI_SERVER_HOST}/{CI_PROJECT_NAMESPACE}", "deploy/{X}", "deploy:{X}/y"] {
            assert!(check_shared(&template(text)).is_ok(), "{text}");
        }
        for text in
            ["{X}", "deploy-{X}", "{X}/deploy", "{CI_SERVER_HOST}/{X}", "{CI_PROJECT_ID}/{CI_JOB_NAME}"]
        {
            assert!(check_shared(&template(text)).is_err(), "{text}");
        }
        // They are true, but who pushes a branch or names a job chooses them.
        for told in TOLD {
            for text in [format!("{{{told}}}/x"), format!("{{CI_SERVER_HOST}}/{{{told}|slug}}")] {
                assert!(check_shared(&template(&text)).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn a_longer_word_does_not_lie_under_a_shorter() {
        assert!(
            lies_under("h/a/b", "h/a/b") && lies_under("h/a/b/c", "h/a/b") && lies_under("h/a/b:c", "h/a/b")
        );
        assert!(!lies_under("h/a/b-c", "h/a/b") && !lies_under("h/a", "h/a/b"));
    }

    #[test]
    fn parts_that_mean_another_place_in_a_path_are_found() {
        for name in ["a/../b", "a//b", "a/b/", "/a", "./a", "a/.."] {
            assert!(odd_part(name).is_some(), "{name}");
        }
        assert_eq!(odd_part("a/..b/c...d/.e"), None);
    }
}
