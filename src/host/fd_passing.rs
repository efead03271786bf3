//! Handing open files to another process through a unix socket (`SCM_RIGHTS`, unix(7)).

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;

/// How many open files can be handed over at once.
pub const MAX_FDS: usize = 8;

/// Bytes received, and the open files that came with them.
#[derive(Debug)]
pub struct Received {
    /// How many bytes there are; zero when the other end has closed.
    pub bytes: usize,
    /// The open files, in the order sent, all close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Sends all of `bytes`, and with the first of them the open files `fds`.
///
/// # Errors
/// `InvalidInput` if there are open files and no bytes for them to go with, or more than [`MAX_FDS`]; `BrokenPipe` if
/// nobody reads any more (no signal is raised); or what sendmsg(2) says, also `WouldBlock` for a non-blocking socket.
pub fn send_with_fds(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut cargo = Cargo::new(bytes, fds)?;
    while !cargo.is_sent() {
        cargo.send_some(stream)?;
    }
    Ok(())
}

/// As [`send_with_fds`], for a socket of tokio. A dropped future may have sent a part.
///
/// # Errors
/// As for [`send_with_fds`].
pub async fn send_with_fds_async(
    stream: &tokio::net::UnixStream,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut cargo = Cargo::new(bytes, fds)?;
    while !cargo.is_sent() {
        stream.async_io(Interest::WRITABLE, || cargo.send_some(stream)).await?;
    }
    Ok(())
}

/// Receives what is there, at least one byte unless the other end has closed, into `buffer`; and the open files that
/// were sent with one of these bytes. Bytes behind those with open files are left for the next call, so that at most
/// one sending's files come at once.
///
/// # Errors
/// `InvalidData` if more open files were sent than [`MAX_FDS`] (or than this process may have); or what recvmsg(2)
/// says, also `WouldBlock` for a non-blocking socket.
pub fn recv_with_fds(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<Received> {
    receive(stream, buffer)
}

/// As [`recv_with_fds`], for a socket of tokio. A dropped future has received nothing.
///
/// # Errors
/// As for [`recv_with_fds`].
pub async fn recv_with_fds_async(stream: &tokio::net::UnixStream, buffer: &mut [u8]) -> io::Result<Received> {
    stream.async_io(Interest::READABLE, || receive(stream, buffer)).await
}

/// What is left to be sent.
struct Cargo<'a> {
    bytes: &'a [u8],
    fds: &'a [BorrowedFd<'a>],
}

impl<'a> Cargo<'a> {
    fn new(bytes: &'a [u8], fds: &'a [BorrowedFd<'a>]) -> io::Result<Self> {
        if fds.len() > MAX_FDS || (bytes.is_empty() && !fds.is_empty()) {
            let text = format!("{} open files can't be sent with {} bytes", fds.len(), bytes.len());
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(Self { bytes, fds })
    }

    fn is_sent(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Sends as much as the socket takes at once. The open files go with the first byte, so they are gone with it.
    fn send_some(&mut self, socket: impl AsFd) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !self.fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(self.fds)) {
            return Err(ErrorKind::InvalidInput.into());
        }
        match sendmsg(socket, &[IoSlice::new(self.bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                self.bytes = &self.bytes[sent..];
                self.fds = &[];
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => break outcome?,
        }
    };
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = part {
            fds.extend(sent);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        let text = "open files that were sent to this process are lost: there were too many";
        return Err(io::Error::new(ErrorKind::InvalidData, text));
    }
    Ok(Received { bytes: message.bytes, fds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{FdFlags, fcntl_getfd};
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// Whether what is written to `writer` comes out of `reader`.
    fn is_one_pipe(reader: OwnedFd, writer: OwnedFd) -> bool {
        File::from(writer).write_all(b"through").unwrap();
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        text == "through"
    }

    fn receive_all(stream: &UnixStream) -> (usize, Vec<OwnedFd>) {
        let (mut bytes, mut fds) = (0, Vec::new());
        loop {
            let mut received = recv_with_fds(stream, &mut [0; 4096]).unwrap();
            fds.append(&mut received.fds);
            if received.bytes == 0 {
                return (bytes, fds);
            }
            bytes += received.bytes;
        }
    }

    #[test]
    fn open_files_arrive_in_order_and_close_on_exec() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send_with_fds(&ours, b"ab", &[reader.as_fd(), writer.as_fd()]).unwrap();
        drop((reader, writer));
        let mut buffer = [0; 8];
        let received = recv_with_fds(&theirs, &mut buffer).unwrap();
        assert_eq!(&buffer[..received.bytes], b"ab");
        for fd in &received.fds {
            assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
        }
        let [reader, writer] = <[OwnedFd; 2]>::try_from(received.fds).unwrap();
        assert!(is_one_pipe(reader, writer));
    }

    #[test]
    fn a_message_larger_than_the_socket_arrives_whole_with_its_files_once() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let bytes = vec![7; 1 << 20];
        let sender = std::thread::spawn(move || send_with_fds(&ours, &bytes, &[reader.as_fd()]));
        let (bytes, fds) = receive_all(&theirs);
        sender.join().unwrap().unwrap();
        assert_eq!((bytes, fds.len()), (1 << 20, 1));
    }

    #[test]
    fn plain_bytes_need_no_files_and_the_end_is_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        send_with_fds(&ours, b"plain", &[]).unwrap();
        drop(ours);
        let (bytes, fds) = receive_all(&theirs);
        assert_eq!((bytes, fds.len()), (5, 0));
        let error = send_with_fds(&theirs, b"x", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_files_of_two_messages_are_not_mixed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send_with_fds(&ours, b"1", &[reader.as_fd()]).unwrap();
        send_with_fds(&ours, b"22", &[writer.as_fd(), writer.as_fd()]).unwrap();
        for expected in [1, 2] {
            let received = recv_with_fds(&theirs, &mut [0; 64]).unwrap();
            assert_eq!((received.bytes, received.fds.len()), (expected, expected));
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_before_anything_is() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let many = [ours.as_fd(); MAX_FDS + 1];
        for (bytes, fds) in [(&b"x"[..], &many[..]), (b"", &many[..1])] {
            assert_eq!(send_with_fds(&ours, bytes, fds).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        theirs.set_nonblocking(true).unwrap();
        let error = recv_with_fds(&theirs, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn more_files_than_agreed_are_an_error_and_none_is_kept() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let many = [ours.as_fd(); MAX_FDS * 2];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS * 2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        sendmsg(&ours, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL).unwrap();
        let error = recv_with_fds(&theirs, &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn tokio_sockets_send_and_receive_and_wait_for_each_other() {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let sender = tokio::spawn(async move {
            send_with_fds_async(&ours, &vec![7; 1 << 20], &[reader.as_fd()]).await.map(|()| ours)
        });
        let (mut bytes, mut fds) = (0, 0);
        while bytes < 1 << 20 {
            let mut buffer = [0; 4096];
            let received = recv_with_fds_async(&theirs, &mut buffer);
            let received = tokio::time::timeout(Duration::from_secs(20), received).await.unwrap().unwrap();
            bytes += received.bytes;
            fds += received.fds.len();
        }
        assert_eq!((bytes, fds), (1 << 20, 1));
        drop(sender.await.unwrap().unwrap());
        assert_eq!(recv_with_fds_async(&theirs, &mut [0; 8]).await.unwrap().bytes, 0);
    }
}
