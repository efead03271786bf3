//! Who holds a lock or waits for it, for people.

use serde::{Deserialize, Serialize};

/// Who a holder or waiter is, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "snake_case")]
pub struct Who {
    /// The project's path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub project: String,
    /// The job's name, or the command outside of CI.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub job: String,
    /// The job's id; 0 outside of CI.
    #[serde(skip_serializing_if = "is_zero")]
    pub job_id: u64,
    /// The pipeline's id; 0 where it is not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub pipeline: u64,
    /// Who started it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The job's page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The host that it runs on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The longest address that is kept: one that is cut off leads nowhere, so a longer one is left out.
const MAX_URL_BYTES: usize = 512;

impl Who {
    /// What of it a holder's entry keeps: all, unless a name is absurdly long (about 900 bytes at most).
    #[must_use]
    pub fn bounded(&self) -> Self {
        Self {
            project: cut(&self.project, 128),
            job: cut(&self.job, 128),
            user: cut(&self.user, 64),
            host: cut(&self.host, 64),
            url: if self.url.len() <= MAX_URL_BYTES { self.url.clone() } else { String::new() },
            ..self.clone()
        }
    }

    /// What of it a queue's entry keeps, so that a long queue fits into an item (about 120 bytes at most).
    #[must_use]
    pub fn shortened(&self) -> Self {
        Self {
            project: cut(&self.project, 48),
            job: cut(&self.job, 24),
            job_id: self.job_id,
            host: cut(&self.host, 20),
            ..Self::default()
        }
    }
}

/// The beginning of `text`, in at most `most` bytes and whole characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}
