//! The settings that are one word out of a few.

use serde::{Deserialize, Serialize};

use super::suggest::{hint, shown};

/// A setting that is one word out of a few.
pub(super) trait Word: Sized + Copy + 'static {
    /// The words and what each means, in the order in which a message lists them.
    const WORDS: &'static [(&'static str, Self)];

    /// The meaning of `word`, else the tail of a message that says which words there are.
    fn read(word: &str) -> Result<Self, String> {
        let found = Self::WORDS.iter().find(|(known, _)| *known == word);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<&str> = Self::WORDS.iter().map(|(known, _)| *known).collect();
            format!("`{}` is not known; {}", shown(word), hint(word, &known))
        })
    }
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By one holder at a time.
    #[default]
    Exclusive,
}

impl Word for Mode {
    const WORDS: &'static [(&'static str, Self)] = &[("exclusive", Self::Exclusive)];
}

impl Mode {
    /// The word that the file and the job's variables have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
        }
    }
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
        assert_eq!(Mode::read("shared"), Err("`shared` is not known; known here: `exclusive`".to_owned()));
    }

    #[test]
    fn a_mistyped_word_names_the_nearest() {
        assert_eq!(Survivors::read("kil").unwrap_err(), "`kil` is not known; did you mean `kill`?");
    }
}
