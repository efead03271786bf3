//! A server that answers as a test says, or not at all.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with},
};

/// What the server does with a request.
#[derive(Clone)]
pub enum Answer {
    /// Sends this.
    Send(String),
    /// Says nothing and keeps the connection.
    Hang,
    /// Has DynamoDB Local at this address do what is asked, and closes the connection without a word.
    Swallow(String),
}

/// A reply with an error as DynamoDB sends it.
pub fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"{message}"}}"#);
    reply(status, "x-amzn-RequestId: TEST\r\nContent-Type: application/x-amz-json-1.0\r\n", &body)
}

/// Any reply.
pub fn reply(status: u16, headers: &str, body: &str) -> Answer {
    Answer::Send(format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// Starts it and returns its address. It ends with the test's process.
pub fn server(answer: Answer) -> String {
    counting_server(answer).0
}

/// The same, with the number of connections that it has had.
pub fn counting_server(answer: Answer) -> (String, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = answer.clone();
            thread::spawn(move || serve(connection.unwrap(), &answer));
        }
    });
    (format!("http://{address}"), connections)
}

/// An address where every connection waits for ever: a listener that never accepts, and whose queue is full.
pub fn black_hole() -> (String, Vec<OwnedFd>) {
    let socket = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let listener = socket(SocketFlags::CLOEXEC);
    bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&listener, 0).unwrap();
    let address = SocketAddrV4::try_from(getsockname(&listener).unwrap()).unwrap();
    let mut open = vec![listener];
    for _ in 0..4 {
        let waiting = socket(SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        // The first ones fill the queue.
        assert!(matches!(connect(&waiting, &address), Ok(()) | Err(Errno::INPROGRESS)));
        open.push(waiting);
    }
    (format!("http://{address}"), open)
}

fn serve(connection: TcpStream, answer: &Answer) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut connection = connection;
    while let Some(request) = read_message(&mut reader) {
        match answer {
            Answer::Send(text) => connection.write_all(text.as_bytes()).unwrap(),
            Answer::Hang => {}
            Answer::Swallow(address) => {
                let mut upstream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
                upstream.write_all(&request).unwrap();
                read_message(&mut BufReader::new(upstream)).unwrap();
                return;
            }
        }
    }
}

/// Head and body of a request or a reply; `None` at the end of the connection.
fn read_message(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        message.extend_from_slice(line.as_bytes());
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    message.extend_from_slice(&body);
    Some(message)
}
