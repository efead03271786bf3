//! What has happened to a lock between two looks at it.

use serde::Serialize;

use crate::{
    client::Held,
    lock::{EpochMs, LockName, LockState, Waiter, Who},
    report::{clean, clock_time, holder_name, named},
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody holds it: so it was at the first look.
    Held,
    /// Somebody waits: likewise.
    Waits,
    /// Somebody was granted it.
    Granted,
    /// Somebody reserved it.
    Reserved,
    /// A hold or a reservation is over.
    Released,
    /// A holder was asked to end.
    Revoked,
    /// A pipeline's hold is kept for its next job.
    Kept,
    /// Somebody came to wait.
    Queued,
    /// Somebody left the queue without the lock.
    Left,
    /// Holds came and went between the two looks.
    Unseen,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Waits => "waits",
            Self::Granted => "granted",
            Self::Reserved => "reserved",
            Self::Released => "released",
            Self::Revoked => "revoked",
            Self::Kept => "kept",
            Self::Queued => "queued",
            Self::Left => "left",
            Self::Unseen => "unseen",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When it was seen, by this host's clock.
    pub at: EpochMs,
    /// To which lock.
    pub lock: String,
    /// What.
    pub event: Kind,
    /// Whose hold or place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Who that is.
    #[serde(skip_serializing_if = "is_nobody")]
    pub who: Who,
    /// A hold's fencing number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// A waiter's place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    /// Why it is reserved, who asks for its end, how many were not seen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The holder in words, for people.
    #[serde(skip)]
    said: String,
}

fn is_nobody(who: &Who) -> bool {
    *who == Who::default()
}

impl Event {
    /// A line for people.
    pub fn line(&self) -> String {
        let mut line = format!("{}  {}  {:<8}", clock_time(self.at), clean(&self.lock), self.event.as_str());
        if !self.said.is_empty() {
            line += &format!("  {}", self.said);
        }
        if let Some(place) = self.place {
            line += &format!(", place {place}");
        }
        if let Some(fence) = self.fence {
            line += &format!(", fence {fence}");
        }
        if !self.note.is_empty() {
            line += &format!(": {}", clean(&self.note));
        }
        line
    }
}

/// What happened to `name` between two looks; `before` is `None` at the first one.
pub fn events(
    at: EpochMs,
    name: &LockName,
    before: Option<&LockState>,
    after: Option<&LockState>,
) -> Vec<Event> {
    let seed = LockState::new(EpochMs(0));
    let is_first = before.is_none();
    let comparing = Comparing { at, name, before: before.unwrap_or(&seed), after: after.unwrap_or(&seed) };
    let mut events = comparing.ends();
    if !is_first {
        events.extend(comparing.unseen());
    }
    events.extend(comparing.begins(is_first));
    events
}

struct Comparing<'a> {
    at: EpochMs,
    name: &'a LockName,
    before: &'a LockState,
    after: &'a LockState,
}

impl Comparing<'_> {
    /// What is over: holds, and places of those who got nothing.
    fn ends(&self) -> Vec<Event> {
        let gone = self.before.holders.iter().filter(|h| self.after.holder(h.token).is_none());
        let released = gone.map(|h| self.of_holder(Kind::Released, &Held::of(self.before, h), String::new()));
        let left = self.before.queue.iter().filter(|w| {
            self.after.waiter(w.token).is_none()
                && self.after.holder(w.token).is_none()
                && !self.may_have_held()
        });
        released.chain(left.map(|w| self.of_waiter(Kind::Left, w, None))).collect()
    }

    /// Whether a waiter may have got and given back the lock unseen.
    fn may_have_held(&self) -> bool {
        self.count_unseen() > 0
    }

    fn count_unseen(&self) -> u64 {
        let seen = self.after.holders.iter().filter(|h| self.before.holder(h.token).is_none()).count();
        self.after.fence.0.saturating_sub(self.before.fence.0).saturating_sub(seen as u64)
    }

    fn unseen(&self) -> Option<Event> {
        let count = self.count_unseen();
        // A lock that was not there has no number to count from.
        (count > 0 && self.before.fence.0 > 0).then(|| Event {
            at: self.at,
            lock: self.name.to_string(),
            event: Kind::Unseen,
            token: None,
            who: Who::default(),
            fence: None,
            place: None,
            note: format!("{count} more got the lock and gave it back"),
            said: "between two looks".into(),
        })
    }

    /// What is new, and what has changed of those who hold.
    fn begins(&self, is_first: bool) -> Vec<Event> {
        let mut events = Vec::new();
        for holder in &self.after.holders {
            let held = Held::of(self.after, holder);
            let before = self.before.holder(holder.token);
            match (before, &held.reserved) {
                (None, Some(reason)) => {
                    events.push(self.of_holder(Kind::Reserved, &held, reason.clone()));
                }
                (None, None) => {
                    let kind = if is_first { Kind::Held } else { Kind::Granted };
                    events.push(self.of_holder(kind, &held, String::new()));
                }
                (Some(_), _) => {}
            }
            if let (Some(by), None) = (&held.revoked, before.and_then(|h| h.revoked.as_ref())) {
                events.push(self.of_holder(Kind::Revoked, &held, format!("by {by}")));
            }
            if held.between && !before.is_some_and(|h| h.between) {
                events.push(self.of_holder(Kind::Kept, &held, String::new()));
            }
        }
        let kind = if is_first { Kind::Waits } else { Kind::Queued };
        for (index, waiter) in self.after.in_order().into_iter().enumerate() {
            if self.before.waiter(waiter.token).is_none() {
                events.push(self.of_waiter(kind, waiter, Some(index + 1)));
            }
        }
        events
    }

    fn of_holder(&self, event: Kind, held: &Held, note: String) -> Event {
        Event {
            at: self.at,
            lock: self.name.to_string(),
            event,
            token: Some(held.token.to_string()),
            who: held.who.clone(),
            fence: Some(held.fence),
            place: None,
            note,
            said: holder_name(held),
        }
    }

    fn of_waiter(&self, event: Kind, waiter: &Waiter, place: Option<usize>) -> Event {
        Event {
            at: self.at,
            lock: self.name.to_string(),
            event,
            token: Some(waiter.token.to_string()),
            who: waiter.who.clone(),
            fence: None,
            place,
            note: String::new(),
            said: named(&waiter.who),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Owner, Request, Term, Token};

    const AT: EpochMs = EpochMs(1_700_000_000_000);

    fn token(n: u128) -> Token {
        Token::new(uuid::Uuid::from_u128(n))
    }

    fn request(n: u128) -> Request {
        let who = Who { job: format!("job-{n}"), ..Who::default() };
        let term = Term::Static { until: None };
        Request { who, ..Request::new(Owner::alone(token(n)), token(n), term) }
    }

    fn seen(before: Option<&LockState>, after: &LockState) -> Vec<String> {
        let name = LockName::new("a").unwrap();
        let events = events(AT, &name, before, Some(after));
        events.iter().map(|event| format!("{} {}", event.event.as_str(), event.who.job)).collect()
    }

    fn changed(state: &LockState, change: impl FnOnce(&mut LockState)) -> LockState {
        let mut state = state.clone();
        change(&mut state);
        state.seal(AT);
        state
    }

    fn held_and_awaited() -> LockState {
        changed(&LockState::new(AT), |lock| {
            for n in [1, 2, 3] {
                lock.request(&request(n), true);
            }
        })
    }

    #[test]
    fn the_first_look_tells_how_things_stand() {
        assert_eq!(seen(None, &held_and_awaited()), ["held job-1", "waits job-2", "waits job-3"]);
    }

    #[test]
    fn a_lock_that_changes_hands_is_released_and_granted() {
        let before = held_and_awaited();
        assert_eq!(seen(Some(&before), &before), [""; 0]);
        let after = changed(&before, |lock| {
            lock.release(token(1));
            lock.request(&request(2), true);
        });
        assert_eq!(seen(Some(&before), &after), ["released job-1", "granted job-2"]);
    }

    #[test]
    fn who_leaves_the_queue_left_and_who_comes_is_queued() {
        let before = held_and_awaited();
        let after = changed(&before, |lock| {
            lock.release(token(2));
            lock.request(&request(4), true);
        });
        assert_eq!(seen(Some(&before), &after), ["left job-2", "queued job-4"]);
    }

    #[test]
    fn what_came_and_went_between_two_looks_is_counted() {
        let before = held_and_awaited();
        let after = changed(&before, |lock| {
            for n in [1, 2] {
                lock.release(token(n));
                lock.request(&request(n + 1), true);
            }
        });
        assert_eq!(seen(Some(&before), &after), ["released job-1", "unseen ", "granted job-3"]);
    }

    #[test]
    fn a_reservation_and_a_revocation_are_told_with_their_reason() {
        let before = held_and_awaited();
        let after = changed(&before, |lock| {
            lock.revoke(token(1), "mara");
            lock.reserve(&request(9), "move");
        });
        let name = LockName::new("a").unwrap();
        let lines: Vec<String> =
            events(AT, &name, Some(&before), Some(&after)).iter().map(Event::line).collect();
        assert!(lines[0].contains("revoked ") && lines[0].ends_with(": by mara"), "{lines:?}");
        assert!(lines[1].contains("reserved") && lines[1].ends_with(": move"), "{lines:?}");
        assert_eq!(lines.len(), 2);
    }
}
