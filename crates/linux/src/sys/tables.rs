//! The process's page tables: how many bytes the kernel counts, and whether it gives empty ones
//! back.
//!
//! One function each, nothing shared. Reads `/proc`, so not for signal handlers.

use libc::c_void;

use super::{Errno, NOTHING, checked, map, restarted, unmap};

/// One page table's range.
const RANGE: usize = 2 << 20;

/// Bytes of page tables of the process, as the kernel counts them (`VmPTE`); `None` when it does
/// not say.
pub(crate) fn page_table_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPTE:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Whether the running kernel is at least of this version.
pub(crate) fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    let found: [u32; 2] = [parts.next().unwrap_or(0), parts.next().unwrap_or(0)];
    found >= [major, minor]
}

/// Makes `count` page tables, drops what they hold, each in one call, and says whether most of them
/// are gone.
pub(crate) fn are_freed(count: usize) -> Result<bool, Errno> {
    let len = (count + 1) * RANGE;
    let base = map(len, libc::PROT_READ, NOTHING, -1, 0)?;
    let result = fill_and_drop(base.next_multiple_of(RANGE), count, base, len);
    // SAFETY: mapped above, and nobody else knows it.
    unsafe { unmap(base, len) };
    result
}

fn fill_and_drop(first: usize, count: usize, base: usize, len: usize) -> Result<bool, Errno> {
    // A huge page of zeros would need no table.
    // SAFETY: a mapping of our own.
    checked(i64::from(unsafe {
        libc::madvise(base as *mut c_void, len, libc::MADV_NOHUGEPAGE)
    }))?;
    let ranges = || (0..count).map(|n| first + n * RANGE);
    let unknown = Errno(libc::ENOENT);
    for range in ranges() {
        // SAFETY: a readable mapping of our own, of zeros.
        unsafe { std::ptr::read_volatile(range as *const u8) };
    }
    let before = page_table_bytes().ok_or(unknown)?;
    for range in ranges() {
        // SAFETY: a mapping of our own, of which nobody holds a reference.
        restarted(|| unsafe { i64::from(libc::madvise(range as *mut c_void, RANGE, libc::MADV_DONTNEED)) })?;
    }
    let after = page_table_bytes().ok_or(unknown)?;
    let most = count as u64 * 4096 * 3 / 4;
    Ok(before.saturating_sub(after) >= most)
}

#[cfg(test)]
mod tests {
    //! Goal: versions are compared as numbers. Method: the running kernel, against small and large
    //! ones.
    use super::*;

    #[test]
    fn versions() {
        assert!(kernel_at_least(4, 19));
        assert!(!kernel_at_least(999, 0));
        assert!(page_table_bytes().is_some_and(|bytes| bytes > 4096));
    }
}
