//! What a job's log says about its locks.

use std::io::Write;

use super::{Section, clean, named, taken_by};
use crate::{
    client::{Progress, Waiting, Why, humane},
    host::clock::wall_ms,
};

const SECTION: &str = "pipeline_lock_wait";
const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32;1m";
const YELLOW: &str = "\x1b[33;1m";
const RED: &str = "\x1b[31;1m";
const PLAIN: &str = "\x1b[0m";

/// A job's log. What can't be written (the runner is gone) is dropped: the keeper notices the runner's end by
/// itself.
#[derive(Debug)]
pub struct JobLog<W: Write> {
    out: W,
    is_gitlab: bool,
    in_section: bool,
}

impl<W: Write> JobLog<W> {
    /// A log to `out`; `is_gitlab`: GitLab shows it, with its sections and colours.
    pub const fn new(out: W, is_gitlab: bool) -> Self {
        Self { out, is_gitlab, in_section: false }
    }

    /// Says where a request stands.
    pub fn progress(&mut self, news: &Progress) {
        match news {
            Progress::Waiting(waiting) => self.waiting(waiting),
            Progress::Removed { name, who, why } => {
                let how = match why {
                    Why::LeaseOver => "its lease ran out without a renewal (its host or keeper is dead)",
                    Why::Dead => "its processes on this host are dead",
                    Why::Expired => "its time was over",
                    Why::Forced => "it was taken by force",
                };
                self.line(&format!("lock {}: the hold of {} was ended: {how}", clean(name), named(who)));
            }
            Progress::Trouble { name, message } => {
                let text = format!(
                    "lock {}: the store can't be used now, trying on: {}",
                    clean(name),
                    clean(message)
                );
                self.colored(YELLOW, &text);
            }
            Progress::Recovered { name } => {
                self.line(&format!("lock {}: the store answers again", clean(name)))
            }
        }
    }

    fn waiting(&mut self, waiting: &Waiting) {
        let name = clean(&waiting.name);
        if !self.in_section {
            self.in_section = true;
            let header = format!("Waiting for lock {name}");
            if self.is_gitlab {
                let header = format!("{BOLD}{header}{PLAIN}");
                self.line(
                    &Section::Start { name: SECTION, at: wall_ms() / 1000, header: &header }.to_string(),
                );
            } else {
                self.line(&header);
            }
        }
        let queue = waiting.queue.max(waiting.place);
        let place = format!("place {} of {queue}, waited {}", waiting.place, humane(waiting.waited));
        let how = taken_by(&waiting.holders).unwrap_or_else(|| "free for the job at place 1".into());
        self.line(&format!("  lock {name} is {how}; {place}"));
    }

    /// Writes something that nobody sees, while a job waits: the runner has to have something to send on.
    pub fn pulse(&mut self) {
        if self.is_gitlab && self.in_section {
            let _ = self.out.write_all(PLAIN.as_bytes()).and_then(|()| self.out.flush());
        }
    }

    /// Closes the section of the wait, if one is open.
    pub fn close_section(&mut self) {
        if std::mem::take(&mut self.in_section) && self.is_gitlab {
            self.line(&Section::End { name: SECTION, at: wall_ms() / 1000 }.to_string());
        }
    }

    /// Says that a lock was got.
    pub fn acquired(&mut self, name: &str, fence: u64, place: Option<&str>, waited: std::time::Duration) {
        self.close_section();
        let place = place.map(|place| format!(", {}", clean(place))).unwrap_or_default();
        let text = format!("Lock {} acquired after {} (fence {fence}{place})", clean(name), humane(waited));
        self.colored(GREEN, &text);
    }

    /// Says that the job can't go on.
    pub fn failure(&mut self, message: &str) {
        self.close_section();
        let message: Vec<_> = message.lines().map(clean).collect();
        self.colored(RED, &format!("pipeline-lock: {}", message.join("\n  ")));
    }

    /// Says in the middle of a script's output what becomes of the job's locks.
    pub fn notice(&mut self, message: &str, calm: bool) {
        if calm { self.note(message) } else { self.failure(message) }
    }

    /// Says something by the way.
    pub fn note(&mut self, message: &str) {
        self.line(&format!("pipeline-lock: {}", clean(message)));
    }

    fn colored(&mut self, color: &str, text: &str) {
        if self.is_gitlab {
            self.line(&format!("{color}{text}{PLAIN}"));
        } else {
            self.line(text);
        }
    }

    fn line(&mut self, text: &str) {
        let _ = self.out.write_all(format!("{text}\n").as_bytes()).and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        client::Held,
        lock::{EpochMs, Who},
    };

    fn waiting(holders: Vec<Held>) -> Progress {
        Progress::Waiting(Waiting {
            name: "git.example/shop".into(),
            place: 2,
            queue: 3,
            holders,
            waited: Duration::from_secs(75),
        })
    }

    fn said(is_gitlab: bool, news: &[Progress]) -> String {
        let mut log = JobLog::new(Vec::new(), is_gitlab);
        news.iter().for_each(|n| log.progress(n));
        String::from_utf8(log.out).unwrap()
    }

    #[test]
    fn a_waiting_job_names_lock_holder_place_and_time() {
        let holder = Held {
            owner: "job:git.example/7".into(),
            token: "6d0f6b32-6e7f-4a7c-9d7e-0d9a4ae0b0a1".parse().unwrap(),
            fence: 5,
            mode: crate::lock::Mode::Exclusive,
            since: EpochMs(1_700_000_000_000),
            until: None,
            live: true,
            revoked: None,
            slot: 0,
            reserved: None,
            between: false,
            who: Who {
                job: "deploy".into(),
                job_id: 7,
                project: "shop/web".into(),
                pipeline: 99,
                url: "https://git.example/shop/web/-/jobs/7".into(),
                ..Who::default()
            },
        };
        let text = said(false, &[waiting(vec![holder])]);
        for part in [
            "git.example/shop",
            "job deploy #7",
            "shop/web",
            "#99",
            "/-/jobs/7",
            "place 2 of 3",
            "1 min 15 s",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains('\x1b'), "no colours outside of GitLab: {text}");
    }

    #[test]
    fn one_section_holds_the_whole_wait() {
        let text = said(true, &[waiting(vec![]), waiting(vec![])]);
        assert_eq!(text.matches("section_start:").count(), 1, "{text}");
    }
}
