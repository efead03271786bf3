//! Unix sockets between processes of one host: at any path, and with the kernel's word on who is at the other end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::process::Pid;

/// The longest path that fits into an address, in bytes (`sun_path` has 108 with its end, unix(7)).
const MAX_ADDRESS_BYTES: usize = 107;

/// The process at the other end of a unix socket, as it was when the connection was made (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user id.
    pub uid: u32,
    /// Its process id; none if it lives outside of this pid namespace. It may have handed the socket on, or be gone.
    pub pid: Option<Pid>,
}

impl Peer {
    /// Asks the kernel who is at the other end of `socket`.
    ///
    /// # Errors
    /// What getsockopt(2) says, if `socket` is no unix socket.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let peer = rustix::net::sockopt::socket_peercred(socket)?;
        // The kernel says 0 for a process outside of our pid namespace, which rustix's type has no place for: keep the
        // compiler from concluding that it can't be.
        let pid = std::hint::black_box(peer.pid.as_raw_nonzero().get());
        Ok(Self { uid: peer.uid.as_raw(), pid: Pid::new(pid) })
    }

    /// Whether the other end belongs to this process's user, or to root.
    #[must_use]
    pub fn is_trusted(self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }
}

/// Listens at `path`, however long it is, with mode 600: for this user (and root) alone.
///
/// # Errors
/// `AddrInUse` if there is something at `path`, also a socket that nobody listens at any more; or what socket(2) and
/// bind(2) say.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let address = Address::of(path)?;
    let listener = UnixListener::bind(&address.path)?;
    rustix::fs::chmod(&address.path, Mode::RUSR | Mode::WUSR)?;
    Ok(listener)
}

/// Connects to the socket at `path`, however long it is.
///
/// # Errors
/// `ConnectionRefused` if nobody listens there, `NotFound` if there is no socket; or what connect(2) says.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let address = Address::of(path)?;
    UnixStream::connect(&address.path)
}

/// A path that fits into a socket's address.
struct Address {
    path: PathBuf,
    /// Held open while `path` leads through it.
    _directory: Option<OwnedFd>,
}

impl Address {
    /// `path` itself if it fits, else the same place by way of its directory in `/proc/self/fd`.
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= MAX_ADDRESS_BYTES {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        if short.as_os_str().as_bytes().len() > MAX_ADDRESS_BYTES {
            let text = format!("the name of the socket {} is too long", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self { path: short, _directory: Some(directory) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::Guarded;
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::fs::MetadataExt;
    use std::process::{Command, Stdio};

    fn talks(path: &Path) {
        let listener = bind(path).unwrap();
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        let mut client = connect(path).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        drop(client);
        let mut heard = String::new();
        server.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "x");
    }

    #[test]
    fn a_socket_works_at_a_short_and_at_a_long_path() {
        let place = tempfile::tempdir().unwrap();
        talks(&place.path().join("s"));
        let deep = place.path().join("d".repeat(200)).join("e".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        talks(&deep.join("s"));
    }

    #[test]
    fn a_name_that_fits_no_address_is_refused_with_its_path() {
        let place = tempfile::tempdir().unwrap();
        let error = bind(&place.path().join("n".repeat(120))).unwrap_err();
        assert!(error.to_string().contains("nnn is too long"), "{error}");
    }

    #[test]
    fn who_is_not_there_is_told_apart() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(bind(&path).unwrap());
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn the_other_end_is_known_by_user_and_process() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let me = Peer { uid: rustix::process::geteuid().as_raw(), pid: Some(Pid::me()) };
        assert_eq!(Peer::of(&ours).unwrap(), me);
        assert!(me.is_trusted());
        assert!(!Peer { uid: u32::MAX - 1, ..me }.is_trusted());
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        assert!(Peer::of(&writer).is_err(), "a pipe has no peer");
        // Who made the connection counts, not who holds the socket now.
        let _child =
            Guarded::spawn(Command::new("sleep").arg("600").stdin(Stdio::from(OwnedFd::from(theirs))));
        assert_eq!(Peer::of(&ours).unwrap(), me);
    }
}
