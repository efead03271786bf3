//! What a rule says about how its locks are taken: with whom, before whom, how long, and by whom in the end.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::Fault;
use super::reader::{Item, Section};
use super::suggest::shown;
use super::words::{OnTimeout, Scope};
use super::yaml::Value;
use crate::lock::{MAX_HOLDERS, Mode, Order, PRIORITIES};

/// How long a job may wait for its locks. Nothing: it takes them at once or fails.
pub(super) const WAIT_BOUNDS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(168 * 3_600);

/// How many jobs may wait: for one lock, and for all locks of one host.
pub(super) const WAITING_BOUNDS: RangeInclusive<u32> = 1..=10_000;

/// How long the hold of a pipeline may stay without a job of the pipeline.
const LINGER_BOUNDS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

/// How long the name of a resource may be, in bytes.
const MAX_RESOURCE_BYTES: usize = 100;

/// How the jobs of a rule take their locks. What the rule doesn't say has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// How a hold gets on with others. Default: exclusive.
    pub mode: Option<Mode>,
    /// How many may hold the lock at once. Default: as many as there are resources, else one if exclusive, and
    /// as many as there is room for if shared.
    pub limit: Option<u32>,
    /// The names of the lock's slots, the first one's first; none: the slots have no names.
    pub resources: Vec<String>,
    /// Which waiter goes first. Default: the one who came first.
    pub order: Option<Order>,
    /// Whether a newer pipeline of the same ref makes older ones obsolete while they wait. Default: no.
    pub supersede: Option<bool>,
    /// Higher goes first. Default: 0.
    pub priority: Option<i32>,
    /// How high a job may set its priority. Default: the rule's priority.
    pub max_priority: Option<i32>,
    /// Whose the hold is. Default: the job's.
    pub scope: Option<Scope>,
    /// How long a pipeline's hold stays without a job of the pipeline. Default: two minutes.
    pub linger: Option<Duration>,
    /// How long a job may wait. Default: as the file says.
    pub wait: Option<Duration>,
    /// What becomes of a job that has waited so long. Default: as the file says.
    pub on_timeout: Option<OnTimeout>,
    /// How many may wait for the lock. Default: as many as there is room for.
    pub max_queue: Option<u32>,
    /// Whether a job may hold the lock together with others though the rule doesn't say so. Default: only if
    /// it may go without the lock as well, see [`Rule::may_share`](super::Rule::may_share).
    pub jobs_may_share: Option<bool>,
}

impl Manner {
    pub(super) fn read(section: &mut Section) -> Result<Self, Fault> {
        let resources = section.opt("resources", read_resources)?.unwrap_or_default();
        let priority = section.opt("priority", |item| item.whole(PRIORITIES))?;
        let scope = section.opt("scope", Item::word)?;
        Ok(Self {
            mode: section.opt("mode", Item::word)?,
            limit: section.opt("limit", |item| read_limit(item, resources.len()))?,
            resources,
            order: section.opt("order", Item::word)?,
            supersede: section.opt("supersede", Item::truth)?,
            priority,
            max_priority: section
                .opt("max_priority", |item| read_max_priority(item, priority.unwrap_or(0)))?,
            scope,
            linger: section.opt("linger", |item| read_linger(item, scope.unwrap_or_default()))?,
            wait: section.opt("wait", |item| item.duration(WAIT_BOUNDS))?,
            on_timeout: section.opt("on_timeout", Item::word)?,
            max_queue: section.opt("max_queue", |item| item.whole(WAITING_BOUNDS))?,
            jobs_may_share: section.opt("jobs_may_share", Item::truth)?,
        })
    }
}

fn max_holders() -> u32 {
    u32::try_from(MAX_HOLDERS).unwrap_or(u32::MAX)
}

fn read_limit(item: Item, resources: usize) -> Result<u32, Fault> {
    let spot = item.spot();
    let limit = item.whole(1..=max_holders())?;
    if resources != 0 && usize::try_from(limit) != Ok(resources) {
        return Err(spot.bad(format!(
            "is {limit}, but `resources` names {resources}: each holder has one of them, so drop `limit`, or \
             make them agree"
        )));
    }
    Ok(limit)
}

fn read_max_priority(item: Item, priority: i32) -> Result<i32, Fault> {
    let spot = item.spot();
    let most = item.whole(PRIORITIES)?;
    if most < priority {
        return Err(spot.bad(format!(
            "is {most}, below the `priority` {priority} that each job of the rule has: raise it, or lower \
             `priority`"
        )));
    }
    Ok(most)
}

fn read_linger(item: Item, scope: Scope) -> Result<Duration, Fault> {
    if scope != Scope::Pipeline {
        return Err(
            item.bad("has a meaning only beside `scope: pipeline`; the hold of a job ends with the job")
        );
    }
    item.duration(LINGER_BOUNDS)
}

fn read_resources(item: Item) -> Result<Vec<String>, Fault> {
    if matches!(&item.value, Value::List(list) if list.len() > MAX_HOLDERS) {
        return Err(item.bad(format!("a lock has at most {MAX_HOLDERS} resources, one for each holder")));
    }
    let empty = item.bad("the list is empty: name at least one, or drop the key");
    let mut seen = BTreeSet::new();
    let mut resources = Vec::new();
    for item in item.one_or_many() {
        let spot = item.spot();
        let name = item.text()?;
        check_resource(&name).map_err(|why| spot.bad(why))?;
        if !seen.insert(name.clone()) {
            return Err(spot.bad(format!("`{}` is there twice: name each resource once", shown(&name))));
        }
        resources.push(name);
    }
    if resources.is_empty() { Err(empty) } else { Ok(resources) }
}

/// Names are given to the job with commas between, and shown in logs and tables.
fn check_resource(name: &str) -> Result<(), String> {
    let text = shown(name);
    if name.len() > MAX_RESOURCE_BYTES {
        return Err(format!("`{text}` is {} bytes long; {MAX_RESOURCE_BYTES} are allowed", name.len()));
    }
    if name.trim() != name {
        return Err(format!("`{text}` begins or ends with white space: remove it"));
    }
    if name.contains(',') {
        return Err(format!(
            "`{text}` has a comma in it, which stands between two names: write a list, [board-a, board-b]"
        ));
    }
    match name.chars().find(|c| !is_printable(*c)) {
        Some(c) => {
            Err(format!("`{text}` has the character {} in it, which can't be shown", c.escape_unicode()))
        }
        None => Ok(()),
    }
}

fn is_printable(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}
