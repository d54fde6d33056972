//! Stacks for fault handlers that were called on a small one.
//!
//! Our handler runs on the stack of the code that it interrupts. But a handler that was installed
//! later, runs on the thread's alternate stack (8 KiB with std) and passes the signal on, calls
//! ours there; and a program may touch a window from a handler of its own. Reclaim needs more than
//! such a stack has. So there the work is done on a stack of ours, taken from a few that are kept,
//! or mapped at that moment. No lock, no allocation.

use std::sync::atomic::{AtomicUsize, Ordering};

use libc::c_void;

use crate::context;
use crate::sys;

/// Bytes of a stack: five times what reclaim was measured to need.
const BYTES: usize = 64 << 10;
/// How many stacks are kept when nobody needs them.
const KEPT: usize = 8;

/// Their lowest addresses; 0: no stack.
static STACKS: [AtomicUsize; KEPT] = [const { AtomicUsize::new(0) }; KEPT];

/// Whether this function's caller runs on the alternate stack of its thread.
///
/// # Safety
/// `machine_state` is the third argument of a signal handler that is running.
pub(crate) unsafe fn is_alternate(machine_state: *mut c_void) -> bool {
    // SAFETY: the kernel passes a `ucontext_t`, by the caller's word, in which it notes the
    // alternate stack.
    let stack = unsafe { (*machine_state.cast::<libc::ucontext_t>()).uc_stack };
    let here = (&raw const stack) as usize;
    here.checked_sub(stack.ss_sp as usize)
        .is_some_and(|offset| offset < stack.ss_size)
}

/// Runs `work` on a stack of ours; on this one when the system has no memory for another.
pub(crate) fn run<F: FnMut()>(work: &mut F) {
    extern "C" fn call<F: FnMut()>(work: *mut c_void) {
        // SAFETY: the pointer that `run` passes, exclusive while it waits.
        unsafe { (*work.cast::<F>())() }
    }
    let Some(stack) = take() else { return work() };
    let argument = std::ptr::from_mut(work).cast();
    // SAFETY: a stack of ours that nobody else uses; `call` returns, or the process ends by its
    // panic.
    unsafe { context::call_on(stack + BYTES, call::<F>, argument) };
    give(stack);
}

fn take() -> Option<usize> {
    // Acquire: pairs with `give`; whoever used it has left it.
    let kept = STACKS.iter().map(|place| place.swap(0, Ordering::Acquire));
    kept.into_iter()
        .find(|&stack| stack != 0)
        .or_else(|| sys::map_stack(BYTES).ok())
}

fn give(stack: usize) {
    let free = |place: &&AtomicUsize| {
        // Release: we have left it. Relaxed: nothing was changed.
        place
            .compare_exchange(0, stack, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    };
    if STACKS.iter().find(free).is_none() {
        // SAFETY: mapped by `take`, and nobody is on it.
        unsafe { sys::unmap(stack, BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses of this thread's stack.
    fn own_stack() -> std::ops::Range<usize> {
        let mut about = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        let (mut first, mut bytes) = (std::ptr::null_mut(), 0);
        // SAFETY: fills the structure, of the thread that asks.
        let asked = unsafe { libc::pthread_getattr_np(libc::pthread_self(), about.as_mut_ptr()) };
        assert_eq!(asked, 0);
        // SAFETY: it is filled.
        let told = unsafe { libc::pthread_attr_getstack(about.as_ptr(), &raw mut first, &raw mut bytes) };
        assert_eq!(told, 0);
        // SAFETY: filled above, and not used again.
        unsafe { libc::pthread_attr_destroy(about.as_mut_ptr()) };
        first as usize..first as usize + bytes
    }

    /// Goal: the work is done elsewhere, with room, again and again, also from several threads.
    /// Method: addresses of locals.
    #[test]
    fn work_is_done_elsewhere() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    let own = own_stack();
                    for round in 0..100u64 {
                        let mut seen = 0;
                        run(&mut || {
                            let room = [round; 4000];
                            seen = std::hint::black_box(&room).iter().sum();
                            assert!(!own.contains(&(&raw const room as usize)));
                        });
                        assert_eq!(seen, round * 4000);
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
    }
}
