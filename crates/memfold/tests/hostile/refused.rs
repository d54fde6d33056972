//! Each system call that we use, refused by a filter: before there is a memory, and in the middle
//! of its life.

use crate::child::{End, forked, isolated};
use crate::filter;
use crate::stamps::{DELIVERIES, PAGES, builder, stamp_page, strange};
use libc::{ENOMEM, EPERM};
use memfold::{Delivery, Memory, OnLoss, PAGE_SIZE, Space, SpaceSize};

/// The calls of the host, by name. Not here: those without which no program ends or prints
/// (`futex`, `write`, `exit_group`).
const CALLS: [(&str, libc::c_long); 29] = [
    ("clock_gettime", libc::SYS_clock_gettime),
    ("clone3", libc::SYS_clone3),
    ("close", libc::SYS_close),
    ("close_range", libc::SYS_close_range),
    ("fallocate", libc::SYS_fallocate),
    ("fcntl", libc::SYS_fcntl),
    ("fstat", libc::SYS_fstat),
    ("ftruncate", libc::SYS_ftruncate),
    ("gettid", libc::SYS_gettid),
    ("ioctl", libc::SYS_ioctl),
    ("madvise", libc::SYS_madvise),
    ("memfd_create", libc::SYS_memfd_create),
    ("mmap", libc::SYS_mmap),
    ("mprotect", libc::SYS_mprotect),
    ("mremap", libc::SYS_mremap),
    ("munlock", libc::SYS_munlock),
    ("munmap", libc::SYS_munmap),
    ("openat", libc::SYS_openat),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pipe2", libc::SYS_pipe2),
    ("poll", libc::SYS_poll),
    ("prctl", libc::SYS_prctl),
    ("pread64", libc::SYS_pread64),
    ("process_madvise", libc::SYS_process_madvise),
    ("pwrite64", libc::SYS_pwrite64),
    ("read", libc::SYS_read),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("vmsplice", libc::SYS_vmsplice),
];

/// How a child ends in which memfold stopped because going on would lose bytes.
const STOPPED: i32 = 3;

/// Whether a child ended as one may whose machine refuses something: well, by the signal that a
/// lost page is, or by a clear end of the process. Never by a failed test or another panic (101), a
/// hang (SIGALRM), or an access to what is not there (SIGSEGV).
fn allowed(end: &End) -> bool {
    matches!(
        end,
        End::Code(0 | STOPPED) | End::Signal(libc::SIGBUS | libc::SIGABRT)
    )
}

/// A space with stamps, or nothing where the machine refuses one.
fn stamped(memory: &Memory, stamp: u64) -> Option<Space> {
    let space = memory.create(SpaceSize::fixed((PAGES * PAGE_SIZE) as u64)).ok()?;
    (0..PAGES).for_each(|page| stamp_page(&space, page, stamp));
    Some(space)
}

/// That the space has its bytes, unless it says that it lost some.
fn right_or_lost(space: &Space, stamp: u64) {
    let other = strange(space, stamp);
    assert!(
        other == 0 || space.failure().is_some(),
        "{other} wrong pages, and no failure"
    );
}

/// What programs do: fork, write, evict, read, merge, freeze, drop; whatever is refused is left.
fn use_all(memory: &Memory, parent: &Space) {
    let children: Vec<Space> = (0..4).filter_map(|_| parent.fork().ok()).collect();
    right_or_lost(parent, 1);
    for child in &children {
        stamp_page(child, 3, 1);
        let _ = child.evict_range(0..child.len() / 2);
        right_or_lost(child, 1);
    }
    let _ = parent.evict();
    right_or_lost(parent, 1);
    let frozen = parent.freeze().ok();
    let other = stamped(memory, 2);
    let _ = memory.merge_now();
    for child in &children {
        right_or_lost(child, 1);
    }
    if let Some(other) = &other {
        right_or_lost(other, 2);
    }
    if let Some(frozen) = &frozen {
        right_or_lost(frozen, 1);
    }
    assert_eq!(memory.check(), Ok(()));
}

/// Tries one call in a process of its own.
fn try_one(call: (&str, libc::c_long), errno: i32, delivery: Delivery, early: bool) -> End {
    forked(|| {
        std::panic::set_hook(Box::new(|panic| {
            println!("{panic}");
            if panic.to_string().contains("going on would lose data") {
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(STOPPED) };
            }
        }));
        if early {
            filter::refuse(call.1, errno);
        }
        let builder = builder(delivery).budget_bytes(2 << 20).on_loss(OnLoss::Sink);
        let memory = match builder.build() {
            Ok(memory) => memory,
            Err(error) if early => return println!("{}: {error}", call.0),
            Err(error) => panic!("{error}"),
        };
        let parent = match stamped(&memory, 1) {
            Some(parent) => parent,
            None if early => return,
            None => panic!("no space"),
        };
        use_all(&memory, &parent);
        if !early {
            filter::refuse(call.1, errno);
            use_all(&memory, &parent);
            use_all(&memory, &parent);
        }
    })
}

fn all(early: bool) {
    let mut bad = Vec::new();
    for call in CALLS {
        for delivery in DELIVERIES {
            for errno in [EPERM, ENOMEM] {
                let end = try_one(call, errno, delivery, early);
                println!("{} {delivery:?} {errno}: {end:?}", call.0);
                if !allowed(&end) {
                    bad.push((call.0, delivery, errno, end));
                }
            }
        }
    }
    assert_eq!(bad, []);
}

/// Goal: a call that the machine refuses from the start is a clear refusal, or not needed. Method:
/// each, in a process of its own.
#[test]
fn from_the_start() {
    isolated("refused::from_the_start", || all(true));
}

/// Goal: a call that is refused from some moment on costs what asks for it, and no byte. Method: a
/// family of stamped spaces before; every operation after.
#[test]
fn from_then_on() {
    isolated("refused::from_then_on", || all(false));
}

/// Goal: where a filter refuses the system call and the device may be used, that is the way in.
/// Method: both usual refusals of filters; a family of stamped spaces.
#[test]
fn by_the_device() {
    let device = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/userfaultfd");
    if let Err(error) = device {
        return println!("/dev/userfaultfd cannot be used here: {error}");
    }
    isolated("refused::by_the_device", || {
        for delivery in DELIVERIES {
            for errno in [EPERM, libc::ENOSYS] {
                let end = forked(|| {
                    filter::refuse(libc::SYS_userfaultfd, errno);
                    let memory = builder(delivery).build().expect("there is the device");
                    let parent = stamped(&memory, 1).expect("room");
                    use_all(&memory, &parent);
                    assert_eq!(parent.failure(), None);
                });
                assert_eq!(end, End::Code(0));
            }
        }
    });
}
