//! The memory that this process's program takes.

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use rustix::mm::{Advice, madvise};

/// Lets go of the pages of this process's program code. What is used again is mapped again, from the page cache
/// and without the disk: a microsecond for each 64 KiB. To be called when a process has started up and goes on
/// to do little for long.
///
/// # Errors
/// Those of reading `/proc/self/maps`, and of madvise(2). Nothing has happened then that matters.
pub fn let_go_of_code() -> io::Result<()> {
    for range in code()? {
        // SAFETY: the range is a mapping of the program's file that is executable and not writable. So no page of
        // it differs from the file (position independent code has no relocations in it), and a page that is used
        // again comes from there.
        unsafe { madvise(range.start as *mut c_void, range.len(), Advice::LinuxDontNeed) }?;
    }
    Ok(())
}

/// Where the program's code lies: what is mapped of its file to be executed and never to be written.
fn code() -> io::Result<Vec<Range<usize>>> {
    let inode = File::open("/proc/self/exe")?.metadata()?.ino();
    let maps = BufReader::new(File::open("/proc/self/maps")?);
    maps.lines().filter_map(|line| line.map(|line| code_of(&line, inode)).transpose()).collect()
}

/// The range of a line of `/proc/PID/maps` (proc_pid_maps(5)), if it is code of the file with this inode.
fn code_of(line: &str, inode: u64) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp";
    let is_ours = fields.nth(2)?.parse() == Ok(inode);
    let address = |text| usize::from_str_radix(text, 16).ok();
    (is_code && is_ours).then_some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(2).unwrap().parse().unwrap()
    }

    #[test]
    fn code_that_was_let_go_of_is_no_longer_resident_and_runs() {
        let ranges = code().unwrap();
        assert!(
            ranges.iter().any(|range| range.contains(&(let_go_of_code as *const () as usize))),
            "{ranges:x?}"
        );
        // As if all of it had been used.
        let bytes: usize = ranges
            .iter()
            .cloned()
            .flatten()
            .step_by(4096)
            .map(|at| {
                // SAFETY: the address lies in a mapping that can be read.
                usize::from(unsafe { (at as *const u8).read_volatile() })
            })
            .sum();
        assert!(bytes > 0);
        let before = resident();
        let_go_of_code().unwrap();
        let after = resident();
        assert!(after * 2 < before, "{before} file pages before, {after} after");
    }

    #[test]
    fn what_is_data_is_never_let_go_of() {
        let line = |permissions: &str, inode: u64| {
            format!("55a6b1285000-55a6b130d000 {permissions} 00a74000 fe:00 {inode}   /a b/pipeline-lock")
        };
        assert_eq!(code_of(&line("r-xp", 7), 7), Some(0x55a6_b128_5000..0x55a6_b130_d000));
        for (permissions, inode) in [("r--p", 7), ("rw-p", 7), ("rwxp", 7), ("r-xs", 7), ("r-xp", 8)] {
            assert_eq!(code_of(&line(permissions, inode), 7), None);
        }
        assert_eq!(code_of("7f0000-7f1000 r-xp 00000000 00:00 0    [vdso]", 7), None);
    }
}
