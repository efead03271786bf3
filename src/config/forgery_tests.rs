//! What no project and no author can bring about, tried with many names.

use proptest::prelude::*;

use super::*;

fn config(text: &str) -> Config {
    let environment = Environment { root: true, ..Environment::default() };
    Config::parse(text, Source::BuiltIn, &environment).unwrap()
}

fn facts() -> JobFacts {
    JobFacts::from_json(include_bytes!("../../tests/fixtures/job-v19.json")).unwrap()
}

/// Paths over few letters, so that near misses are common.
fn project() -> impl Strategy<Value = (String, String)> {
    let path = prop::collection::vec("[ab]([-.]?[ab])?", 2..5).prop_map(|segments| segments.join("/"));
    (prop_oneof![Just("h"), Just("h:1"), Just("g"), Just("s")], path)
        .prop_map(|(host, path)| (host.to_owned(), path))
}

/// Two projects; in half of the cases the path of the second begins with the text of the first's.
fn pair() -> impl Strategy<Value = ((String, String), (String, String))> {
    let longer = |(host, path): (String, String), rest| ((host.clone(), path.clone()), (host, path + rest));
    let near = (project(), prop_oneof![Just("-a"), Just("b"), Just(".b/a"), Just("/a")])
        .prop_map(move |(one, rest)| longer(one, rest));
    prop_oneof![(project(), project()), near]
}

/// What an author may write: pieces of names, often behind the whole name (`@`) or the path (`%`) of the victim.
fn authors_text() -> impl Strategy<Value = String> {
    let pieces = ["/", ":", "-", "..", ".", "h", "h:1", "a", "b", "s", ",", "{CI_PROJECT_PATH}", " "];
    let tail =
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..6).prop_map(|pieces| pieces.concat());
    (prop::sample::select(vec!["", "@", "%", "../@"]), tail)
        .prop_map(|(start, tail)| format!("{start}{tail}"))
}

/// The author's texts, aimed at a victim.
fn aimed(texts: &[String; 3], (host, path): &(String, String)) -> [String; 3] {
    texts.each_ref().map(|text| text.replace('@', &format!("{host}/{path}")).replace('%', path))
}

const TEMPLATES: &[&str] =
    &["", "/{X}", ":{X}", "/{X|lower}-{Y}", "/{X|slug}", "/env/{CI_JOB_NAME}", "/{X|default:a}/{Y|hash}"];

fn all_names(who: &(String, String), template: &str, texts: &[String; 3], shared: bool) -> Vec<String> {
    let name = format!("{{CI_SERVER_HOST}}/{{CI_PROJECT_PATH}}{template}");
    let other = if shared { "- { name: 's/{X}', shared: true, projects: '**' }\n  " } else { "" };
    let text = format!("locks:\n  {other}- name: '{name}'\n");
    let facts = JobFacts {
        host: Some(who.0.clone()),
        project_path: Some(who.1.clone()),
        project_full_path: None,
        job_name: Some(texts[2].clone()),
        ..facts()
    };
    let forged = [("CI_PROJECT_PATH", "a/b"), ("CI_SERVER_HOST", "h"), ("X", &texts[0]), ("Y", &texts[1])];
    let mut names = Vec::new();
    for ask in [None, Some(("PIPELINE_LOCK", texts[2].as_str()))] {
        let variables = forged.into_iter().chain(ask).collect();
        let decided = decide(&config(&text), &facts, &variables);
        names.extend(
            decided.into_iter().flat_map(|decision| decision.locks).map(|lock| lock.name.to_string()),
        );
    }
    names
}

/// Whether both can't be projects of one instance at once: one would be a folder of the other.
fn nested(one: &(String, String), other: &(String, String)) -> bool {
    let below =
        |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    one.0 == other.0 && (below(&one.1, &other.1) || below(&other.1, &one.1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(700))]

    #[test]
    fn two_projects_never_get_the_same_unshared_name(
        (one, other) in pair(), first in 0..TEMPLATES.len(), second in 0..TEMPLATES.len(),
        texts in [authors_text(), authors_text(), authors_text()],
        others in [authors_text(), authors_text(), authors_text()],
    ) {
        prop_assume!(!nested(&one, &other));
        let ones = all_names(&one, TEMPLATES[first], &aimed(&texts, &other), false);
        for name in all_names(&other, TEMPLATES[second], &aimed(&others, &one), false) {
            prop_assert!(!ones.contains(&name), "{name}: {one:?} {other:?}");
        }
    }

    #[test]
    fn a_colon_behind_the_path_keeps_even_nested_projects_apart(
        (one, other) in pair(), first in authors_text(), second in authors_text(),
    ) {
        prop_assume!(one != other);
        let name = |who, text: &String, victim| {
            let texts = aimed(&[text.clone(), String::new(), String::new()], victim);
            all_names(who, ":{X}", &texts, false)
        };
        let ones = name(&one, &first, &other);
        prop_assert!(name(&other, &second, &one).iter().all(|name| !ones.contains(name)));
    }

    #[test]
    fn a_shared_name_is_never_another_projects(
        (one, other) in pair(), texts in [authors_text(), authors_text(), authors_text()],
    ) {
        prop_assume!(!nested(&one, &other));
        // The file shares names under `s/`: it must not do so where that is another instance.
        prop_assume!(other.0 != "s" || one.0 == "s");
        let prefix = format!("{}/{}", other.0, other.1);
        for name in all_names(&one, "", &aimed(&texts, &other), true) {
            let rest = name.strip_prefix(&prefix);
            prop_assert!(rest.is_none_or(|rest| !rest.is_empty() && !rest.starts_with(['/', ':'])), "{name}");
        }
    }

    #[test]
    fn a_decision_is_made_or_refused_whatever_the_variables_hold(
        values in prop::collection::vec(any::<String>(), super::ask::OURS.len() + 1),
    ) {
        let names = super::ask::OURS.iter().chain(&["X"]);
        let variables = names.map(|name| (*name).to_owned()).zip(values).collect();
        let shared = "{ name: 's/{X}', shared: true, projects: '**', on_request: true }";
        let text = format!("locks:\n  - {shared}\n  - name: '{{CI_SERVER_HOST}}/{{CI_PROJECT_PATH}}/{{X}}'\n");
        if let Err(error) = decide(&config(&text), &facts(), &variables) {
            prop_assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }
}
