//! What the kernel of this host gives: clocks, processes and their trees, files that are held, sockets between
//! processes. A leaf layer: nothing in here knows what a lock is. Linux only.

pub mod async_fd;
pub mod bell;
pub mod cgroup;
mod cgroup_claim;
pub mod cgroup_door;
mod cgroup_mount;
pub mod clock;
pub mod ending;
pub mod fd_passing;
pub mod filesystem;
pub mod given_folder;
pub mod jump;
pub mod peer;
mod pid;
pub mod places;
pub mod presence;
pub mod private_folder;
mod proc_stat;
pub mod process;
pub mod program;
pub mod scan;
pub mod subreaper;
pub mod tree;
pub mod user;

#[cfg(test)]
mod testing;
