//! What the keeper and its stages say to each other: any bytes are a message, an end, or an error.
#![no_main]

use std::{io::Write, os::unix::net::UnixStream, time::Duration};

use libfuzzer_sys::fuzz_target;
use pipeline_lock::keeper::{Ask, CommandBlock, Connection, KeeperRecord, Launch, receive_frame};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(block) = CommandBlock::from_bytes(bytes) {
        assert_eq!(CommandBlock::from_bytes(&block.to_bytes()).ok(), Some(block), "it comes back");
    }
    drop(serde_json::from_slice::<KeeperRecord>(bytes));
    let asks = |stream: &UnixStream| receive_frame::<Ask>(stream).ok().flatten().is_some();
    listen(bytes, asks);
    listen(bytes, |stream| receive_frame::<Launch>(stream).ok().flatten().is_some());
    let connection = |stream: &UnixStream| {
        let stream = stream.try_clone().expect("a descriptor");
        Connection::of(stream).hear().ok().flatten().is_some()
    };
    listen(bytes, connection);
});

/// Hears all that comes, up to the first end or error.
fn listen(bytes: &[u8], mut hear: impl FnMut(&UnixStream) -> bool) {
    let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
    ours.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
    theirs.set_nonblocking(true).expect("a socket");
    // More than the socket holds is cut off: who sends is not the one that is tried here.
    let _ = theirs.write_all(bytes);
    drop(theirs);
    while hear(&ours) {}
}
