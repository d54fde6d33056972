//! Limits of the process: what is refused names the call and the limit that was in the way.

use crate::child::isolated;
use crate::stamps::{builder, stamped, whole};
use memfold::{Delivery, SpaceSize};

/// Sets a limit of this process, which can be lifted again.
fn set(resource: libc::__rlimit_resource_t, most: u64) {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: sets a limit of a process that is the test's own.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// Bytes that the kernel counts for this process under that name.
fn used(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("Linux");
    let kib: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number");
    kib << 10
}

/// A limit a little above what is used: spaces until one is refused, which says why; the others are
/// whole.
fn reached(test: &str, resource: libc::__rlimit_resource_t, name: &str, says: &str) {
    isolated(test, || {
        let memory = builder(Delivery::InThread).background(false).build();
        let memory = memory.expect("userfaultfd");
        let first = stamped(&memory, 1);
        set(resource, used(name) + (64 << 20));
        let mut all = Vec::new();
        let refused = loop {
            match memory.create(SpaceSize::fixed(64 << 30)) {
                Ok(space) => all.push(space),
                Err(error) => break error.to_string(),
            }
            assert!(all.len() < 1000, "there is an end");
        };
        assert!(refused.contains(says), "{refused}");
        assert!(refused.contains("was refused (error 12)"), "{refused}");
        whole(&memory, &first, 1);
        drop(all);
        set(resource, libc::RLIM_INFINITY);
        whole(&memory, &first.fork().expect("no limit is left"), 1);
    });
}

/// Goal: a limit of addresses is named.
#[test]
fn addresses() {
    reached("limits::addresses", libc::RLIMIT_AS, "VmSize:", "RLIMIT_AS");
}

/// Goal: a limit of private memory is named.
#[test]
fn data() {
    reached("limits::data", libc::RLIMIT_DATA, "VmData:", "RLIMIT_DATA");
}
