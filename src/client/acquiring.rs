//! A request on its way, as a future of its lock and a stream of its news.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{AcquireError, Guard, Progress};

type Asking<G> = Pin<Box<dyn Future<Output = Result<G, AcquireError>> + Send>>;

/// A request on its way: a stream of [`Progress`], and a future of the guard.
///
/// Only polling moves it on: take the news with [`Acquiring::next`] (or as a [`Stream`]) until there is none any more,
/// then await it for the guard; or await it at once. Who drops it leaves the queue, as with
/// [`Lock::acquire`](super::Lock::acquire).
///
/// ```
/// # use pipeline_lock::{Client, Lock, Progress};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// # let client = Client::local(folder.path().join("locks.db")).await?;
/// let mut held = Some(Lock::new("shop/production")?.acquire(&client).await?);
/// let mut acquiring = Lock::new("shop/production")?.begin(&client);
/// while let Some(news) = acquiring.next().await {
///     if let Progress::Waiting(waiting) = news {
///         println!("place {} of {}", waiting.place, waiting.queue);
///         if let Some(held) = held.take() {
///             held.release().await?;
///         }
///     }
/// }
/// let guard = acquiring.await?;
/// # guard.release().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[must_use = "nothing is asked until it is polled"]
pub struct Acquiring<G = Guard> {
    asking: Option<Asking<G>>,
    news: UnboundedReceiver<Progress>,
    done: Option<Result<G, AcquireError>>,
}

impl<G> Acquiring<G> {
    pub(super) fn new<F>(ask: impl FnOnce(Box<dyn Fn(Progress) + Send + Sync>) -> F) -> Self
    where
        F: Future<Output = Result<G, AcquireError>> + Send + 'static,
    {
        let (told, news) = unbounded_channel();
        let tell = move |progress| drop(told.send(progress));
        Self { asking: Some(Box::pin(ask(Box::new(tell)))), news, done: None }
    }

    /// The next piece of news, where the request stands: at once when that changes, and at least every 15 s. `None` once
    /// the request is done: await this for what came of it.
    pub async fn next(&mut self) -> Option<Progress>
    where
        G: Unpin,
    {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(done) = asking.as_mut().poll(context)
        {
            // It had the sender, too: what it told is read to the end.
            self.asking = None;
            self.done = Some(done);
        }
    }
}

impl<G: Unpin> Stream for Acquiring<G> {
    type Item = Progress;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Progress>> {
        if let told @ Poll::Ready(Some(_)) = self.news.poll_recv(context) {
            return told;
        }
        self.go_on(context);
        self.news.poll_recv(context)
    }
}

/// What came of the request. Like other futures it is not to be polled again after that.
impl<G: Unpin> Future for Acquiring<G> {
    type Output = Result<G, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.go_on(context);
        match self.done.take() {
            Some(done) => Poll::Ready(done),
            None if self.asking.is_none() => panic!("the request was done already"),
            None => Poll::Pending,
        }
    }
}

impl<G> std::fmt::Debug for Acquiring<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acquiring").field("is_done", &self.asking.is_none()).finish_non_exhaustive()
    }
}
