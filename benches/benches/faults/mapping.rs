//! Mappings and files in memory of the sides without memfold.

use memfold::PAGE_SIZE;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;

/// A mapping of so many pages, without huge pages; unmapped when it is dropped.
pub struct Mapping {
    base: NonNull<u8>,
    pages: usize,
}

impl Mapping {
    pub fn anonymous(pages: usize) -> Self {
        Self::new(pages, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    pub fn private(file: &File, pages: usize) -> Self {
        Self::new(pages, libc::MAP_PRIVATE, file.as_raw_fd())
    }

    pub fn shared(file: &File, pages: usize) -> Self {
        Self::new(pages, libc::MAP_SHARED, file.as_raw_fd())
    }

    fn new(pages: usize, flags: libc::c_int, file: libc::c_int) -> Self {
        let (len, flags) = (pages * PAGE_SIZE, flags | libc::MAP_NORESERVE);
        let allowed = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping touches nothing of ours.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, allowed, flags, file, 0) };
        assert_ne!(base, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let base = NonNull::new(base.cast()).expect("nothing is mapped at zero");
        let mapping = Self { base, pages };
        mapping.advise(0, pages, libc::MADV_NOHUGEPAGE);
        mapping
    }

    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The address of a page.
    pub fn at(&self, page: usize) -> *mut u8 {
        assert!(page < self.pages);
        // SAFETY: inside the mapping.
        unsafe { self.base.as_ptr().add(page * PAGE_SIZE) }
    }

    /// `madvise` on a range of pages.
    pub fn advise(&self, page: usize, pages: usize, what: libc::c_int) {
        assert!(page + pages <= self.pages);
        // SAFETY: our own mapping, of which nobody holds a reference.
        let done = unsafe { libc::madvise(self.at(page).cast(), pages * PAGE_SIZE, what) };
        assert_eq!(done, 0, "madvise {what}: {}", io::Error::last_os_error());
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, used by nobody any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.pages * PAGE_SIZE) };
    }
}

/// A file in memory, of so many pages.
pub fn memory_file(pages: usize) -> File {
    // SAFETY: a name; the descriptor that is made is ours.
    let file = unsafe {
        let file = libc::memfd_create(c"memfold-faults".as_ptr(), libc::MFD_CLOEXEC);
        assert!(file >= 0, "memfd: {}", io::Error::last_os_error());
        File::from_raw_fd(file)
    };
    file.set_len((pages * PAGE_SIZE) as u64).expect("a length");
    file
}

/// The same, with something in each page, and the mapping that put it there.
pub fn filled_file(pages: usize) -> (File, Mapping) {
    let file = memory_file(pages);
    let direct = Mapping::shared(&file, pages);
    for page in 0..pages {
        // SAFETY: inside the mapping, which is ours alone.
        unsafe { super::case::fill(direct.base(), page) };
    }
    (file, direct)
}
