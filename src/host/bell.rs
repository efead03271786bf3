//! Bells between processes of one host: who gives a lock back rings, who waits for it looks at once.
//!
//! A bell is a file whose size counts its rings. Nothing depends on it: who hears none looks a little later.

use std::fs::{self, File, OpenOptions};
use std::future::pending;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use super::{
    async_fd::watch_readable,
    private_folder::{make_missing, open_or_make},
};

/// A bell's file is emptied when it has become larger than this, in bytes, one per ring.
const FULL: u64 = 64 * 1024;

/// The bells of a directory, by name.
#[derive(Clone, Debug)]
pub struct Bell {
    directory: PathBuf,
}

impl Bell {
    /// Bells that are files in `directory`. It is made (mode 700) when the first one rings, if it is missing.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Rings the bell of `name`, for all who watch it. One that can't be rung is only logged, at debug level.
    pub fn ring(&self, name: &str) {
        let path = self.file_of(name);
        if let Err(error) = self.open(&path).and_then(|file| ring(&file)) {
            tracing::debug!(path = %path.display(), %error, "a bell can't be rung");
        }
    }

    /// A number that is another one after each ring of `name`: one `stat`, for those who look now and then.
    #[must_use]
    pub fn mark(&self, name: &str) -> u64 {
        size_of(&self.file_of(name))
    }

    fn file_of(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{:032x}", fnv1a(name.as_bytes())))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true);
        open_or_make(path, &mut options).or_else(|_| {
            make_missing(&self.directory)?;
            open_or_make(path, &mut options)
        })
    }
}

/// One ring is one byte more, so that none is lost between two looks.
fn ring(mut file: &File) -> io::Result<()> {
    if file.metadata()?.size() > FULL {
        file.set_len(0)?;
    }
    file.write_all(b"\n")
}

/// FNV-1a with 128 bits: the same in every build. Two names with one hash ring each other's bell, which costs a look.
fn fnv1a(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// One who listens to a bell.
///
/// Dropping it closes an inotify instance, and that waits for the kernel's readers: up to tens of milliseconds.
/// Who only looks now and then takes [`Bell::mark`] instead.
#[derive(Debug)]
pub struct BellWatch {
    bell: Bell,
    path: PathBuf,
    ears: io::Result<AsyncFd<OwnedFd>>,
    /// The size of the file at the last look.
    size: u64,
    /// The rings up to the last look.
    count: u64,
    /// The rings that the caller knows of.
    told: u64,
}

impl BellWatch {
    /// Listens to the bell of `name` in `directory`: to each ring from now on.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, name: &str) -> Self {
        let bell = Bell::new(directory);
        let path = bell.file_of(name);
        // First the watch and then the look: a ring in between is heard, though perhaps twice.
        let ears = listen(&bell, &path);
        if let Err(error) = &ears {
            tracing::debug!(path = %path.display(), %error, "no bell can be heard");
        }
        let size = size_of(&path);
        Self { bell, path, ears, size, count: 0, told: 0 }
    }

    /// Why no ring can be heard, if so: mostly that this user has used up `fs.inotify.max_user_instances`. Then
    /// [`BellWatch::changed`] never resolves, while [`BellWatch::count`] still counts.
    #[must_use]
    pub fn deaf(&self) -> Option<&io::Error> {
        self.ears.as_ref().err()
    }

    /// How many rings there were since the watch began. (Those between the emptying of a full file and the look
    /// after it count as one.)
    pub fn count(&mut self) -> u64 {
        self.look();
        self.told = self.count;
        self.count
    }

    /// Waits for a ring that neither this nor [`BellWatch::count`] has told of; at once if there was one. It may
    /// resolve without one, for instance when the directory is cleaned up. A dropped future loses no ring.
    pub async fn changed(&mut self) {
        loop {
            let Ok(ears) = &self.ears else { return pending().await };
            // Emptied before the look: a ring after the look makes it readable again.
            let moved = drain(ears.get_ref());
            if moved {
                self.listen_anew();
                return;
            }
            self.look();
            if self.told != self.count {
                self.told = self.count;
                return;
            }
            let Ok(ears) = &self.ears else { continue };
            match ears.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(error) => self.ears = Err(error),
            }
        }
    }

    fn look(&mut self) {
        let size = size_of(&self.path);
        self.count += if size < self.size { 1 } else { size - self.size };
        self.size = size;
    }

    /// The file that was watched is gone: watch the one that has its name now.
    fn listen_anew(&mut self) {
        self.ears = listen(&self.bell, &self.path);
        self.look();
        self.told = self.count;
    }
}

fn size_of(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |found| found.size())
}

fn listen(bell: &Bell, path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    // The file must be there to be watched.
    bell.open(path)?;
    let ears = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(
        &ears,
        path,
        WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF,
    )?;
    watch_readable(ears)
}

/// Takes all events. Tells whether the file is no longer the one with its name.
fn drain(ears: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut events = inotify::Reader::new(ears, &mut buffer);
    let mut moved = false;
    // Any error ends it: there are no more events for now, or there will be none.
    while let Ok(event) = events.next() {
        // Removing the name of a file that is open elsewhere shows as a change of its attributes only.
        moved |= event.events().intersects(
            ReadFlags::ATTRIB | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED,
        );
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::testing::in_own_process;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::time::Duration;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(20);

    async fn rings(watch: &mut BellWatch) {
        timeout(SOON, watch.changed()).await.expect("the ring is heard");
    }

    /// Whether `changed` is still waiting after the executor has had every chance to wake it.
    async fn is_quiet(watch: &mut BellWatch) -> bool {
        timeout(Duration::from_millis(50), watch.changed()).await.is_err()
    }

    #[test]
    fn a_mark_changes_with_each_ring() {
        let folder = tempfile::tempdir().unwrap();
        let bell = Bell::new(folder.path());
        let before = bell.mark("a");
        bell.ring("a");
        let after = bell.mark("a");
        assert_ne!(before, after);
        bell.ring("b");
        assert_eq!(bell.mark("a"), after);
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    #[tokio::test]
    async fn each_ring_is_counted_and_only_those_of_the_name() {
        let place = tempfile::tempdir().unwrap();
        let (bell, directory) = (Bell::new(place.path().join("bells")), place.path().join("bells"));
        bell.ring("a");
        let mut watch = BellWatch::new(&directory, "a");
        assert!(watch.deaf().is_none());
        assert_eq!(watch.count(), 0, "what rang before the watch is past");
        bell.ring("b");
        assert!(is_quiet(&mut watch).await);
        bell.ring("a");
        bell.ring("a");
        rings(&mut watch).await;
        assert_eq!(watch.count(), 2);
        assert!(is_quiet(&mut watch).await, "a ring that was told of is not told again");
        bell.ring("a");
        assert_eq!(watch.count(), 3);
        assert!(is_quiet(&mut watch).await, "also if it was only counted");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&bell.file_of("a"))), (0o700, 0o600));
    }

    #[tokio::test]
    async fn a_ring_wakes_all_who_wait() {
        let place = tempfile::tempdir().unwrap();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let mut watch = BellWatch::new(place.path(), "a");
                tokio::spawn(async move { watch.changed().await })
            })
            .collect();
        tokio::task::yield_now().await;
        Bell::new(place.path()).ring("a");
        for waiter in waiters {
            timeout(SOON, waiter).await.expect("the ring is heard").unwrap();
        }
    }

    #[tokio::test]
    async fn a_ring_between_the_look_and_the_wait_is_heard() {
        let place = tempfile::tempdir().unwrap();
        let mut watch = BellWatch::new(place.path(), "a");
        assert!(is_quiet(&mut watch).await);
        assert_eq!(watch.count(), 0);
        Bell::new(place.path()).ring("a");
        rings(&mut watch).await;
    }

    #[tokio::test]
    async fn a_full_bell_is_emptied_and_still_rings() {
        let place = tempfile::tempdir().unwrap();
        let bell = Bell::new(place.path());
        bell.ring("a");
        fs::write(bell.file_of("a"), vec![b'\n'; 64 * 1024 + 1]).unwrap();
        let mut watch = BellWatch::new(place.path(), "a");
        bell.ring("a");
        rings(&mut watch).await;
        assert_eq!(watch.count(), 1);
        assert_eq!(size_of(&bell.file_of("a")), 1);
    }

    #[tokio::test]
    async fn a_bell_that_was_removed_is_heard_again() {
        let place = tempfile::tempdir().unwrap();
        let bell = Bell::new(place.path());
        let mut watch = BellWatch::new(place.path(), "a");
        fs::remove_file(bell.file_of("a")).unwrap();
        rings(&mut watch).await;
        assert!(is_quiet(&mut watch).await);
        bell.ring("a");
        rings(&mut watch).await;
    }

    #[test]
    fn a_bell_that_cannot_be_rung_does_no_harm() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        Bell::new(&file).ring("a");
        assert_eq!(fs::read(&file).unwrap(), b"");
    }

    #[test]
    fn who_can_have_no_inotify_is_told_and_still_counts() {
        in_own_process("host::bell::tests::who_can_have_no_inotify_is_told_and_still_counts", || {
            let place = tempfile::tempdir().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let limits = getrlimit(Resource::Nofile);
                setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limits.maximum }).unwrap();
                let mut watch = BellWatch::new(place.path(), "a");
                setrlimit(Resource::Nofile, limits).unwrap();
                let reason = watch.deaf().expect("it says that it hears nothing").raw_os_error();
                assert_eq!(reason, Some(rustix::io::Errno::MFILE.raw_os_error()));
                Bell::new(place.path()).ring("a");
                assert!(is_quiet(&mut watch).await);
                assert_eq!(watch.count(), 1);
            });
        });
    }
}
