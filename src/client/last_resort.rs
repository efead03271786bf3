//! What is to be done where no runtime is any more that would do it: on a thread and a runtime of its own, for a moment.

use std::{thread, time::Duration};

use tokio::{runtime, time::timeout};

/// How long the drop of a [`Guard`](super::Guard) or of a request may block where there is no runtime (any more).
pub const DROP_BLOCKS: Duration = Duration::from_secs(5);

/// How long the first try may take: a connection that was kept for it may belong to the runtime that is ending, and
/// nothing comes over it any more.
const FIRST_TRY: Duration = Duration::from_secs(1);

/// Tries for [`DROP_BLOCKS`] at most, and then does what is best done `afterwards`. `attempt` hears how long it has.
/// Within another runtime nothing may block: so it has a thread of its own.
pub(super) fn block_on<T, E, A, F>(
    attempt: impl Fn(Duration) -> A + Sync,
    afterwards: impl FnOnce() -> F + Send,
) -> Option<T>
where
    T: Send,
    A: Future<Output = Result<T, E>>,
    F: Future,
{
    let in_time = || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let tries = [FIRST_TRY, DROP_BLOCKS.saturating_sub(FIRST_TRY)];
        let done = tries.into_iter().find_map(|time| {
            let attempt = attempt(time);
            runtime.block_on(async { timeout(time, attempt).await }).ok()?.ok()
        });
        runtime.block_on(async { afterwards().await });
        // A request of the local store may hang on its thread: a drop of the runtime would wait for that.
        runtime.shutdown_background();
        done
    };
    thread::scope(|scope| {
        thread::Builder::new().spawn_scoped(scope, in_time).ok().and_then(|thread| thread.join().ok()?)
    })
}
