//! A way on which no connection comes about.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with},
};

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
