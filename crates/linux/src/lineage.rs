//! Whose memory this is: this process's own, or that of a parent which made this process by
//! `fork(2)`.
//!
//! A child of `fork(2)` has copies of our descriptors and of everything that we know, but the
//! windows, the pool and the userfaultfd behind the copies are its parent's: what the child did
//! through them, the parent would suffer. So each process has a number, its *generation*, in a page
//! that the kernel wipes in a child (`MADV_WIPEONFORK`). A host remembers the number it was built
//! under; a child finds 0 there, or, once it has built a host of its own, the next number. Numbers
//! come from a counter that a child inherits, so they never repeat in a line of descent. Asking is
//! two loads; no lock, since a child's locks may be held by threads that it does not have.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use memfold_host::addr::PAGE_SIZE;

use crate::host::LinuxHost;
use crate::keep::Kept;
use crate::sys::{self, Errno};

/// The page, once there is one: its first word is this process's generation, or 0.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
/// The last generation that was given out in this line of descent.
static LAST: AtomicU64 = AtomicU64::new(0);

/// What a process was when it made something.
#[derive(Clone, Copy, Debug)]
pub struct Lineage {
    generation: u64,
}

/// The generation of this process; 0 when it has made no host.
pub(crate) fn generation() -> u64 {
    // Acquire: pairs with the publishing exchange; the page is mapped.
    let page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        return 0;
    }
    // SAFETY: a page that is mapped for good and holds an atomic integer at its start; zeros are
    // one.
    let word = unsafe { &*page };
    // Relaxed: the number is all that is asked.
    word.load(Ordering::Relaxed)
}

/// The page, mapped at first use.
fn page() -> Result<&'static AtomicU64, Errno> {
    // Acquire: pairs with the exchange below; the page is mapped.
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let fresh = sys::map_wiped(PAGE_SIZE)? as *mut AtomicU64;
        // AcqRel: publishes the page, or takes the other thread's. Acquire: as above.
        match PAGE.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => page = fresh,
            Err(theirs) => {
                // SAFETY: mapped above, and nobody has seen it.
                unsafe { sys::unmap(fresh as usize, PAGE_SIZE) };
                page = theirs;
            }
        }
    }
    // SAFETY: as in `generation`.
    Ok(unsafe { &*page })
}

impl Lineage {
    /// This process, which gets a generation if it has none.
    pub(crate) fn of_this_process() -> Result<Self, Errno> {
        let word = page()?;
        // Relaxed: the numbers are all that matters, here and below.
        let known = word.load(Ordering::Relaxed);
        if known != 0 {
            return Ok(Self { generation: known });
        }
        let next = LAST.fetch_add(1, Ordering::Relaxed) + 1; // Relaxed: as above.
        // Relaxed: as above; another thread of this process may have been first.
        let generation = match word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => next,
            Err(theirs) => theirs,
        };
        Ok(Self { generation })
    }

    /// Whether the process that this names is an ancestor of the one that asks, by `fork(2)`. Two
    /// loads.
    #[must_use]
    pub fn is_inherited(self) -> bool {
        generation() != self.generation
    }
}

impl LinuxHost {
    /// The process that made this host.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Whether this process is a child of `fork(2)` of the one that made the host: then windows,
    /// pool and descriptors are not its own, and nothing but this, [`window`](Self::window) and
    /// [`lineage`](Self::lineage) may be called. Two loads.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.lineage.is_inherited()
    }

    /// In a child of `fork(2)`: closes the child's copies of the host's descriptors, so that the
    /// pool's memory does not live as long as the child. Nothing otherwise, and nothing the second
    /// time.
    pub fn renounce(&self) {
        if self.is_inherited() {
            let kept = self.site.pages.kept().chain(self.pool.kept());
            kept.for_each(Kept::renounce);
        }
    }
}

/// A value that only the process which made it drops. In a child of `fork(2)` it is forgotten: what
/// it holds is the parent's, and even memory of its own may be half changed, by a thread that the
/// child does not have.
#[derive(Debug)]
pub struct Own<T> {
    lineage: Lineage,
    value: ManuallyDrop<T>,
}

impl<T> Own<T> {
    /// Keeps a value that a process of this lineage makes.
    pub fn new(lineage: Lineage, value: T) -> Self {
        let value = ManuallyDrop::new(value);
        Self { lineage, value }
    }

    /// Whether another process, an ancestor, made the value.
    pub fn is_inherited(&self) -> bool {
        self.lineage.is_inherited()
    }
}

impl<T> Deref for Own<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Own<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        if !self.lineage.is_inherited() {
            // SAFETY: dropped here and nowhere else; nobody uses the value after its owner's drop.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}
