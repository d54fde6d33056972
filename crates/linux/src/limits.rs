//! Which limit was in the way when the kernel refused something, so that an error can name what has
//! to be raised.
//!
//! For a window it is read from `/proc` after the refusal: by `windows.rs` and `host.rs`, never by
//! a fault. For pages, which faults work on, the error code must do: no file, no lock, no
//! allocation.

use memfold_host::{HostError, Limit};

use crate::sys::Errno;
use crate::sys::open::{self, Limit as Resource};

/// The error of a call that wanted `bytes` more of addresses.
pub(crate) fn refused(call: &'static str, bytes: usize) -> impl Fn(Errno) -> HostError {
    move |errno| {
        let limit = match errno.0 {
            // No descriptor but ours is ever named, so the program has closed it.
            libc::EBADF => return HostError::Closed,
            libc::ENOMEM | libc::EAGAIN => in_the_way(bytes as u64).unwrap_or(Limit::Other),
            libc::EFBIG => file_size(),
            _ => Limit::Other,
        };
        let code = errno.0;
        HostError::Window { call, code, limit }
    }
}

/// The error of a call on pages or the pool.
pub(crate) fn page_refused(call: &'static str) -> impl Fn(Errno) -> HostError {
    move |Errno(code)| {
        let limit = match code {
            // As above.
            libc::EBADF => return HostError::Closed,
            libc::ENOMEM | libc::EDQUOT => Limit::Memory,
            // What a memory file says where the kernel counts what it promises.
            libc::ENOSPC => Limit::Promises,
            libc::EFBIG => file_size(),
            libc::EPERM | libc::EACCES | libc::ENOSYS => Limit::Filter,
            _ => Limit::Unknown,
        };
        HostError::Call { call, code, limit }
    }
}

/// The error of a record for which the allocator has no memory.
pub(crate) fn no_record() -> HostError {
    page_refused("memory for a record")(Errno(libc::ENOMEM))
}

fn file_size() -> Limit {
    Limit::FileSize(open::limit(Resource::FileSize).unwrap_or(u64::MAX))
}

fn in_the_way(bytes: u64) -> Option<Limit> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let used = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib << 10)
    };
    let over = |name, resource| {
        open::limit(resource).filter(|&most| used(name).is_some_and(|used| used + bytes > most))
    };
    let locks = used("VmLck:").is_some_and(|locked| locked > 0);
    let locked = || over("VmLck:", Resource::Memlock).filter(|_| locks);
    // A file limit comes last that may be read slowly: a process may have very many mappings.
    (over("VmSize:", Resource::AddressSpace).map(Limit::Addresses))
        .or_else(|| over("VmData:", Resource::Data).map(Limit::Data))
        .or_else(|| locked().map(Limit::Locked))
        .or_else(|| mappings().map(Limit::Mappings))
}

/// The most mappings that a process may have, if this one has (nearly) so many: a refused call
/// wanted one to three more.
fn mappings() -> Option<u64> {
    let most = most_mappings()?;
    let maps = std::fs::read("/proc/self/maps").ok()?;
    let count = maps.iter().filter(|&&byte| byte == b'\n').count() as u64;
    (count + 4 > most).then_some(most)
}

/// The most mappings that a process may have.
pub(crate) fn most_mappings() -> Option<u64> {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    most.trim().parse().ok()
}
