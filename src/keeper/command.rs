//! The command that a stage hands to the keeper: bytes as the kernel has them, through a memory file, so that
//! neither its size nor odd bytes matter.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::PathBuf,
};

use rustix::{
    fs::{MemfdFlags, Mode, memfd_create},
    process::umask,
};

/// A command: where, what, with which environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandBlock {
    /// The working directory.
    pub dir: PathBuf,
    /// The program and its arguments; for a job's script, what comes after the shell.
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The file creation mask.
    pub umask: u32,
}

impl CommandBlock {
    /// A command that is to run where this process is, under its mask.
    pub fn from_here(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> Self {
        let mask = umask(Mode::empty());
        umask(mask);
        let dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Self { dir, args, env, umask: mask.as_raw_mode() }
    }

    /// Writes the block into a memory file, to be sent to the keeper.
    pub fn to_memory(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(memfd_create("command", MemfdFlags::CLOEXEC)?);
        file.write_all(&self.to_bytes())?;
        Ok(file.into())
    }

    /// The block as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |text: &OsStr| {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        };
        put(self.dir.as_os_str());
        put(OsStr::new(&self.umask.to_string()));
        put(OsStr::new(&self.args.len().to_string()));
        self.args.iter().for_each(|arg| put(arg));
        for (key, value) in &self.env {
            let mut pair = key.clone();
            pair.push("=");
            pair.push(value);
            put(&pair);
        }
        bytes
    }

    /// Reads a block that [`CommandBlock::to_memory`] wrote.
    pub fn from_memory(fd: impl AsFd) -> io::Result<Self> {
        let mut file = File::from(fd.as_fd().try_clone_to_owned()?);
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Self::from_bytes(&bytes)
    }

    /// Reads a block that [`CommandBlock::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        Self::parse(bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a broken command block"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_suffix(&[0])?;
        let mut parts = bytes.split(|b| *b == 0).map(|part| OsString::from_vec(part.to_vec()));
        let dir = PathBuf::from(parts.next()?);
        let umask = parts.next()?.to_str()?.parse().ok()?;
        let count: usize = parts.next()?.to_str()?.parse().ok()?;
        let args: Vec<OsString> = parts.by_ref().take(count).collect();
        let env = parts.filter_map(|pair| split(&pair)).collect();
        (args.len() == count).then_some(Self { dir, args, env, umask })
    }
}

/// Splits `NAME=value`; a name may begin with `=`, as the kernel lets it.
fn split(pair: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = pair.as_bytes();
    let at = 1 + bytes.get(1..)?.iter().position(|b| *b == b'=')?;
    Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_whatever_its_bytes() {
        let block = CommandBlock {
            dir: "/a b".into(),
            args: vec!["x".into(), "".into(), OsString::from_vec(vec![0xff, b'\n'])],
            env: vec![
                ("A".into(), "1=2".into()),
                ("E".into(), "".into()),
                ("B".into(), OsString::from_vec(vec![0xfe])),
            ],
            umask: 0o22,
        };
        assert_eq!(CommandBlock::from_memory(block.to_memory().unwrap()).unwrap(), block);
    }

    #[test]
    fn what_is_cut_off_is_no_block() {
        assert!(CommandBlock::parse(b"/\x0018\x003\0a\0").is_none());
        assert!(CommandBlock::parse(b"").is_none());
    }
}
