//! temp
use super::process::Pid;
use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
};
pub struct Peer {
    pub uid: rustix::process::Uid,
    pub pid: Pid,
}
pub fn credentials(s: &UnixStream) -> io::Result<Peer> {
    let c = rustix::net::sockopt::socket_peercred(s)?;
    Ok(Peer { uid: c.uid, pid: c.pid.into() })
}
pub fn bind(p: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(p)
}
pub fn connect(p: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(p)
}
pub fn send_with_fds(s: &UnixStream, b: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    use rustix::net::*;
    let mut space = vec![std::mem::MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(fds).size()];
    let mut a = SendAncillaryBuffer::new(&mut space);
    a.push(SendAncillaryMessage::ScmRights(fds));
    Ok(sendmsg(s, &[io::IoSlice::new(b)], &mut a, SendFlags::NOSIGNAL)?)
}
pub fn recv_with_fds(s: &UnixStream, b: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    use rustix::net::*;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut a = RecvAncillaryBuffer::new(&mut space);
    let m = recvmsg(s.as_fd(), &mut [io::IoSliceMut::new(b)], &mut a, RecvFlags::CMSG_CLOEXEC)?;
    let mut out = vec![];
    for x in a.drain() {
        if let RecvAncillaryMessage::ScmRights(f) = x {
            out.extend(f)
        }
    }
    Ok((m.bytes, out))
}
