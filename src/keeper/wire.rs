//! Frames on a unix socket: four bytes of length, then JSON. Descriptors travel with a frame's first byte.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use serde::{Serialize, de::DeserializeOwned};

use crate::host::fd_passing::{Received, recv_with_fds, send_with_fds};

/// The largest frame; what is longer is no message of ours.
const MOST: usize = 1 << 20;

/// Sends one message, with descriptors beside it.
pub fn send(stream: &UnixStream, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(body);
    if !fds.is_empty() {
        return send_with_fds(stream, &frame, fds);
    }
    let mut stream = stream;
    stream.write_all(&frame)
}

/// Receives one message and the descriptors beside it; `None` when the other side has closed.
pub fn receive<M: DeserializeOwned>(stream: &UnixStream) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut head = [0; 4];
    let Received { bytes: got, fds } = recv_with_fds(stream, &mut head)?;
    if got == 0 {
        return Ok(None);
    }
    let mut stream = stream;
    stream.read_exact(&mut head[got..])?;
    let length = u32::from_be_bytes(head) as usize;
    if length > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, fds)))
}
