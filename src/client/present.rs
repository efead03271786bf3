//! The presence file of one token, for as long as this process lives: made anew when somebody removes it.

use tracing::warn;

use super::{Here, Record};
use crate::{
    host::presence::{Presence, PresenceError},
    lock::Token,
};

/// A presence file, and what is in it.
#[derive(Debug)]
pub struct Present {
    here: Here,
    token: Token,
    record: Record,
    file: Presence,
}

impl Present {
    /// Makes the file of `token`.
    ///
    /// # Errors
    /// As [`Here::claim`].
    pub fn claim(here: &Here, token: Token, record: Record) -> Result<Self, PresenceError> {
        let file = here.claim(token, &record)?;
        Ok(Self { here: here.clone(), token, record, file })
    }

    /// Makes the file anew if somebody removed it (a cleaner of old files, say): without one, others take this
    /// process for dead in time. To be called every ten seconds or so.
    pub fn stay(&mut self) {
        if self.file.is_linked() {
            return;
        }
        warn!(token = %self.token, "the presence file is gone: it is made anew");
        match self.here.claim_anew(self.token, &self.record) {
            Ok(file) => self.file = file,
            Err(error) => warn!(%error, "the presence file can't be made anew yet"),
        }
    }

    /// Replaces what is written in it.
    ///
    /// # Errors
    /// As [`Presence::write`]; a file that is made anew has it all the same.
    pub fn write(&mut self, record: Record) -> Result<(), PresenceError> {
        self.record = record;
        self.file.write(&self.record)
    }

    /// Removes the file: its token holds nothing any more.
    ///
    /// # Errors
    /// As [`Presence::remove`].
    pub fn remove(self) -> Result<(), PresenceError> {
        self.file.remove()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Found;

    #[test]
    fn a_file_or_folder_that_was_removed_is_made_anew() {
        let place = tempfile::tempdir().unwrap();
        let here = Here::open(place.path()).unwrap();
        let token = Token::new(uuid::Uuid::from_u128(1));
        let mut present = Present::claim(&here, token, Record::default()).unwrap();
        let file = place.path().join("holds").join(token.to_string());
        for removed in [&file, &place.path().join("holds")] {
            if removed.is_dir() { std::fs::remove_dir_all(removed) } else { std::fs::remove_file(removed) }
                .unwrap();
            assert!(matches!(here.bury(token), Found::Missing));
            present.stay();
            assert!(matches!(here.bury(token), Found::Alive));
        }
        present.remove().unwrap();
        assert!(!file.exists());
    }
}
