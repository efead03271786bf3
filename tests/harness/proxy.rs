//! The way of one host to the store, with every fault that a way can have: a proxy inside of the test. It reads
//! each request, so that faults can be had for some kinds of them alone, and counts them.

use std::{
    collections::VecDeque,
    io::{self, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use super::{
    fault::{Answer, Fault},
    wire::{Kind, Message},
};

const OPEN: u8 = 0;
const SILENT: u8 = 1;
const CUT: u8 = 2;

/// Forwards to the real endpoint, but for the faults that it is told to have.
pub struct Proxy {
    pub url: String,
    way: Arc<Way>,
}

/// A request that came.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub kind: Kind,
    pub at: Instant,
    /// Whether a fault met it.
    pub is_hit: bool,
    /// Whether it is a read that is to show all that was written before.
    pub is_strong: bool,
}

struct Way {
    target: String,
    state: AtomicU8,
    open: Mutex<Vec<TcpStream>>,
    faults: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// How many requests the table has done.
    passed: AtomicUsize,
    /// The last body that the table has answered to a kind of request.
    replies: Mutex<Vec<(Kind, String)>>,
    /// How many bytes of endless replies were sent.
    flood: AtomicUsize,
}

struct Rule {
    /// Empty: all.
    kinds: Vec<Kind>,
    /// The first one is next.
    faults: VecDeque<Fault>,
    /// How often it still happens; `None`: until it is mended.
    left: Option<u32>,
}

impl Proxy {
    /// A proxy to `endpoint` (`http://host:port`).
    pub fn to(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let way = Arc::new(Way {
            target,
            state: AtomicU8::new(OPEN),
            open: Mutex::default(),
            faults: Mutex::default(),
            seen: Mutex::default(),
            connections: AtomicUsize::default(),
            passed: AtomicUsize::default(),
            replies: Mutex::default(),
            flood: AtomicUsize::default(),
        });
        let accepting = way.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let way = accepting.clone();
                thread::spawn(move || way.serve(client));
            }
        });
        Self { url, way }
    }

    /// From now on connections stay open, and nothing passes: a network that swallows all.
    pub fn silence(&self) {
        self.way.state.store(SILENT, Ordering::SeqCst);
    }

    /// From now on connections are closed at once: a server that is gone.
    pub fn cut(&self) {
        self.way.state.store(CUT, Ordering::SeqCst);
        self.way.close_all();
    }

    /// From now on this happens to each request of these kinds (of all kinds, if none is named).
    pub fn fault(&self, kinds: &[Kind], fault: Fault) {
        self.faults(kinds, vec![fault]);
    }

    /// From now on these happen to the requests of these kinds, in turn.
    pub fn faults(&self, kinds: &[Kind], faults: Vec<Fault>) {
        lock(&self.way.faults).push(Rule { kinds: kinds.to_vec(), faults: faults.into(), left: None });
    }

    /// This happens to the next request of these kinds.
    pub fn once(&self, kinds: &[Kind], fault: Fault) {
        lock(&self.way.faults).push(Rule { kinds: kinds.to_vec(), faults: [fault].into(), left: Some(1) });
    }

    /// All passes again.
    pub fn mend(&self) {
        lock(&self.way.faults).clear();
        if self.way.state.swap(OPEN, Ordering::SeqCst) != OPEN {
            // What was swallowed is lost, and who waits for it has to ask again.
            self.way.close_all();
        }
    }

    /// The requests that came.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.way.seen).clone()
    }

    /// How many requests of a kind came.
    pub fn count(&self, kind: Kind) -> usize {
        self.seen().iter().filter(|seen| seen.kind == kind).count()
    }

    /// How many requests (or connections, where all is cut off) a fault has met.
    pub fn hits(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_hit).count()
    }

    /// How many requests the table has done.
    pub fn passed(&self) -> usize {
        self.way.passed.load(Ordering::SeqCst)
    }

    /// What the table said last to a request of this kind.
    pub fn last_reply(&self, kind: Kind) -> Option<String> {
        lock(&self.way.replies).iter().find(|(of, _)| *of == kind).map(|(_, body)| body.clone())
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.way.connections.load(Ordering::SeqCst)
    }

    /// How many bytes of endless replies were taken.
    pub fn flood(&self) -> usize {
        self.way.flood.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Way {
    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::SeqCst) == state
    }

    fn close_all(&self) {
        for stream in lock(&self.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn serve(&self, client: TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let Ok(copy) = client.try_clone() else { return };
        lock(&self.open).push(copy);
        if self.is(CUT) {
            self.note(Kind::Other, true, false);
        } else {
            // An error is the end of a connection, on whichever side.
            let _ = self.pass_all(&client);
        }
        let _ = client.shutdown(Shutdown::Both);
    }

    fn pass_all(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut requests = BufReader::new(client);
        let mut table = None;
        while let Some(request) = Message::read(&mut requests)? {
            let fault = self.meet(&request);
            if self.is(SILENT) {
                return hang(client);
            }
            let Some(fault) = fault else {
                let reply = self.ask(&mut table, &request)?;
                self.answer(client, &reply.bytes())?;
                continue;
            };
            thread::sleep(fault.on_the_way);
            let reply = if fault.reaches { Some(self.ask(&mut table, &request)?) } else { None };
            self.answer_as(client, &fault.answer, reply)?;
        }
        Ok(())
    }

    /// Notes the request, and tells what is to happen to it.
    fn meet(&self, request: &Message) -> Option<Fault> {
        let kind = request.kind();
        let mut faults = lock(&self.faults);
        let met = faults
            .iter_mut()
            .find(|rule| rule.left != Some(0) && (rule.kinds.is_empty() || rule.kinds.contains(&kind)));
        let fault = met.map(|rule| {
            rule.left = rule.left.map(|left| left - 1);
            rule.faults.rotate_left(1);
            rule.faults.back().expect("a rule has a fault").clone()
        });
        self.note(kind, fault.is_some() || self.is(SILENT), request.is_strong());
        fault
    }

    fn note(&self, kind: Kind, is_hit: bool, is_strong: bool) {
        lock(&self.seen).push(Seen { kind, at: Instant::now(), is_hit, is_strong });
    }

    /// Has the table do it.
    fn ask(&self, table: &mut Option<BufReader<TcpStream>>, request: &Message) -> io::Result<Message> {
        if table.is_none() {
            let connection = TcpStream::connect(&self.target)?;
            connection.set_nodelay(true)?;
            *table = Some(BufReader::new(connection));
        }
        let table = table.as_mut().expect("it was just made");
        table.get_mut().write_all(&request.bytes())?;
        let reply = Message::read(table)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        self.passed.fetch_add(1, Ordering::SeqCst);
        let (kind, body) = (request.kind(), String::from_utf8_lossy(&reply.body).into_owned());
        let mut replies = lock(&self.replies);
        replies.retain(|(of, _)| *of != kind);
        replies.push((kind, body));
        Ok(reply)
    }

    fn answer(&self, mut client: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        if self.is(SILENT) { hang(client) } else { client.write_all(bytes) }
    }

    fn answer_as(&self, mut client: &TcpStream, answer: &Answer, reply: Option<Message>) -> io::Result<()> {
        let closed = || io::Error::from(io::ErrorKind::ConnectionReset);
        let real = || reply.as_ref().map(Message::bytes).ok_or_else(closed);
        match answer {
            Answer::Real => self.answer(client, &real()?),
            Answer::Late(by) => {
                thread::sleep(*by);
                self.answer(client, &real()?)
            }
            Answer::Slowly(each) => real()?.iter().try_for_each(|byte| {
                thread::sleep(*each);
                self.answer(client, &[*byte])
            }),
            Answer::CutShort => {
                let real = real()?;
                self.answer(client, &real[..real.len() - reply.map_or(0, |r| r.body.len().div_ceil(2))])?;
                Err(closed())
            }
            Answer::Close => Err(closed()),
            Answer::Silence => hang(client),
            Answer::Bytes(bytes) => self.answer(client, bytes),
            Answer::Endless => {
                let head = "HTTP/1.1 200 X\r\nx-amzn-RequestId: TEST\r\nContent-Type: \
                            application/x-amz-json-1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
                client.write_all(head.as_bytes())?;
                let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
                loop {
                    client.write_all(chunk.as_bytes())?;
                    self.flood.fetch_add(chunk.len(), Ordering::SeqCst);
                }
            }
        }
    }
}

/// Says nothing until the connection ends.
fn hang(mut client: &TcpStream) -> io::Result<()> {
    io::copy(&mut client, &mut io::sink())?;
    Err(io::ErrorKind::ConnectionReset.into())
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
