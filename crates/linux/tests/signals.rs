//! Signals that are not ours go where they went before. Each test's body runs in a child process.

mod common;

use std::sync::atomic::AtomicI32;

use common::child::{End, in_child};
use common::{COUNT, Harness, run};
use libc::{c_int, c_void, siginfo_t};
use memfold_host::FaultReply;
use memfold_host::Host;
use memfold_host::addr::{PoolPage, SpaceNo};
use memfold_linux::Delivery;

static CALLS: AtomicI32 = AtomicI32::new(0);

fn set(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: all zeros is an action; the handlers of these tests are of the kinds that the flags
    // say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaddset(&raw mut action.sa_mask, libc::SIGUSR1);
        assert_eq!(
            libc::sigaction(signal, &raw const action, std::ptr::null_mut()),
            0
        );
    }
}

/// A page of a file that was cut off: touching it is a SIGBUS that is none of ours.
fn lost_page() -> *mut u8 {
    // SAFETY: a fresh mapping of a fresh file.
    unsafe {
        let fd = libc::memfd_create(c"lost".as_ptr(), 0);
        assert_eq!(libc::ftruncate(fd, 4096), 0);
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            0,
        );
        assert_ne!(page, libc::MAP_FAILED);
        assert_eq!(libc::ftruncate(fd, 0), 0);
        page.cast()
    }
}

fn touch(page: *mut u8) {
    // SAFETY: the mapping is there; the signal is what is tested.
    unsafe { page.write_volatile(1) };
}

fn raise() {
    // SAFETY: a signal to ourselves.
    unsafe { libc::raise(libc::SIGBUS) };
}

/// A host that works: its handler is installed and a fault of a window is resolved.
fn working_host() -> Harness {
    let harness = Harness::with(Delivery::InThread);
    harness.rule(|host, space, page, _| {
        host.fill_zero(space, run(page.0, 1)).expect("memory");
        FaultReply::Resolved
    });
    let view = harness.open(1, 0, 4);
    view.set(2, 0, 5);
    assert_eq!(harness.faults(), 1);
    harness
}

fn blocked(signal: c_int) -> bool {
    // SAFETY: asks for this thread's mask.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
        libc::sigismember(&raw const mask, signal) == 1
    }
}

extern "C" fn full(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the arguments of a full handler.
    let (code, addr) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let right = signal == libc::SIGBUS && code == 2 && addr != 0 && !context.is_null();
    let masked = blocked(libc::SIGBUS) && blocked(libc::SIGUSR1);
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(if right && masked { 42 } else { 43 }) };
}

extern "C" fn plain(signal: c_int) {
    assert_eq!(signal, libc::SIGBUS);
    CALLS.fetch_add(1, COUNT);
}

/// Goal: a previous full handler gets the arguments, with its mask in force.
#[test]
fn a_full_handler_is_called() {
    let ended = in_child("a_full_handler_is_called", || {
        set(libc::SIGBUS, full as *const () as usize, libc::SA_SIGINFO);
        let _harness = working_host();
        touch(lost_page());
    });
    assert_eq!(ended.expect("the parent").0, End::Code(42));
}

/// Goal: a previous plain handler is called for a sent signal, again and again, and the mask is
/// restored.
#[test]
fn a_plain_handler_is_called() {
    let ended = in_child("a_plain_handler_is_called", || {
        set(libc::SIGBUS, plain as *const () as usize, 0);
        let harness = working_host();
        raise();
        raise();
        assert_eq!(CALLS.load(COUNT), 2);
        assert!(!blocked(libc::SIGBUS) && !blocked(libc::SIGUSR1));
        harness.view(1).set(0, 0, 1);
        assert_eq!(harness.faults(), 1, "ours is still installed");
    });
    assert_eq!(ended.expect("the parent").0, End::Code(0));
}

/// Goal: a one-shot handler is called once; the second signal ends the process.
#[test]
fn a_one_shot_handler_is_called_once() {
    let ended = in_child("a_one_shot_handler_is_called_once", || {
        set(libc::SIGBUS, plain as *const () as usize, libc::SA_RESETHAND);
        let _harness = working_host();
        raise();
        println!("called {}", CALLS.load(COUNT));
        raise();
    });
    let (end, text) = ended.expect("the parent");
    assert!(text.contains("called 1"), "{text}");
    assert_eq!(end, End::Signal(libc::SIGBUS));
}

/// Goal: where signals were ignored, a sent one still is, but no instruction's own.
#[test]
fn ignoring_goes_on() {
    let ended = in_child("ignoring_goes_on", || {
        set(libc::SIGBUS, libc::SIG_IGN, 0);
        let _harness = working_host();
        raise();
        println!("still here");
        touch(lost_page());
    });
    let (end, text) = ended.expect("the parent");
    assert!(text.contains("still here"), "{text}");
    assert_eq!(end, End::Signal(libc::SIGBUS));
}

/// Goal: the default action ends the process by the signal, sent or an instruction's own; so does
/// std's handler.
#[test]
fn the_default_ends_the_process() {
    let ended = in_child("the_default_ends_the_process", || {
        set(libc::SIGBUS, libc::SIG_DFL, 0);
        let _harness = working_host();
        raise();
    });
    assert_eq!(ended.expect("the parent").0, End::Signal(libc::SIGBUS));
}

/// Goal: as above, for a lost page and the handler that std had installed.
#[test]
fn stds_handler_ends_the_process() {
    let ended = in_child("stds_handler_ends_the_process", || {
        let _harness = working_host();
        touch(lost_page());
    });
    assert_eq!(ended.expect("the parent").0, End::Signal(libc::SIGBUS));
}

/// Goal: a closed window's addresses are a segmentation violation; a child of fork(2) has no
/// windows at all.
#[test]
fn closed_windows_are_no_memory() {
    let ended = in_child("closed_windows_are_no_memory", || {
        let harness = working_host();
        let view = harness.view(1);
        // SAFETY: the child calls nothing but `_exit` and the access under test.
        let forked = unsafe { libc::fork() };
        if forked == 0 {
            let value = view.get(2, 0);
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(value as c_int) };
        }
        let mut status = 0;
        // SAFETY: waits for our own child.
        assert_eq!(unsafe { libc::waitpid(forked, &raw mut status, 0) }, forked);
        assert!(
            libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV,
            "status {status:#x}"
        );
        assert_eq!(view.get(2, 0), 5, "ours is as before");
        harness.host.close(SpaceNo(1), 0);
        view.get(2, 0);
    });
    assert_eq!(ended.expect("the parent").0, End::Signal(libc::SIGSEGV));
}

/// Goal: the thread's error code survives a fault.
#[test]
fn the_error_code_survives() {
    let ended = in_child("the_error_code_survives", || {
        let harness = Harness::with(Delivery::InThread);
        harness.rule(|host, space, page, _| {
            // A step that fails inside, and so sets the error code.
            host.show_zero(space, run(page.0, 1)).expect("zeros");
            host.fill_zero(space, run(page.0, 1)).expect("memory");
            assert!(host.show(space, run(page.0, 1)).is_err(), "there is no pool page");
            FaultReply::Resolved
        });
        harness.host.reserve_pool(10).expect("sparse");
        harness
            .host
            .open(SpaceNo(1), PoolPage(0), 4, 4)
            .expect("a window");
        let view = harness.view(1);
        // SAFETY: the address of this thread's own error code.
        unsafe { *libc::__errno_location() = 4242 };
        view.set(1, 1, 1);
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, 4242);
        assert_eq!(harness.faults(), 1);
    });
    assert_eq!(ended.expect("the parent").0, End::Code(0));
}
