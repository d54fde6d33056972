//! Which limit was in the way when the kernel refused a window: read from `/proc` after the refusal, so that an error can name
//! what has to be raised. Called by `windows.rs` and `host.rs`, never by a fault.

use memfold_host::{HostError, Limit};

use crate::sys::Errno;
use crate::sys::open::{self, Limit as Resource};

/// The error of a call that wanted `bytes` more of addresses.
pub(crate) fn refused(call: &'static str, bytes: usize) -> impl Fn(Errno) -> HostError {
    move |errno| {
        let limit = match errno.0 {
            libc::EBADF => return errno.into(),
            libc::ENOMEM | libc::EAGAIN => in_the_way(bytes as u64).unwrap_or(Limit::Other),
            _ => Limit::Other,
        };
        let code = errno.0;
        HostError::Window { call, code, limit }
    }
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

/// The most mappings that a process may have, if this one has (nearly) so many: a refused call wanted one to three more.
fn mappings() -> Option<u64> {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    let most: u64 = most.trim().parse().ok()?;
    let maps = std::fs::read("/proc/self/maps").ok()?;
    let count = maps.iter().filter(|&&byte| byte == b'\n').count() as u64;
    (count + 4 > most).then_some(most)
}
