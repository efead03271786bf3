//! One rule of the file: which jobs, which locks, and what jobs may change about it.

use super::error::{Fault, Problem};
use super::glob::{Against, Globs};
use super::manner::Manner;
use super::matcher::{MATCH_KEYS, Matcher};
use super::ownership;
use super::reader::{Item, KeyLines, Schema, Section};
use super::template::Template;
use super::yaml::Value;

/// The lock of the rule that is there without any file: each project's jobs one after the other.
pub(super) const DEFAULT_NAME: &str = "{CI_SERVER_HOST}/{CI_PROJECT_PATH}";

/// How many locks one job may take.
pub(super) const MAX_LOCKS: usize = 16;

/// A rule. The first one that matches a job decides about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The line at which the rule begins; none for the one that is built in.
    pub line: Option<u64>,
    /// The jobs that it is for.
    pub matcher: Matcher,
    /// The names of the locks; none: its jobs take no lock.
    pub names: Vec<Template>,
    /// How they are taken.
    pub manner: Manner,
    /// The names are shared by several projects.
    pub shared: Option<Shared>,
    /// Whether its jobs may name other locks by `PIPELINE_LOCK`.
    pub jobs_may_choose: bool,
    /// Whether its jobs may go without a lock by `PIPELINE_LOCK: none`.
    pub opt_out: bool,
    pub(super) lines: KeyLines,
}

/// Who shares the names of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    /// The projects that may use them. The rule matches no job of another.
    pub projects: Globs,
    /// The rule matches no job by itself: its names are for those who ask for them by `PIPELINE_LOCK`.
    pub on_request: bool,
}

pub(super) const RULE: Schema = Schema {
    name: "a rule of `locks`",
    keys: &[
        "match",
        "name",
        "names",
        "mode",
        "limit",
        "resources",
        "order",
        "supersede",
        "priority",
        "max_priority",
        "scope",
        "linger",
        "wait",
        "on_timeout",
        "max_queue",
        "jobs_may_share",
        "shared",
        "projects",
        "on_request",
        "jobs_may_choose",
        "opt_out",
    ],
    inner: &[("match", MATCH_KEYS)],
};

impl Rule {
    /// The rule that is there where a file has no `locks`.
    pub(super) fn built_in() -> Result<Self, Fault> {
        let name = Template::parse(DEFAULT_NAME).map_err(|why| Fault::new(<_>::default(), why))?;
        Ok(Self {
            line: None,
            matcher: Matcher::default(),
            names: vec![name],
            manner: Manner::default(),
            shared: None,
            jobs_may_choose: true,
            opt_out: true,
            lines: KeyLines::default(),
        })
    }

    pub(super) fn read(item: Item) -> Result<Self, Fault> {
        let place = item.place;
        let mut section = Section::open(item.into_node(), &RULE)?;
        let shared = read_shared(&mut section)?;
        let matcher = section.opt("match", Matcher::read)?.unwrap_or_default();
        let names = section.either("name", "names")?;
        let names = names.ok_or_else(|| {
            let example = r#"name: "{CI_SERVER_HOST}/{CI_PROJECT_PATH}""#;
            Fault::new(place, Problem::Missing { key: "name", within: RULE.name, example })
        })?;
        Ok(Self {
            line: Some(place.line),
            matcher,
            names: read_names(names, shared.is_some())?,
            manner: Manner::read(&mut section)?,
            shared,
            jobs_may_choose: section.opt("jobs_may_choose", Item::truth)?.unwrap_or(true),
            opt_out: section.opt("opt_out", Item::truth)?.unwrap_or(true),
            lines: section.lines,
        })
    }

    /// Whether a job that takes a lock by this rule may hold it together with others though the rule doesn't
    /// say so. Where the rule is silent: only a job that may as well go without the lock, so that it weakens
    /// nothing that the rule demands of it, and only a lock of its own project (`is_own`).
    pub fn may_share(&self, is_own: bool) -> bool {
        let unbound = is_own && self.opt_out && self.jobs_may_choose;
        self.manner.jobs_may_share.unwrap_or(unbound)
    }
}

fn read_names(item: Item, shared: bool) -> Result<Vec<Template>, Fault> {
    if matches!(&item.value, Value::List(list) if list.len() > MAX_LOCKS) {
        return Err(item.bad(format!("a job can have at most {MAX_LOCKS} locks")));
    }
    if shared && item.value == Value::List(Vec::new()) {
        return Err(item.bad("a shared rule has at least one name to share"));
    }
    item.one_or_many().into_iter().map(|item| read_name(item, shared)).collect()
}

fn read_name(item: Item, shared: bool) -> Result<Template, Fault> {
    let place = item.place;
    let template = Template::parse(&item.text()?).map_err(|why| Fault::new(place, why))?;
    let checked = if shared { ownership::check_shared(&template) } else { ownership::check_own(&template) };
    checked.map_err(|why| Fault::new(place, why))?;
    Ok(template)
}

fn read_shared(section: &mut Section) -> Result<Option<Shared>, Fault> {
    if section.opt("shared", Item::truth)?.unwrap_or(false) {
        let projects = section.need("projects", r#"projects: ["infra/**"]"#)?;
        let projects = Globs::read(projects, Against::ProjectPath)?;
        let on_request = section.opt("on_request", Item::truth)?.unwrap_or(false);
        return Ok(Some(Shared { projects, on_request }));
    }
    for key in ["projects", "on_request"] {
        if let Some(item) = section.take(key) {
            return Err(
                item.bad("has a meaning only beside `shared: true`; choose a rule's jobs under `match:`")
            );
        }
    }
    Ok(None)
}
