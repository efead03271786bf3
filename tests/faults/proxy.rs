//! The proxy's faults are what they say, for a client and a server that only count.

use std::{
    io::{self, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Fault, Kind, Message, Proxy, eventually};

/// What the server answers to everything.
const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"Item\": {}}";

/// How long a client listens for what is not to come.
const NOTHING: Duration = Duration::from_millis(300);

/// A server, the proxy before it, and how many requests the server had.
struct Way {
    proxy: Proxy,
    asked: Arc<AtomicUsize>,
}

impl Way {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let count = count.clone();
                thread::spawn(move || {
                    let mut requests = BufReader::new(&connection);
                    while let Ok(Some(_)) = Message::read(&mut requests) {
                        count.fetch_add(1, Ordering::SeqCst);
                        (&connection).write_all(REPLY.as_bytes()).unwrap();
                    }
                });
            }
        });
        Self { proxy: Proxy::to(&format!("http://{address}")), asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.proxy.url.trim_start_matches("http://")).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client
    }

    /// Sends a request and reads to the end of the connection, or of the reply.
    fn ask(&self) -> io::Result<String> {
        ask(&mut self.connect(), "GetItem", "{}")
    }
}

fn send(client: &mut TcpStream, operation: &str, body: &str) {
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\n");
    let _ = client.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes());
}

fn ask(client: &mut TcpStream, operation: &str, body: &str) -> io::Result<String> {
    send(client, operation, body);
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match client.read(&mut buffer)? {
            0 => break,
            got => bytes.extend_from_slice(&buffer[..got]),
        }
        let is_whole = Message::read(&mut bytes.as_slice()).is_ok_and(|message| message.is_some());
        if is_whole {
            break;
        }
    }
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn without_a_fault_all_passes_and_is_counted() {
    let way = Way::new();
    let mut client = way.connect();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "GetItem", "{}").unwrap(), REPLY);
    }
    assert_eq!(ask(&mut client, "Scan", "{}").unwrap(), REPLY);
    assert_eq!((way.proxy.count(Kind::Read), way.proxy.count(Kind::Scan)), (3, 1));
    assert_eq!((way.asked(), way.proxy.hits(), way.proxy.connections()), (4, 0, 1));
}

#[test]
fn a_lost_request_reaches_nobody_and_a_lost_reply_does() {
    let way = Way::new();
    way.proxy.once(&[], Fault::lost_request());
    assert_eq!((way.ask().unwrap().as_str(), way.asked()), ("", 0));
    way.proxy.once(&[], Fault::lost_reply());
    assert_eq!((way.ask().unwrap().as_str(), way.asked()), ("", 1));
    assert_eq!(way.ask().unwrap(), REPLY);
    assert_eq!(way.proxy.hits(), 2);
}

#[test]
fn a_late_request_arrives_though_nobody_waits_for_it_and_a_late_reply_is_for_a_request_that_did() {
    let way = Way::new();
    way.proxy.once(&[], Fault::late_request(NOTHING));
    let mut client = way.connect();
    send(&mut client, "GetItem", "{}");
    eventually("the request is met", || way.proxy.hits() == 1);
    drop(client);
    assert_eq!(way.asked(), 0);
    eventually("it arrives", || way.asked() == 1);
    way.proxy.once(&[], Fault::late_reply(NOTHING));
    let since = Instant::now();
    assert_eq!(way.ask().unwrap(), REPLY);
    assert!(since.elapsed() >= NOTHING);
    assert_eq!(way.asked(), 2);
}

/// Nothing comes, and the connection is not closed either.
#[track_caller]
fn is_silent(way: &Way) {
    let mut client = way.connect();
    client.set_read_timeout(Some(NOTHING)).unwrap();
    let error = ask(&mut client, "GetItem", "{}").unwrap_err();
    assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
}

#[test]
fn a_half_open_connection_and_one_that_falls_silent_say_nothing() {
    let way = Way::new();
    way.proxy.fault(&[], Fault::half_open());
    is_silent(&way);
    assert_eq!(way.asked(), 0);
    way.proxy.mend();
    way.proxy.fault(&[], Fault::silent_reply());
    is_silent(&way);
    assert_eq!(way.asked(), 1);
}

#[test]
fn slow_bytes_are_all_of_the_reply_and_a_truncated_one_is_not() {
    let way = Way::new();
    let each = Duration::from_millis(5);
    way.proxy.once(&[], Fault::slow_bytes(each));
    let since = Instant::now();
    assert_eq!(way.ask().unwrap(), REPLY);
    assert!(since.elapsed() >= each * 50, "{:?}", since.elapsed());
    way.proxy.once(&[], Fault::cut_short());
    assert_eq!(way.ask().unwrap(), REPLY[..REPLY.len() - 6]);
}

#[test]
fn garbage_comes_as_it_is_with_and_without_effect() {
    let way = Way::new();
    way.proxy.once(&[], Fault::page());
    assert!(way.ask().unwrap().starts_with("HTTP/1.1 200 X\r\nContent-Type: text/html\r\n"));
    way.proxy.once(&[], Fault::no_http());
    assert!(way.ask().unwrap().starts_with("SSH-"));
    way.proxy.once(&[], Fault::expired());
    assert!(way.ask().unwrap().contains("#ExpiredTokenException"));
    assert_eq!(way.asked(), 0);
    way.proxy.once(&[], Fault::server_error().after_effect());
    assert!(way.ask().unwrap().starts_with("HTTP/1.1 500"));
    assert_eq!(way.asked(), 1);
}

#[test]
fn an_endless_reply_goes_on_until_nobody_reads() {
    let way = Way::new();
    way.proxy.once(&[], Fault::endless());
    let mut client = way.connect();
    send(&mut client, "GetItem", "{}");
    let mut buffer = vec![0; 1 << 20];
    client.read_exact(&mut buffer).unwrap();
    eventually("it flows", || way.proxy.flood() > 1 << 20);
    drop(client);
    assert_eq!(way.ask().unwrap(), REPLY);
}

#[test]
fn a_fault_is_for_its_kinds_alone_and_those_of_a_list_come_in_turn() {
    let way = Way::new();
    way.proxy.faults(&[Kind::Renewal], vec![Fault::throttled(), Fault::server_error()]);
    let renewal = r##"{"ConditionExpression": "#Holders[0].#Token = :token AND #Holders[0].#Beat < :beat"}"##;
    let first = r##"{"ConditionExpression": "attribute_not_exists(#LockID) OR …"}"##;
    let swap = |values: &str| {
        format!(r##"{{"ConditionExpression": "#Rev = :expected", "ExpressionAttributeValues": {values}}}"##)
    };
    let mut client = way.connect();
    for body in [
        first,
        &swap(r#"{":queue": 1}"#),
        &swap(r#"{":queue": 1, ":holders": 1}"#),
        &swap(r#"{":holders": 1}"#),
    ] {
        assert_eq!(ask(&mut client, "UpdateItem", body).unwrap(), REPLY);
    }
    let kinds: Vec<Kind> = way.proxy.seen().iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, [Kind::FirstWrite, Kind::Queue, Kind::Claim, Kind::Holders]);
    for code in ["Provisioned", "InternalServer", "Provisioned"] {
        assert!(ask(&mut client, "UpdateItem", renewal).unwrap().contains(code));
    }
    let place = r#"{"Key": {"LockID": {"S": "a\u001fhistory\u001f07"}}}"#;
    assert_eq!(ask(&mut client, "UpdateItem", place).unwrap(), REPLY);
    assert_eq!((way.proxy.count(Kind::Renewal), way.proxy.count(Kind::History)), (3, 1));
}

#[test]
fn a_host_that_is_cut_off_has_its_connections_closed_and_gets_no_other() {
    let way = Way::new();
    let mut client = way.connect();
    assert_eq!(ask(&mut client, "GetItem", "{}").unwrap(), REPLY);
    way.proxy.cut();
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0, "the connection is closed");
    assert!(way.ask().is_err() || way.ask().is_ok_and(|reply| reply.is_empty()));
    assert_eq!(way.asked(), 1);
    way.proxy.mend();
    assert_eq!(way.ask().unwrap(), REPLY);
}

#[test]
fn a_silent_network_swallows_what_is_under_way_and_mending_it_closes_what_hangs() {
    let way = Way::new();
    let mut client = way.connect();
    assert_eq!(ask(&mut client, "GetItem", "{}").unwrap(), REPLY);
    way.proxy.silence();
    is_silent(&way);
    send(&mut client, "GetItem", "{}");
    eventually("it came", || way.proxy.hits() == 2);
    assert_eq!(way.asked(), 1);
    way.proxy.mend();
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0, "the connection is closed");
    assert_eq!(way.ask().unwrap(), REPLY);
}

#[test]
fn one_hosts_fault_is_no_other_hosts() {
    let way = Way::new();
    let other = Proxy::to(&way.proxy.url);
    other.cut();
    assert_eq!(way.ask().unwrap(), REPLY);
}
