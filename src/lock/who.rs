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

impl Who {
    /// What of it a queue's entry keeps, so that a long queue fits into an item (about 150 bytes).
    #[must_use]
    pub fn shortened(&self) -> Self {
        let cut = |text: &str, most: usize| -> String {
            let end =
                text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= most).last();
            text[..end.unwrap_or(0)].to_owned()
        };
        Self {
            project: cut(&self.project, 56),
            job: cut(&self.job, 32),
            job_id: self.job_id,
            pipeline: self.pipeline,
            host: cut(&self.host, 24),
            ..Self::default()
        }
    }
}
