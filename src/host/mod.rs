//! What the kernel of this host knows: clocks, processes, files that are held.
