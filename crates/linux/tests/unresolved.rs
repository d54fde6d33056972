//! Faults that fail, and faults of system calls, with both deliveries. Bodies that end processes
//! run in children.

mod common;

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use common::child::{End, in_child};
use common::{COUNT, Harness, bounded, run, stamped};
use memfold_host::FaultReply;
use memfold_host::addr::{Access, PAGE_SIZE, PageNo, PoolPage, SpaceNo};
use memfold_host::{Host, Protection};
use memfold_linux::Delivery;

const A: SpaceNo = SpaceNo(1);
const BOTH: [Delivery; 2] = [Delivery::InThread, Delivery::Thread];

/// Goal: host code whose fault has failed goes on with what the sink puts in the page's place,
/// whatever stood there; and later steps replace what it got.
#[test]
fn host_code_goes_on() {
    bounded(|| {
        for delivery in BOTH {
            let harness = Harness::with(delivery);
            let a = harness.open(1, 0, 8);
            harness.stamp_pool(PoolPage(3), 300);
            harness.host.show(A, run(3, 1)).expect("shown");
            harness
                .host
                .fill(A, PageNo(4), &stamped(400), Protection::Protected)
                .expect("memory");
            harness.rule(|_, _, _, _| FaultReply::Failed);
            assert_eq!(a.get(1, 5), 0);
            a.set(1, 5, 6);
            a.set(2, 0, 7);
            assert_eq!((a.get(1, 5), a.get(2, 0), a.get(2, 1)), (6, 7, 0));
            a.set(3, 0, 8);
            a.set(4, 0, 9);
            assert_eq!((a.get(3, 0), a.get(4, 0), a.get(4, 1)), (8, 9, 0));
            // A handler thread cannot know whose instruction it was: that thread asks again.
            assert_eq!(
                harness.faults(),
                if delivery == Delivery::InThread { 4 } else { 8 }
            );
            harness
                .host
                .fill(A, PageNo(1), &stamped(100), Protection::Writable)
                .expect("memory");
            assert_eq!(a.get(1, 5), 105);
            harness.host.drop_pages(A, run(0, 8));
            harness.host.fill_zero(A, run(0, 8)).expect("memory");
            assert_eq!(a.get(2, 0), 0);
            assert_eq!(harness.faults(), 0);
        }
    });
}

/// Goal: when the sink is gone, an access gets the signal of a lost page; nobody goes on with
/// zeros.
#[test]
fn the_sink_is_gone() {
    let ended = in_child("the_sink_is_gone", || {
        let harness = Harness::with(Delivery::InThread);
        let a = harness.open(1, 0, 8);
        let weak = Arc::downgrade(&harness.sink);
        drop(harness.sink);
        assert!(weak.upgrade().is_none());
        a.set(5, 0, 1);
    });
    assert_eq!(ended.expect("the parent").0, End::Signal(libc::SIGBUS));
}

/// Goal: the last to hold the sink, and with it the host, may be the handler thread. Method: the
/// fault is resolved, which lets the test's thread go on and drop everything, before the sink
/// returns.
#[test]
fn the_handler_thread_is_the_last_to_leave() {
    bounded(|| {
        let harness = Harness::with(Delivery::Thread);
        let a = harness.open(1, 0, 8);
        let (dropped, wait) = std::sync::mpsc::channel();
        let (leave, left) = std::sync::mpsc::channel();
        let leave = Leaving(leave);
        harness.rule(move |host, space, page, _| {
            host.fill_zero(space, run(page.0, 1)).expect("memory");
            wait.recv().expect("the test's thread drops the harness");
            let _kept = &leave;
            FaultReply::Resolved
        });
        a.set(5, 0, 1);
        drop(harness);
        dropped.send(()).expect("the handler waits");
        left.recv().expect("the rule, and the sink with it, is dropped");
    });
}

/// Says when it is dropped.
struct Leaving(std::sync::mpsc::Sender<()>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Goal: a system call on pages that are not there: with a handler thread it works, in-thread it
/// gets `EFAULT`.
#[test]
fn system_calls() {
    bounded(|| {
        for delivery in BOTH {
            let harness = Harness::with(delivery);
            let a = harness.open(1, 0, 8);
            harness.rule(|host, space, page, access| {
                match (page.0, access) {
                    (6, Access::Read) => host.show(space, run(6, 1)).expect("shown"),
                    (6, Access::Write) => host.copy_from_pool(space, page, PoolPage(6)).expect("memory"),
                    _ => host.fill_zero(space, run(page.0, 1)).expect("memory"),
                }
                FaultReply::Resolved
            });
            let mut file = tempfile();
            std::io::Write::write_all(&mut file, &stamped(50)).expect("a file");
            harness.stamp_pool(PoolPage(6), 600);
            let at = (a.base + 2 * PAGE_SIZE + 2048) as *mut libc::c_void;
            // SAFETY: the kernel writes into two pages of the open window.
            let got = unsafe { libc::pread(file.as_raw_fd(), at, PAGE_SIZE, 0) };
            let error = std::io::Error::last_os_error();
            // SAFETY: the kernel reads a page of the open window.
            let put = unsafe {
                libc::pwrite(
                    file.as_raw_fd(),
                    (a.base + 6 * PAGE_SIZE) as *const _,
                    PAGE_SIZE,
                    0,
                )
            };
            match delivery {
                Delivery::InThread => {
                    assert_eq!((got, put), (-1, -1));
                    assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
                    assert_eq!(harness.faults(), 0);
                }
                Delivery::Thread => {
                    assert_eq!((got, put), (PAGE_SIZE as isize, PAGE_SIZE as isize));
                    assert_eq!((a.get(2, 256), a.get(3, 255), a.get(3, 256)), (50, 561, 0));
                    assert_eq!(harness.faults(), 3);
                    // SAFETY: as above; this page is shown now, so the kernel's store is a fault.
                    let got =
                        unsafe { libc::pread(file.as_raw_fd(), (a.base + 6 * PAGE_SIZE) as *mut _, 8, 16) };
                    assert_eq!((got, a.get(6, 0), a.get(6, 1)), (8, 602, 601));
                }
            }
        }
    });
}

fn tempfile() -> std::fs::File {
    // SAFETY: a fresh descriptor.
    unsafe {
        let fd = libc::memfd_create(c"test".as_ptr(), 0);
        assert!(fd >= 0);
        std::os::fd::FromRawFd::from_raw_fd(fd)
    }
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".global memfold_test_guest",
    ".global memfold_test_guest_end",
    ".global memfold_test_trap",
    "memfold_test_guest:",
    "mov rax, [rdi]",
    "test rsi, rsi",
    "jz 2f",
    "mov [rdi], rsi",
    "2: ret",
    "memfold_test_guest_end:",
    "memfold_test_trap:",
    "mov rax, -1",
    "ret",
);

// SAFETY: the functions of the assembly above, with these arguments.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    /// Loads a word; stores `value` to it unless that is 0.
    fn memfold_test_guest(at: usize, value: u64) -> u64;
    fn memfold_test_guest_end();
    fn memfold_test_trap();
}

static TRAPPED_AT: AtomicUsize = AtomicUsize::new(0);

/// What a runtime does: sees that the address is the guest's, and goes on behind the guest.
#[cfg(target_arch = "x86_64")]
extern "C" fn runtime(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    assert_eq!(signal, libc::SIGSEGV);
    // SAFETY: the arguments of a full handler.
    unsafe {
        TRAPPED_AT.store((*info).si_addr() as usize, COUNT);
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] =
            memfold_test_trap as *const () as usize as i64;
    }
}

#[cfg(target_arch = "x86_64")]
fn guest_is_trapped(delivery: Delivery) {
    // SAFETY: a handler of the kind that the flags say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = runtime as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        assert_eq!(
            libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()),
            0
        );
    }
    let harness = Harness::with(delivery);
    let a = harness.open(1, 0, 8);
    harness.stamp_pool(PoolPage(3), 300);
    harness.host.show(A, run(3, 1)).expect("shown");
    let broken = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&broken);
    harness.rule(move |host, space, page, access| {
        if seen.load(COUNT) {
            return FaultReply::Failed;
        }
        match (page.0, access) {
            (3, Access::Read) => host.show(space, run(3, 1)).expect("shown"),
            (3, Access::Write) => host.copy_from_pool(space, page, PoolPage(3)).expect("memory"),
            _ => assert_eq!(host.show_zero(space, run(page.0, 1)), Ok(0)),
        }
        FaultReply::Resolved
    });
    let code = memfold_test_guest as *const () as usize..memfold_test_guest_end as *const () as usize;
    let registered = memfold_linux::register_guest_code(code).expect("room");
    let guest = |page: usize, value: u64| {
        // SAFETY: a word of the open window; a trap ends the function early.
        unsafe { memfold_test_guest(a.base + page * PAGE_SIZE + 8, value) }
    };
    for _ in 0..3 {
        assert_eq!(guest(2, 0), u64::MAX, "an empty page traps");
        assert_eq!(TRAPPED_AT.swap(0, COUNT), a.base + 2 * PAGE_SIZE + 8);
        assert_eq!(guest(3, 5), u64::MAX, "a store to a shown page traps");
    }
    assert!(harness.faults() >= 6);
    broken.store(false, COUNT);
    assert_eq!(
        (guest(2, 0), guest(3, 5), guest(3, 0)),
        (0, 301, 5),
        "the pages work again"
    );
    drop(registered);
    broken.store(true, COUNT);
    assert_eq!(guest(4, 7), 0, "no guest code any more: the sink decides");
    assert_eq!(a.get(4, 1), 7);
}

/// Goal: a failed fault of guest code reaches the runtime as a segmentation violation, and the page
/// works again later.
#[test]
#[cfg(target_arch = "x86_64")]
fn guest_code_traps_in_thread() {
    let ended = in_child("guest_code_traps_in_thread", || {
        guest_is_trapped(Delivery::InThread)
    });
    assert_eq!(ended.expect("the parent").0, End::Code(0));
}

/// Goal: the same with a handler thread.
#[test]
#[cfg(target_arch = "x86_64")]
fn guest_code_traps_by_poison() {
    let ended = in_child("guest_code_traps_by_poison", || {
        guest_is_trapped(Delivery::Thread)
    });
    assert_eq!(ended.expect("the parent").0, End::Code(0));
}
