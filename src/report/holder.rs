//! Who somebody is and how they hold a lock, in words.

use super::{ago, clean, clock_time};
use crate::{
    client::Held,
    host::clock::wall_ms,
    lock::{EpochMs, Who},
};

/// How a lock stands with these holders: `held by …`, `kept for …`, `reserved by …`; `None` if nobody has it.
pub fn taken_by(holders: &[Held]) -> Option<String> {
    let (reservations, holds): (Vec<&Held>, Vec<&Held>) = holders.iter().partition(|h| h.reserved.is_some());
    let mut parts = Vec::new();
    if let Some((first, rest)) = holds.split_first() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        parts.push(format!("{}{more}", taken(first)));
    }
    parts.extend(reservations.into_iter().map(taken));
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// One holder, with since when and where to look.
fn taken(holder: &Held) -> String {
    let until =
        holder.until.map_or_else(|| "until it is released".into(), |at| format!("until {}", clock_time(at)));
    if let Some(reason) = &holder.reserved {
        return format!("reserved by {} {until}: {}", person(&holder.who), clean(reason));
    }
    if holder.between {
        return format!("kept for {} between its jobs {until}", pipeline_of(holder));
    }
    let mut text = format!(
        "held by {} since {} ({})",
        holder_name(holder),
        clock_time(holder.since),
        ago(holder.since, EpochMs(wall_ms()))
    );
    if let Some(until) = holder.until {
        text += &format!(", until {}", clock_time(until));
    }
    if let Some(by) = &holder.revoked {
        text += &format!(", asked to end by {}", clean(by));
    }
    text
}

/// A holder in a few words: the job, the pipeline, or who reserves.
pub fn holder_name(holder: &Held) -> String {
    match &holder.reserved {
        Some(_) => person(&holder.who),
        None if holder.who == Who::default() => clean(&holder.owner).into_owned(),
        None => named(&holder.who),
    }
}

/// The pipeline that a hold is kept for.
pub fn pipeline_of(holder: &Held) -> String {
    match holder.who.pipeline {
        0 => clean(&holder.owner).into_owned(),
        pipeline if holder.who.project.is_empty() => format!("pipeline #{pipeline}"),
        pipeline => format!("pipeline #{pipeline} of project {}", clean(&holder.who.project)),
    }
}

/// A person, not a job.
fn person(who: &Who) -> String {
    match (who.user.as_str(), who.host.as_str()) {
        ("", "") => "somebody unknown".into(),
        ("", host) => format!("somebody on {}", clean(host)),
        (user, _) => clean(user).into_owned(),
    }
}

/// Who somebody is, in one line.
pub fn named(who: &Who) -> String {
    let mut parts = Vec::new();
    if !who.job.is_empty() {
        parts.push(format!("job {}", job_of(who)));
    }
    if !who.project.is_empty() {
        parts.push(format!("project {}", clean(&who.project)));
    }
    if who.pipeline != 0 {
        parts.push(format!("pipeline #{}", who.pipeline));
    }
    // A job has a page that tells where it runs; a shell has none.
    let is_shell = who.job_id == 0 && !who.host.is_empty();
    match (who.user.as_str(), is_shell) {
        ("", true) if !parts.is_empty() => parts.push(format!("on {}", clean(&who.host))),
        ("", _) => {}
        (user, true) => parts.push(format!("by {} on {}", clean(user), clean(&who.host))),
        (user, false) => parts.push(format!("by {}", clean(user))),
    }
    if !who.url.is_empty() {
        parts.push(clean(&who.url).into_owned());
    }
    if parts.is_empty() && !who.host.is_empty() {
        parts.push(format!("somebody on {}", clean(&who.host)));
    }
    if parts.is_empty() { "somebody unknown".into() } else { parts.join(", ") }
}

/// Who somebody is, for a column of a table.
pub fn named_short(who: &Who) -> String {
    match (who.job.is_empty(), who.project.is_empty()) {
        (true, true) => person(who),
        (true, false) => clean(&who.project).into_owned(),
        (false, true) if who.user.is_empty() => job_of(who),
        (false, true) => format!("{} by {}", job_of(who), clean(&who.user)),
        (false, false) => format!("{} of {}", job_of(who), clean(&who.project)),
    }
}

fn job_of(who: &Who) -> String {
    let id = if who.job_id == 0 { String::new() } else { format!(" #{}", who.job_id) };
    format!("{}{id}", clean(&who.job))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{LockState, Owner, Request, Term, Token};

    fn holders(change: impl FnOnce(&mut LockState)) -> Vec<Held> {
        let mut state = LockState::new(EpochMs(0));
        change(&mut state);
        Held::all(&state)
    }

    fn request(n: u128, term: Term) -> Request {
        let token = Token::new(uuid::Uuid::from_u128(n));
        let who = Who { job: "deploy".into(), user: "mara".into(), pipeline: 9, ..Who::default() };
        Request { who, ..Request::new(Owner::pipeline("git.example", 1, 9), token, term) }
    }

    const TWO: Term = Term::Static { until: Some(EpochMs(1_700_000_000_000)) };

    #[test]
    fn a_reservation_names_its_reason_beside_who_holds() {
        let reserved = request(1, TWO);
        let text = taken_by(&holders(|lock| drop(lock.reserve(&reserved, "database\nmove")))).unwrap();
        assert_eq!(text, "reserved by mara until 2023-11-14 22:13:20 UTC: database\u{fffd}move");
        let both = taken_by(&holders(|lock| {
            lock.request(&request(2, TWO), false);
            lock.reserve(&reserved, "move");
        }));
        let both = both.unwrap();
        assert!(both.starts_with("held by job deploy") && both.ends_with(": move"), "{both}");
    }

    #[test]
    fn who_is_no_job_is_told_with_the_host() {
        let who = Who { job: "acquire".into(), user: "mara".into(), host: "ops-1".into(), ..Who::default() };
        assert_eq!(named(&who), "job acquire, by mara on ops-1");
        assert_eq!(named(&Who { user: String::new(), ..who.clone() }), "job acquire, on ops-1");
        assert_eq!(named(&Who { job_id: 7, ..who }), "job acquire #7, by mara");
    }

    #[test]
    fn a_hold_between_two_jobs_names_its_pipeline() {
        let text = taken_by(&holders(|lock| {
            lock.request(&request(2, TWO), false);
            lock.holders[0].between = true;
        }));
        assert_eq!(text.unwrap(), "kept for pipeline #9 between its jobs until 2023-11-14 22:13:20 UTC");
        assert_eq!(taken_by(&[]), None);
    }
}
