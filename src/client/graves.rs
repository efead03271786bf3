//! The dead of this host whom a waiter has found: who they are is looked for again and again while it waits, and their
//! holds end by its hand.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::task::JoinHandle;
use tracing::warn;

use super::here::{Found, Here};
use crate::{
    host::presence::Presence,
    lock::{LockState, Moment, Term, Token},
    store::Liveness,
};

/// How long a hold by kernel lock may be without its file before it counts as dead: a keeper looks for its file
/// every ten seconds, and makes one that was lost anew.
const MISSING_FOR: Duration = Duration::from_secs(60);

/// How long a look waits for a burial.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Those whom one waiter found dead on this host, and whose holds it may therefore end.
#[derive(Debug)]
pub(super) struct Graves {
    here: Option<Here>,
    liveness: Liveness,
    buried: HashMap<Token, Presence>,
    burying: HashMap<Token, JoinHandle<Found>>,
    missing: HashMap<Token, Moment>,
    /// Those whose files this left to whoever comes for their places.
    left: HashSet<Token>,
}

impl Graves {
    pub(super) fn new(here: Option<Here>, liveness: Liveness) -> Self {
        Self {
            here,
            liveness,
            buried: HashMap::new(),
            burying: HashMap::new(),
            missing: HashMap::new(),
            left: HashSet::new(),
        }
    }

    /// Looks at the holders and at the head of the queue, and buries whom it finds dead. The result are the
    /// tokens of `state` that may be removed.
    pub(super) async fn look(&mut self, state: &LockState, me: Token, now: Moment) -> Vec<Token> {
        let Some(here) = self.here.clone() else { return Vec::new() };
        let live = state.holders.iter().filter(|h| matches!(h.term, Term::Live { .. })).map(|h| h.token);
        let head = state.in_order().first().map(|w| w.token);
        let tokens: Vec<Token> = live.chain(head).filter(|token| *token != me).collect();
        self.missing.retain(|token, _| tokens.contains(token));
        let mut gone = Vec::new();
        for token in tokens {
            if self.buried.contains_key(&token) {
                gone.push(token);
                continue;
            }
            // Who is dead stays so: there is nothing more to be ended, and nothing to be said again at each look.
            if self.left.contains(&token) && state.waiter(token).is_some() {
                if here.lies_there(token) {
                    gone.push(token);
                }
                continue;
            }
            // A place may do without a file (that of `acquire` has none): it has the claim window.
            let is_overdue = state.holder(token).is_some()
                && self.liveness == Liveness::KernelLock
                && self.missing.get(&token).is_some_and(|since| now.since(*since) >= MISSING_FOR);
            let how = if is_overdue { Here::bury_without_file } else { Here::bury };
            match self.bury(here.clone(), token, how).await {
                Found::Alive => {
                    self.missing.remove(&token);
                }
                Found::Missing => {
                    self.missing.entry(token).or_insert(now);
                }
                Found::Buried(presence) => {
                    self.buried.insert(token, presence);
                    gone.push(token);
                }
            }
        }
        gone
    }

    /// Burying can take long: it must hold up neither this process's renewals nor what its log says. What is not done
    /// at once goes on aside, and until then the holder counts as alive.
    async fn bury(&mut self, here: Here, token: Token, how: fn(&Here, Token) -> Found) -> Found {
        let begin = || {
            let under_way = here.burials.begin();
            tokio::task::spawn_blocking(move || {
                let _under_way = under_way;
                how(&here, token)
            })
        };
        let mut burial = self.burying.remove(&token).unwrap_or_else(begin);
        match tokio::time::timeout(AT_ONCE, &mut burial).await {
            Ok(found) => found.unwrap_or(Found::Alive),
            Err(_) => {
                self.burying.insert(token, burial);
                Found::Alive
            }
        }
    }

    /// Lets go of the dead whose places stay for now: while this has them nobody else can bury them, neither their own
    /// cleanup nor the retry that takes the place over.
    pub(super) fn leave_places(&mut self, state: &LockState) {
        let stays = |token: &Token| state.waiter(*token).is_some();
        self.left.extend(self.buried.extract_if(|token, _| stays(token)).map(|(token, _)| token));
    }

    /// The holds and places of the buried are over: their files go.
    pub(super) fn close(&mut self, state: &LockState) {
        let over = |token: &Token| state.holder(*token).is_none() && state.waiter(*token).is_none();
        let tokens: Vec<Token> = self.buried.keys().copied().filter(over).collect();
        for token in tokens {
            if let Some(presence) = self.buried.remove(&token)
                && let Err(error) = presence.remove()
            {
                warn!(%token, %error, "the file of a buried holder stays");
            }
        }
        for token in self.left.extract_if(over) {
            if let Some(here) = &self.here {
                here.clear_away(token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::*;
    use crate::client::here::{MARKER, Record, Rites};
    use crate::lock::{Beat, EpochMs, Owner, Request};

    /// Nobody else's: a burial kills whoever on this host has the token's mark.
    fn request() -> Request {
        let token = Token::new(uuid::Uuid::new_v4());
        Request::new(Owner::alone(token), token, Term::Live { beat: Beat(0), lease: None })
    }

    #[tokio::test]
    async fn by_kernel_lock_a_holder_without_a_file_is_dead_in_time_and_a_waiter_never() {
        let place = tempfile::tempdir().unwrap();
        let here = Here::open(place.path()).unwrap();
        let mut graves = Graves::new(Some(here), Liveness::KernelLock);
        let (mut state, holder, waiter) = (LockState::new(EpochMs(0)), request(), request());
        state.request(&holder, true);
        state.request(&waiter, true);
        let marked =
            |token: Token| Command::new("sleep").arg("600").env(MARKER, token.to_string()).spawn().unwrap();
        let (mut of_the_holder, mut of_the_waiter) = (marked(holder.token), marked(waiter.token));
        let me = request().token;
        let at = |seconds| Moment(Duration::from_secs(seconds));
        assert_eq!(graves.look(&state, me, at(0)).await, []);
        assert_eq!(graves.look(&state, me, at(3600)).await, [holder.token]);
        assert!(!of_the_holder.wait().unwrap().success(), "its processes end before its hold does");
        assert!(of_the_waiter.try_wait().unwrap().is_none());
        of_the_waiter.kill().unwrap();
    }

    #[tokio::test]
    async fn in_a_table_a_holder_without_a_file_here_may_live_on_another_host() {
        let place = tempfile::tempdir().unwrap();
        let here = Here::open(place.path()).unwrap();
        let mut graves = Graves::new(Some(here), Liveness::Lease);
        let mut state = LockState::new(EpochMs(0));
        state.request(&request(), true);
        for seconds in [0, 3600] {
            let now = Moment(Duration::from_secs(seconds));
            assert_eq!(graves.look(&state, request().token, now).await, []);
        }
    }

    #[tokio::test]
    async fn a_holder_that_was_seen_or_had_gone_meanwhile_is_missing_anew() {
        let place = tempfile::tempdir().unwrap();
        let here = Here::open(place.path()).unwrap();
        let mut graves = Graves::new(Some(here.clone()), Liveness::KernelLock);
        let (free, holder, me) = (LockState::new(EpochMs(0)), request(), request().token);
        let mut held = free.clone();
        held.request(&holder, true);
        let at = |seconds| Moment(Duration::from_secs(seconds));
        assert_eq!(graves.look(&held, me, at(0)).await, []);
        let file = here.claim(holder.token, &Record::default()).unwrap();
        assert_eq!(graves.look(&held, me, at(50)).await, []);
        file.remove().unwrap();
        assert_eq!(graves.look(&held, me, at(70)).await, []);
        assert_eq!(graves.look(&free, me, at(100)).await, []);
        assert_eq!(graves.look(&held, me, at(140)).await, []);
        assert_eq!(graves.look(&held, me, at(200)).await, [holder.token]);
    }

    #[tokio::test]
    async fn the_file_of_a_dead_waiter_is_anybodys_until_its_place_is_gone_and_goes_with_that() {
        let place = tempfile::tempdir().unwrap();
        let here = Here::open(place.path()).unwrap();
        let mut graves = Graves::new(Some(here.clone()), Liveness::Lease);
        let (mut state, dead, me) = (LockState::new(EpochMs(0)), request(), request().token);
        state.request(&request(), true);
        let free = state.clone();
        state.request(&dead, true);
        drop(here.claim(dead.token, &Record::of_this_process(None)).unwrap());
        assert_eq!(graves.look(&state, me, Moment(Duration::ZERO)).await, [dead.token]);
        assert!(matches!(here.bury(dead.token), Found::Alive), "it is in hand");
        graves.leave_places(&state);
        assert!(matches!(here.bury(dead.token), Found::Buried(_)));
        graves.close(&state);
        assert!(matches!(here.bury(dead.token), Found::Buried(_)));
        graves.close(&free);
        assert!(matches!(here.bury(dead.token), Found::Missing));
    }

    #[tokio::test]
    async fn a_dead_waiter_is_buried_once_and_stays_dead_while_nobody_else_has_it_in_hand() {
        let place = tempfile::tempdir().unwrap();
        let burials = Arc::new(AtomicUsize::new(0));
        let counted = burials.clone();
        let rites = Rites::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            true
        });
        let here = Here::open(place.path()).unwrap().with_rites(rites);
        let mut graves = Graves::new(Some(here.clone()), Liveness::Lease);
        let (mut state, dead, me) = (LockState::new(EpochMs(0)), request(), request().token);
        state.request(&request(), true);
        state.request(&dead, true);
        drop(here.claim(dead.token, &Record::of_this_process(None)).unwrap());
        for _ in 0..5 {
            assert_eq!(graves.look(&state, me, Moment(Duration::ZERO)).await, [dead.token]);
            graves.leave_places(&state);
        }
        assert_eq!(burials.load(Ordering::SeqCst), 1);
        let Found::Buried(in_hand) = here.bury(dead.token) else { panic!("nobody has it") };
        assert_eq!(
            graves.look(&state, me, Moment(Duration::ZERO)).await,
            [],
            "its retry may take the place over"
        );
        in_hand.remove().unwrap();
        assert_eq!(graves.look(&state, me, Moment(Duration::ZERO)).await, []);
    }
}
