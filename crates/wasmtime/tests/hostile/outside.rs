//! What the kernel says that this process holds for memfold: the pool's blocks, and private pages
//! of windows.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Bytes of memory behind all windows of this process.
pub fn held_bytes() -> u64 {
    pool_bytes() + window_bytes()
}

/// Blocks of the memory file.
fn pool_bytes() -> u64 {
    let fds = fs::read_dir("/proc/self/fd").expect("our descriptors");
    let pool = fds.flatten().filter(|fd| {
        let to = fs::read_link(fd.path()).unwrap_or_default();
        to.to_string_lossy().starts_with("/memfd:memfold")
    });
    // One file may have several descriptors.
    let blocks = pool
        .filter_map(|fd| fs::metadata(fd.path()).ok())
        .map(|file| file.blocks() * 512);
    blocks.max().unwrap_or(0)
}

/// Private pages under mappings of the memory file.
fn window_bytes() -> u64 {
    let smaps = fs::read_to_string("/proc/self/smaps").expect("our mappings");
    let (mut inside, mut bytes) = (false, 0);
    for line in smaps.lines() {
        if line.contains("/memfd:memfold") {
            inside = true;
        } else if let Some(kib) = line.strip_prefix("Anonymous:").filter(|_| inside) {
            let kib: u64 = kib.trim().trim_end_matches(" kB").parse().expect("a number");
            bytes += kib * 1024;
            inside = false;
        }
    }
    bytes
}
