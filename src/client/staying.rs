//! The presence file of the library's requests and guards: several of one token share it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;
use tracing::debug;

use super::{Here, Present, Record};
use crate::{host::presence::PresenceError, lock::Token};

/// How often the file is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Keeps a presence file in its place, and removes it with the last of those who share it.
#[derive(Debug)]
pub(super) struct Staying {
    present: Arc<Mutex<Option<Present>>>,
    looking: JoinHandle<()>,
    /// A hold may stand that nobody could give back: the file stays, without its lock, so that it counts as dead.
    is_left: AtomicBool,
}

impl Staying {
    pub(super) fn begin(here: &Here, token: Token) -> Result<Arc<Self>, PresenceError> {
        let present = Present::claim(here, token, Record::of_this_process(None))?;
        let present = Arc::new(Mutex::new(Some(present)));
        let shared = present.clone();
        let looking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                shared.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(Present::stay);
            }
        });
        Ok(Arc::new(Self { present, looking, is_left: AtomicBool::new(false) }))
    }

    /// What it speaks for could not be given back: the file is to stay.
    pub(super) fn leave_the_file(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        self.looking.abort();
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A file that can't be removed is taken for a dead holder's later, and goes then.
        if !*self.is_left.get_mut()
            && let Some(Err(error)) = present.map(Present::remove)
        {
            debug!(%error, "the file of a released hold stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Found;

    #[tokio::test(start_paused = true)]
    async fn a_guards_file_is_made_anew_and_goes_with_the_last_who_shares_it() {
        let place = tempfile::tempdir().unwrap();
        let here = Here::open(place.path()).unwrap();
        let token = Token::new(uuid::Uuid::from_u128(1));
        let staying = Staying::begin(&here, token).unwrap();
        let file = place.path().join("holds").join(token.to_string());
        std::fs::remove_file(&file).unwrap();
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert!(matches!(here.bury(token), Found::Alive));
        let shared = staying.clone();
        drop(staying);
        assert!(file.exists());
        drop(shared);
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn the_file_of_what_was_not_given_back_counts_as_dead() {
        let place = tempfile::tempdir().unwrap();
        let here = Here::open(place.path()).unwrap();
        let token = Token::new(uuid::Uuid::from_u128(1));
        let staying = Staying::begin(&here, token).unwrap();
        staying.leave_the_file();
        drop(staying);
        assert!(matches!(here.bury(token), Found::Buried(_)));
    }
}
