//! The loop: a look, what it shows, a pause.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

use super::{
    event::Event,
    look::{Looks, Which},
    screen::{Screen, keys},
};
use crate::{
    cli::{Exit, args::WatchArgs, list, lock_status::LockStatus, main::runtime, status},
    client::Client,
    config::Config,
    host::clock::wall_ms,
    lock::{EpochMs, LockName},
    report::{self, clock_time},
};

/// No two looks come closer.
const SHORTEST: Duration = Duration::from_millis(100);

/// The bytes of the keys that end the picture: q, Q, and the end of input.
const QUIT: [u8; 3] = [b'q', b'Q', 4];

/// Watches until it is told to end.
pub fn run(args: &WatchArgs, config: &Config) -> anyhow::Result<Exit> {
    let which = match &args.name {
        Some(name) => Which::One(LockName::new(name)?),
        None => Which::All(args.prefix.clone().unwrap_or_default()),
    };
    runtime()?.block_on(async {
        let client = args.store.client(config).await?;
        let mut looks = Looks::new(which);
        let mut told = Told::listen()?;
        // What is wrong from the first is not waited out.
        let first = looks.look(&client).await?;
        if io::stdout().is_terminal() && !args.json {
            Ok(picture(&client, &mut looks, &mut told, args.interval).await)
        } else {
            Ok(lines(&client, &mut looks, &mut told, args, first).await)
        }
    })
}

/// Lines, for a log or a program.
async fn lines(
    client: &Client,
    looks: &mut Looks,
    told: &mut Told,
    args: &WatchArgs,
    first: Vec<Event>,
) -> Exit {
    let mut happened = first;
    let mut trouble = Trouble::default();
    loop {
        for event in &happened {
            let line =
                if args.json { serde_json::to_string(event).unwrap_or_default() } else { event.line() };
            // Nobody reads any more: that is the end.
            if writeln!(io::stdout(), "{line}").is_err() {
                return Exit::Done;
            }
        }
        if let Some(signal) = told.within(args.interval, None).await {
            return signal.exit();
        }
        happened = match looks.look(client).await {
            Ok(happened) => {
                trouble.over();
                happened
            }
            Err(error) => {
                trouble.is(&error.to_string());
                Vec::new()
            }
        };
    }
}

/// A picture, for people at a terminal.
async fn picture(client: &Client, looks: &mut Looks, told: &mut Told, interval: Duration) -> Exit {
    let screen = Screen::enter();
    let mut keys = keys();
    let mut trouble = None;
    loop {
        screen.show(&drawn(client, looks, trouble.as_deref()));
        match told.within(interval, Some(&mut keys)).await {
            Some(Woken::Resized) => continue,
            Some(Woken::Signal(number)) if number == INT => return Exit::Done,
            Some(woken) => return woken.exit(),
            None => trouble = looks.look(client).await.err().map(|error| error.to_string()),
        }
    }
}

fn drawn(client: &Client, looks: &Looks, trouble: Option<&str>) -> Vec<String> {
    let now = EpochMs(wall_ms());
    let mut lines =
        vec![format!("{} · {} · q ends", client.store().describe(), clock_time(now)), String::new()];
    if let Some(trouble) = trouble {
        lines.extend([format!("the store can't be used now, this is old: {trouble}"), String::new()]);
    }
    if let Some(name) = looks.one() {
        let state = looks.seen().next().map(|(_, state)| state);
        lines.extend(status::show(&LockStatus::of(name, state)));
        return lines;
    }
    let locks: Vec<LockStatus> = looks
        .seen()
        .filter(|(_, state)| !state.is_free())
        .map(|(name, state)| LockStatus::of(name, Some(state)))
        .collect();
    if locks.is_empty() {
        lines.push("No lock is held or awaited.".into());
    } else {
        lines.extend(list::lines(&locks, now));
    }
    lines
}

/// A store that does not answer: told once.
#[derive(Default)]
struct Trouble(bool);

impl Trouble {
    fn is(&mut self, message: &str) {
        if !std::mem::replace(&mut self.0, true) {
            report::warn(&format!("pipeline-lock: the store can't be used now, trying on: {message}"));
        }
    }

    fn over(&mut self) {
        if std::mem::take(&mut self.0) {
            report::warn("pipeline-lock: the store answers again");
        }
    }
}

const INT: u8 = 2;

/// Why a pause ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// A signal of this number asks for the end.
    Signal(u8),
    /// A key does.
    Key,
    /// The terminal has another size.
    Resized,
}

impl Woken {
    const fn exit(self) -> Exit {
        match self {
            Self::Signal(number) => Exit::Code(128 + number),
            Self::Key | Self::Resized => Exit::Done,
        }
    }
}

/// The signals that are listened to.
struct Told {
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    resized: Signal,
}

impl Told {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    /// Waits for `pause`, or for what ends it early.
    async fn within(
        &mut self,
        pause: Duration,
        mut keys: Option<&mut UnboundedReceiver<u8>>,
    ) -> Option<Woken> {
        let until = Instant::now() + pause.max(SHORTEST);
        loop {
            return tokio::select! {
                () = sleep_until(until) => None,
                _ = self.hangup.recv() => Some(Woken::Signal(1)),
                _ = self.interrupt.recv() => Some(Woken::Signal(INT)),
                _ = self.quit.recv() => Some(Woken::Signal(3)),
                _ = self.terminate.recv() => Some(Woken::Signal(15)),
                _ = self.resized.recv(), if keys.is_some() => Some(Woken::Resized),
                key = pressed(keys.as_deref_mut()) => {
                    if !QUIT.contains(&key) {
                        continue;
                    }
                    Some(Woken::Key)
                }
            };
        }
    }
}

/// The next key. Where none will come, this never returns.
async fn pressed(keys: Option<&mut UnboundedReceiver<u8>>) -> u8 {
    match keys {
        Some(keys) => match keys.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
