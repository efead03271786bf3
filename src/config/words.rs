//! The settings that are one word out of a few.

use serde::{Deserialize, Serialize};

use super::suggest::{hint, shown};
use crate::lock::{Mode, Order};

/// A setting that is one word out of a few.
pub(super) trait Word: Sized + Copy + 'static {
    /// The words and what each means, in the order in which a message lists them.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for it.
    fn word(self) -> &'static str
    where
        Self: PartialEq,
    {
        let found = Self::WORDS.iter().find(|(_, meaning)| *meaning == self);
        found.map_or("", |(word, _)| word)
    }

    /// The meaning of `word`, else the tail of a message that says which words there are.
    fn read(word: &str) -> Result<Self, String> {
        let found = Self::WORDS.iter().find(|(known, _)| *known == word);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<&str> = Self::WORDS.iter().map(|(known, _)| *known).collect();
            format!("`{}` is not known; {}", shown(word), hint(word, &known))
        })
    }
}

impl Word for Mode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("exclusive", Self::Exclusive), ("shared", Self::Shared)];
}

impl Word for Order {
    const WORDS: &'static [(&'static str, Self)] = &[("first", Self::First), ("newest", Self::Newest)];
}

/// Whose a hold is, and with it when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One job's: it ends with the job.
    #[default]
    Job,
    /// Its pipeline's: the jobs of the pipeline share it, and it stays for a while after each of them.
    Pipeline,
}

impl Word for Scope {
    const WORDS: &'static [(&'static str, Self)] = &[("job", Self::Job), ("pipeline", Self::Pipeline)];
}

/// What becomes of a job that has waited as long as it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// It fails.
    #[default]
    Fail,
    /// It fails as by its runner's fault, so that GitLab starts it anew where its `retry:` says so.
    Requeue,
}

impl Word for OnTimeout {
    const WORDS: &'static [(&'static str, Self)] = &[("fail", Self::Fail), ("requeue", Self::Requeue)];
}

/// What becomes of a running job whose hold is being lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLost {
    /// It is stopped before anyone else may take the lock.
    #[default]
    Stop,
    /// It goes on, and its log says so. The lock no longer covers it.
    Continue,
}

impl Word for OnLost {
    const WORDS: &'static [(&'static str, Self)] = &[("stop", Self::Stop), ("continue", Self::Continue)];
}

/// When a job ends the hold of its pipeline before the pipeline's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// When the job ends.
    After,
}

impl Word for Release {
    const WORDS: &'static [(&'static str, Self)] = &[("after", Self::After)];
}

/// What becomes of processes that a job leaves behind when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Survivors {
    /// They are killed at cleanup, then the lock is released.
    #[default]
    Kill,
    /// The lock is held until they have ended by themselves.
    Wait,
    /// They go on without the lock. The lock no longer covers them.
    Leave,
}

impl Word for Survivors {
    const WORDS: &'static [(&'static str, Self)] =
        &[("kill", Self::Kill), ("wait", Self::Wait), ("leave", Self::Leave)];
}

/// What becomes of a running job whose runner has died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Orphan {
    /// Its script may finish, within the job's timeout.
    #[default]
    Finish,
    /// Its script is stopped.
    Stop,
}

impl Word for Orphan {
    const WORDS: &'static [(&'static str, Self)] = &[("finish", Self::Finish), ("stop", Self::Stop)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_mode_names_the_words_there_are() {
        let error = Err("`read` is not known; known here: `exclusive` or `shared`".to_owned());
        assert_eq!(Mode::read("read"), error);
    }

    #[test]
    fn a_mistyped_word_names_the_nearest() {
        assert_eq!(Survivors::read("kil").unwrap_err(), "`kil` is not known; did you mean `kill`?");
    }
}
