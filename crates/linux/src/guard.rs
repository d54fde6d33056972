//! Reads of windows by the host itself, which may find a page that the program has emptied.
//!
//! The host reads pages in their windows under the manager's locks, when it knows them to be there. A fault in the middle would be
//! answered by the manager, in this very thread (in-thread delivery), which would wait for locks that this thread holds. So a
//! thread says that it is inside such a read, and the SIGBUS handler ends the read instead of answering the fault: the thread goes on
//! behind it. A few words of each thread; no lock. With a handler thread no signal comes, and memory is read by a
//! system call that never waits (`reading.rs`).

use std::cell::Cell;
use std::sync::atomic::{Ordering, compiler_fence};

use libc::c_void;

use crate::context::{self, Recovery};
use crate::table;

thread_local! {
    /// Where this thread goes on; null when it is inside no read.
    static INSIDE: Cell<*const Recovery> = const { Cell::new(std::ptr::null()) };
}

/// Reads windows; `None` when a page was not there. `read` only reads: nothing that it holds is dropped when it is ended.
pub(crate) fn reading<R: Copy>(mut read: impl FnMut() -> R) -> Option<R> {
    extern "C" fn call<F: FnMut()>(work: *mut c_void) {
        // SAFETY: the pointer that is passed below, exclusive meanwhile.
        unsafe { (*work.cast::<F>())() }
    }
    fn run<F: FnMut()>(work: &mut F) -> bool {
        let mut recovery = Recovery::default();
        let recovery = &raw mut recovery;
        let before = INSIDE.replace(recovery);
        // The handler runs in this thread.
        compiler_fence(Ordering::SeqCst);
        // SAFETY: `work` returns or is ended, and has nothing to undo, by the word of `reading`.
        let ended = unsafe { context::call_guarded(call::<F>, std::ptr::from_mut(work).cast(), recovery) };
        compiler_fence(Ordering::SeqCst);
        INSIDE.set(before);
        ended
    }
    let mut result = None;
    let ended = run(&mut || result = Some(read()));
    if ended { None } else { result }
}

/// Ends the read that this thread is inside of, if it is, and the fault is one of a window. For the SIGBUS handler.
///
/// # Safety
/// `context` is the third argument of that handler, which is running.
pub(crate) unsafe fn end_reading(addr: usize, context: *mut c_void) -> bool {
    let inside = INSIDE.get();
    // SAFETY: null, or a place on the stack of `reading`, which waits for this thread's read.
    let Some(recovery) = (unsafe { inside.as_ref() }) else {
        return false;
    };
    let ours = table::enter(addr).is_some();
    if ours {
        // SAFETY: the caller's word; this thread's read has faulted.
        unsafe { context::recover(context, recovery) };
    }
    ours
}
