//! A line of deployments: of two pipelines of one line, the newer one makes the older one's obsolete.

use serde::{Deserialize, Serialize};

use sha2::{Digest, Sha256};

use super::who::cut;

/// How many bytes of a key are kept as they are; a longer one ends in a hash of all of it.
const MAX_KEY_BYTES: usize = 100;

/// How many bytes of that hash: two keys that are the same up to there are not mixed up by chance.
const HASH_BYTES: usize = 6;

/// How many lines a lock remembers whose older waiters lost their places.
pub const MAX_NEWEST: usize = 32;

/// What a request deploys: its pipeline's number among those of one project and ref.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Line {
    /// Of what it is the newer or the older: a project and a ref, say.
    pub key: String,
    /// Its number there: the pipeline's id. The higher, the newer.
    pub pipeline: u64,
}

impl Line {
    /// The line `key` at `pipeline`. A key of more than 100 bytes is cut there, and ends in a hash of all of it.
    pub fn new(key: &str, pipeline: u64) -> Self {
        let key = if key.len() <= MAX_KEY_BYTES {
            key.to_owned()
        } else {
            let digest = Sha256::digest(key.as_bytes());
            let hash: String = digest.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
            format!("{}#{hash}", cut(key, MAX_KEY_BYTES))
        };
        Self { key, pipeline }
    }

    /// Whether this is a later pipeline of the same line.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.key == other.key && self.pipeline > other.pipeline
    }
}
