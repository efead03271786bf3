//! The burials of dead holders that one process has under way aside: what they call runs below that process.

use std::sync::Arc;

use tokio::sync::watch;

/// How many there are.
#[derive(Clone, Debug)]
pub(super) struct Burials(Arc<watch::Sender<usize>>);

/// One that is under way for as long as this lives.
pub(super) struct Burial(Burials);

impl Default for Burials {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Burials {
    /// One begins.
    pub(super) fn begin(&self) -> Burial {
        self.0.send_modify(|burials| *burials += 1);
        Burial(self.clone())
    }

    /// Whether there is one.
    pub(super) fn are_under_way(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits until there is none.
    pub(super) async fn over(&self) {
        // The sender is here: it does not end meanwhile.
        let _ = self.0.subscribe().wait_for(|burials| *burials == 0).await;
    }
}

impl Drop for Burial {
    fn drop(&mut self) {
        self.0.0.send_modify(|burials| *burials -= 1);
    }
}
