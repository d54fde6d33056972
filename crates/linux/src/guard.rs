//! Accesses of the host itself to windows, which may find a page that the program has emptied.
//!
//! The host reads pages in their windows under the manager's locks, when it knows them to be there.
//! A fault in the middle would be answered by the manager, in this very thread (in-thread
//! delivery), which would wait for locks that this thread holds. So a thread says that it is inside
//! such an access, and the SIGBUS handler ends that instead of answering the fault: the thread goes
//! on behind it. Stores to pinned pages, which hold no locks, are ended likewise: the library
//! returns an error where a program gets a signal. A few words of each thread; no lock. With a
//! handler thread a load gets no signal but waits, so memory is read by a system call that never
//! does (`reading.rs`).

use std::cell::Cell;
use std::sync::atomic::{Ordering, compiler_fence};

use libc::c_void;

use crate::context::{self, Recovery};

thread_local! {
    /// Where this thread goes on; null when it is inside no read.
    static INSIDE: Cell<*const Recovery> = const { Cell::new(std::ptr::null()) };
}

/// Loads from windows, or stores to them; `None` when a page was not there. Nothing that `access`
/// holds is dropped when it is ended, and it has no state of its own that could be halfway changed.
pub(crate) fn accessing<R: Copy>(mut access: impl FnMut() -> R) -> Option<R> {
    extern "C" fn call<F: FnMut()>(work: *mut c_void) {
        // SAFETY: the pointer that is passed below, exclusive meanwhile.
        unsafe { (*work.cast::<F>())() }
    }
    fn run<F: FnMut()>(work: &mut F) -> bool {
        let mut recovery = Recovery::default();
        let recovery = &raw mut recovery;
        let before = INSIDE.replace(recovery);
        // AcqRel: the handler runs in this thread, so only the compiler must keep to the order.
        compiler_fence(Ordering::AcqRel);
        // SAFETY: `work` returns or is ended, and has nothing to undo, by the word of `accessing`.
        let ended = unsafe { context::call_guarded(call::<F>, std::ptr::from_mut(work).cast(), recovery) };
        compiler_fence(Ordering::AcqRel);
        INSIDE.set(before);
        ended
    }
    let mut result = None;
    let ended = run(&mut || result = Some(access()));
    if ended { None } else { result }
}

/// Whether this thread is inside such an access. For the SIGBUS handler.
pub(crate) fn is_inside() -> bool {
    !INSIDE.get().is_null()
}

/// Ends the access that this thread is inside of. For the SIGBUS handler.
///
/// # Safety
/// `context` is the third argument of that handler, which is running, of a fault of that access.
pub(crate) unsafe fn end(context: *mut c_void) {
    // SAFETY: null, or a place on the stack of `accessing`, which waits for this thread's access.
    if let Some(recovery) = unsafe { INSIDE.get().as_ref() } {
        // SAFETY: the caller's word.
        unsafe { context::recover(context, recovery) };
    }
}
