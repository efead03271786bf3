//! Those who work under a lock: a command under `exec`, and a thread with the library. Two who work at once are seen
//! by a file that the kernel locks for one.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use pipeline_lock::{Client, Lock, Progress, store::DynamoDbStore};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::sync::Notify;

use crate::{
    bed::{Bed, runtime, work_alone},
    harness::{Process, Stage, eventually},
};

/// How a party's work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was done to its end, under the lock.
    Done,
    /// The lock was not got.
    NotGot,
    /// The lock was lost, and the work ended early.
    Lost,
    /// Somebody else worked at the same time.
    Overlap,
}

#[derive(Debug)]
pub struct Outcome {
    pub how: How,
    /// All that was said to the user.
    pub said: String,
}

impl Outcome {
    #[track_caller]
    pub fn is(self, how: How) -> Self {
        assert_eq!(self.how, how, "it said: {}", self.said);
        self
    }

    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.said.contains(part), "{part:?} is missing in: {}", self.said);
        }
        self
    }
}

/// Somebody who asks for the lock, works under it until told to finish, and gives it back.
pub trait Party {
    fn works(&self) -> bool;
    fn finish(&self);
    fn end(self: Box<Self>) -> Outcome;
    /// What it has said so far.
    fn said(&self) -> String;

    #[track_caller]
    fn works_within(&self, limit: Duration) {
        let since = Instant::now();
        while !self.works() {
            assert!(since.elapsed() < limit, "it does not work within {limit:?}; it said {}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn until_it_works(&self) {
        self.works_within(PATIENCE);
    }
}

/// Makes a party that reaches the table through the proxy.
pub type Start = fn(&Bed) -> Box<dyn Party>;

/// A command under `exec`.
struct Command {
    stage: Stage,
    works: PathBuf,
    fifo: PathBuf,
}

/// How long a party may take to get a lock that is free.
const PATIENCE: Duration = Duration::from_secs(10);

/// The exit code of a command that did not work alone.
const OVERLAP: i32 = 97;

/// Starts `exec` through the proxy.
pub fn exec(bed: &Bed) -> Box<dyn Party> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let file = |name: &str| bed.host.path().join(format!("{name}-{id}"));
    let (works, fifo) = (file("works"), file("finish"));
    let script = script(bed, &works, &fifo);
    let command = bed.command(&["exec", "--name", &bed.lock, "--", "sh", "-c", &script]);
    Box::new(Command { stage: Stage::start(command, true), works, fifo })
}

/// A script that works alone until somebody writes into `fifo`.
pub fn script(bed: &Bed, works: &Path, fifo: &Path) -> String {
    mknodat(CWD, fifo, FileType::Fifo, Mode::RWXU, 0).expect("the folder is writable");
    format!(
        "exec 9>>{}\nflock -n 9 || exit {OVERLAP}\ntouch {}\nread line <{}",
        bed.alone().display(),
        works.display(),
        fifo.display()
    )
}

/// Lets a script end that reads from `fifo`.
#[track_caller]
pub fn let_end(fifo: &Path) {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    eventually("the script reads", || {
        let fifo = fs::OpenOptions::new().write(true).custom_flags(nonblocking).open(fifo);
        fifo.and_then(|mut fifo| fifo.write_all(b"\n")).is_ok()
    });
}

impl Party for Command {
    fn works(&self) -> bool {
        self.works.exists()
    }

    fn finish(&self) {
        let_end(&self.fifo);
    }

    fn end(self: Box<Self>) -> Outcome {
        let ended = self.stage.end();
        let said = ended.text() + &ended.error_text();
        assert!(!said.contains("panicked"), "{said}");
        let how = match ended.code {
            Some(0) => How::Done,
            Some(1..=3) => How::NotGot,
            Some(4) => How::Lost,
            Some(OVERLAP) => How::Overlap,
            _ => panic!("{ended:?}"),
        };
        Outcome { how, said }
    }

    fn said(&self) -> String {
        self.stage.said()
    }
}

/// A thread with the library.
struct Thread {
    outcome: Receiver<How>,
    works: Arc<AtomicBool>,
    finish: Arc<Notify>,
    said: Arc<Mutex<String>>,
}

/// The lease of the library's holds: it outlasts one request that is not answered.
pub const LEASE: Duration = Duration::from_secs(6);

/// How much earlier the work ends.
const MARGIN: Duration = Duration::from_secs(1);

/// Starts a thread that goes through the proxy.
pub fn library(bed: &Bed) -> Box<dyn Party> {
    in_thread(bed, bed.through())
}

/// Starts one that does not: whatever happens to the others, it has to get its turn.
pub fn rival(bed: &Bed) -> Box<dyn Party> {
    in_thread(bed, bed.around())
}

fn in_thread(bed: &Bed, settings: pipeline_lock::store::DynamoDbSettings) -> Box<dyn Party> {
    let (works, finish, said) =
        (Arc::<AtomicBool>::default(), Arc::<Notify>::default(), Arc::<Mutex<String>>::default());
    let work = Work {
        lock: bed.lock.clone(),
        alone: bed.alone(),
        works: works.clone(),
        finish: finish.clone(),
        said: said.clone(),
    };
    let (done, outcome) = channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let store = DynamoDbStore::connect(&settings).await.expect("the settings are good");
            let how = work.run(Client::new(Arc::new(store), None)).await;
            let _ = done.send(how);
            // The process goes on with other things.
            tokio::time::sleep(LEASE * 4).await;
        });
    });
    Box::new(Thread { outcome, works, finish, said })
}

impl Party for Thread {
    fn works(&self) -> bool {
        self.works.load(Ordering::SeqCst)
    }

    fn finish(&self) {
        self.finish.notify_one();
    }

    fn end(self: Box<Self>) -> Outcome {
        let how = self.outcome.recv().expect("no panic");
        Outcome { how, said: self.said.lock().expect("no panic").clone() }
    }

    fn said(&self) -> String {
        self.said.lock().expect("no panic").clone()
    }
}

struct Work {
    lock: String,
    alone: PathBuf,
    works: Arc<AtomicBool>,
    finish: Arc<Notify>,
    said: Arc<Mutex<String>>,
}

impl Work {
    fn say(&self, text: &impl ToString) {
        *self.said.lock().expect("no panic") += &format!("{}\n", text.to_string());
    }

    async fn run(&self, client: Client) -> How {
        let lock =
            Lock::new(self.lock.clone()).expect("it is a name").lease(LEASE).expect("it is long enough");
        let mut acquiring = lock.wait(Duration::from_secs(60)).begin(&client);
        while let Some(news) = acquiring.next().await {
            if let Progress::Trouble { name, message } = news {
                self.say(&format!("lock {name}: {message}"));
            }
        }
        let guard = match acquiring.await {
            Ok(guard) => guard,
            Err(error) => {
                self.say(&error);
                return How::NotGot;
            }
        };
        let Some(alone) = work_alone(&self.alone) else {
            self.say(&format!("somebody else works: {:?}", Process::with_file(&self.alone)));
            return How::Overlap;
        };
        self.works.store(true, Ordering::SeqCst);
        let how = tokio::select! {
            () = self.finish.notified() => How::Done,
            loss = guard.lost(MARGIN) => {
                self.say(&format!("lock {}: {loss}", guard.name()));
                How::Lost
            }
        };
        // Not by its end: another thread that starts a process may have a copy of it for a moment.
        alone.unlock().expect("it is locked");
        if let Err(error) = guard.release().await {
            self.say(&error);
        }
        client.recorded().await;
        how
    }
}
