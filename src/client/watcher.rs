//! Hearing that a hold is not to go on, in time and apart from whoever owns it.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Clock, HoldStatus, Loss};
use crate::lock::Moment;

/// Watches a hold, apart from whoever owns it.
#[derive(Clone)]
pub struct HoldWatcher {
    status: watch::Receiver<HoldStatus>,
    clock: Arc<dyn Clock>,
    trouble: watch::Receiver<Option<String>>,
    /// The store in a few words.
    store: String,
}

impl HoldWatcher {
    pub(super) fn new(
        status: watch::Receiver<HoldStatus>,
        trouble: watch::Receiver<Option<String>>,
        clock: Arc<dyn Clock>,
        store: String,
    ) -> Self {
        Self { status, clock, trouble, store }
    }

    /// Returns when the hold is not to go on, and at least `margin` before its lease ends; at once if that is
    /// so already. Never returns for a hold that was released.
    pub async fn lost(mut self, margin: Duration) -> Loss {
        loop {
            let deadline = match self.status.borrow_and_update().clone() {
                HoldStatus::Lost { loss, .. } => return loss,
                HoldStatus::Held { deadline } => deadline,
            };
            let last = deadline.map(|deadline| Moment(deadline.0.saturating_sub(margin)));
            if let (Some(deadline), Some(last)) = (deadline, last)
                && self.clock.now() >= last
            {
                return Loss::Expiring { deadline, cause: self.cause() };
            }
            let clock = self.clock.clone();
            let over = async move {
                match last {
                    Some(last) => clock.sleep_until(last).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.status.changed() => if changed.is_err() { std::future::pending().await },
                () = over => {}
            }
        }
    }

    fn cause(&self) -> String {
        let trouble = self.trouble.borrow().clone();
        trouble.unwrap_or_else(|| format!("{}: no reply to any renewal", self.store))
    }
}
