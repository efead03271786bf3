//! A way to the store that can be cut: a TCP proxy inside of the test.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

const OPEN: u8 = 0;
const SILENT: u8 = 1;
const CUT: u8 = 2;

/// Forwards to the real endpoint, as long as it is told to.
pub struct Proxy {
    pub url: String,
    way: Arc<Way>,
}

struct Way {
    target: String,
    state: AtomicU8,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy to `endpoint` (`http://host:port`).
    pub fn to(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let way = Arc::new(Way { target, state: AtomicU8::new(OPEN), open: Mutex::default() });
        let accepting = way.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|client| accepting.accept(client)));
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

    /// All passes again.
    pub fn mend(&self) {
        self.way.state.store(OPEN, Ordering::SeqCst);
        // What was swallowed is lost, and who waits for it has to ask again.
        self.way.close_all();
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
        for stream in self.open.lock().expect("no thread panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: &Arc<Self>, client: TcpStream) {
        if self.is(CUT) {
            return;
        }
        let Ok(server) = TcpStream::connect(&self.target) else { return };
        let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        self.open.lock().expect("no thread panics with it").extend([clone(&client), clone(&server)]);
        for (from, to) in [(clone(&client), clone(&server)), (server, client)] {
            let way = self.clone();
            thread::spawn(move || way.pump(from, to));
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(got @ 1..) = from.read(&mut buffer) {
            if self.is(OPEN) && to.write_all(&buffer[..got]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
