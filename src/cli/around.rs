//! What holds locks around this process: the executor of its job, an `acquire` of its job, and each `exec` that it runs
//! under. To wait for one of these would be to wait for oneself.

use std::{env, iter};

use tracing::debug;

use super::{here_job::HereJob, variables::AROUND};
use crate::{
    client::{CLEANUP_MARK, Client, MARKER},
    config::WantedLock,
    lock::{Holder, LockName, LockState, Owner, Term, Token},
    store::Consistency,
};

/// Whether the hold of an `acquire` of the same job counts as one around this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// It does: an `exec` works under it.
    Acquire,
    /// It does not: a second `acquire` joins it.
    Running,
}

/// Those who may hold locks around this process.
#[derive(Clone, Debug, Default)]
pub struct Around {
    tokens: Vec<Token>,
    job: Option<(Owner, u64)>,
    pipeline: Option<Owner>,
}

impl Around {
    /// Looks for them in the environment.
    pub fn find(job: Option<&HereJob>) -> anyhow::Result<Self> {
        let outer = env::var(AROUND).unwrap_or_default();
        let mark = env::var(MARKER).unwrap_or_default();
        let tokens = iter::once(mark.strip_suffix(CLEANUP_MARK).unwrap_or(&mark)).chain(outer.split(','));
        Ok(Self {
            tokens: tokens.filter_map(|token| token.parse().ok()).collect(),
            job: job.map(|job| (job.owner(), job.id())),
            pipeline: job.map(HereJob::pipeline).transpose()?.flatten(),
        })
    }

    /// The pipeline of the job around.
    pub const fn pipeline(&self) -> Option<&Owner> {
        self.pipeline.as_ref()
    }

    /// Whether this process runs under an executor or an `exec`.
    pub fn is_under_a_hold(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Whether there is anybody.
    pub fn is_there(&self) -> bool {
        self.job.is_some() || self.is_under_a_hold()
    }

    /// Takes those out of `locks` that are held around this process, by a job's `acquire` too if that `counts`. The
    /// result are their names, and who holds them. One that can't be looked at stays: who asks for it endures a store
    /// that does not answer.
    pub async fn take_out_held(
        &self,
        locks: &mut Vec<WantedLock>,
        client: &Client,
        counts: Counts,
    ) -> Vec<(LockName, &'static str)> {
        let mut held = Vec::new();
        for lock in std::mem::take(locks) {
            let state = client.find(&lock.name, Consistency::Strong).await.unwrap_or_else(|error| {
                debug!(lock = %lock.name, %error, "it can't be seen who holds it");
                None
            });
            match state.and_then(|state| self.holder(&state).or_else(|| self.acquirer(&state, counts))) {
                Some(by) => held.push((lock.name, by)),
                None => locks.push(lock),
            }
        }
        held
    }

    /// The executor or `exec` around that holds the lock, in words.
    fn holder(&self, state: &LockState) -> Option<&'static str> {
        let is_token = |h: &Holder| self.tokens.contains(&h.token);
        let is_job = |h: &Holder| self.job.as_ref().is_some_and(|(owner, _)| h.owner == *owner);
        let of_the_job = |h: &&Holder| is_token(h) || (self.is_under_a_hold() && is_job(h));
        let holder = state.holders.iter().find(of_the_job)?;
        let is_exec = holder.owner == Owner::alone(holder.token);
        Some(if is_exec { "an `exec` around this process" } else { "this job's own executor" })
    }

    /// The `acquire` of this job that holds the lock, in words.
    fn acquirer(&self, state: &LockState, counts: Counts) -> Option<&'static str> {
        let by_this_job = |h: &Holder| {
            let is_its = self.job.as_ref().is_some_and(|(_, id)| h.who.job_id == *id);
            let is_acquired = matches!(h.term, Term::Static { .. }) && !h.between;
            is_its && is_acquired && Some(&h.owner) == self.pipeline.as_ref()
        };
        (counts == Counts::Acquire && state.holders.iter().any(by_this_job)).then_some("this job")
    }

    /// On whose behalf locks may be held: while one is, another whose name sorts before it is only tried.
    pub fn owners(&self) -> Vec<Owner> {
        let tokens = self.tokens.iter().map(|token| Owner::alone(*token));
        let job = self.job.iter().map(|(owner, _)| owner.clone());
        tokens.chain(job).chain(self.pipeline.clone()).collect()
    }

    /// What a command that runs under an `exec` of this process has in [`AROUND`].
    pub fn for_the_command(&self) -> Option<(&'static str, String)> {
        let tokens: Vec<String> = self.tokens.iter().map(Token::to_string).collect();
        (!tokens.is_empty()).then(|| (AROUND, tokens.join(",")))
    }
}
