//! What much of everything costs: a thousand locks of one host, a thousand waiters of one lock, ten thousand cycles of
//! one process. The figures are printed; what is asserted are counts, orders and bounds that no slow machine can break.

mod cycles;
mod full;
mod holds;
mod meter;
mod plain;
mod process;
mod stores;
mod waiters;

use std::{
    io::{self, Write},
    time::Duration,
};

use pipeline_lock::lock::{Beat, Owner, Request, Term, Token, Who};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// The lease of the holds here: the usual one.
const LEASE: Duration = Duration::from_secs(60);

/// One test has the process for itself: what it measures is the process's.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Prints a figure, past the test's own capture of its output.
fn print(text: &str) {
    let _ = writeln!(io::stdout().lock(), "load: {text}");
}

/// A request as a job of a large installation makes it, with names as long as they are there.
fn request(job: u64) -> Request {
    let token = Token::new(Uuid::new_v4());
    let term = Term::Live { beat: Beat(0), lease: Some(LEASE) };
    let id = 9_000_000_000 + job;
    Request { who: who(id), ..Request::new(Owner::job("gitlab.example.com", id), token, term) }
}

fn who(job_id: u64) -> Who {
    let project = "platform/services/payments/settlement-engine-frontend-europe";
    Who {
        project: project.into(),
        job: "deploy to production: [europe-west, blue]".into(),
        job_id,
        pipeline: 1_000_000_000 + job_id,
        user: "firstname.lastname".into(),
        url: format!("https://gitlab.example.com/{project}/-/jobs/{job_id}"),
        host: "ip-10-0-0-1.eu-central-1.compute.internal".into(),
    }
}
