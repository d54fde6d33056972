//! The kernel's numbers and structures that no crate we use defines: userfaultfd
//! (`linux/userfaultfd.h`) and the pagemap scan (`linux/fs.h`).
//!
//! Plain constants and `repr(C)` structures, nothing shared. The sizes are part of the
//! request numbers, so they are asserted here at compile time. Used by `uffd.rs`,
//! `scan.rs`, `events.rs` and `probe.rs`.

/// The direction bits of a request number that reads and writes its structure.
const READ_WRITE: u64 = 3 << 30;
/// ... that only has its structure read by the kernel's own reckoning (`_IOR`).
const READ: u64 = 2 << 30;

const fn request(direction: u64, group: u64, number: u64, size: usize) -> u64 {
    direction | ((size as u64) << 16) | (group << 8) | number
}

/// The userfaultfd protocol's version.
pub(crate) const UFFD_API: u64 = 0xAA;
/// Flag of the system call: faults of system calls are not reported, no privilege is needed.
pub(crate) const UFFD_USER_MODE_ONLY: i32 = 1;
/// Request to `/dev/userfaultfd`: a new userfaultfd; the argument is the flags.
pub(crate) const USERFAULTFD_IOC_NEW: u64 = UFFD_API << 8;

pub(crate) const FEATURE_PAGEFAULT_FLAG_WP: u64 = 1 << 0;
pub(crate) const FEATURE_MISSING_SHMEM: u64 = 1 << 5;
pub(crate) const FEATURE_SIGBUS: u64 = 1 << 7;
pub(crate) const FEATURE_MINOR_SHMEM: u64 = 1 << 10;
pub(crate) const FEATURE_WP_HUGETLBFS_SHMEM: u64 = 1 << 12;
pub(crate) const FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
pub(crate) const FEATURE_POISON: u64 = 1 << 14;

/// `UFFDIO_REGISTER` modes: faults on empty pages, on protected ones, and on empty pages whose pool
/// page exists.
pub(crate) const REGISTER_ALL: u64 = 1 << 0 | 1 << 1 | 1 << 2;
/// `UFFDIO_REGISTER` mode: faults on empty pages only.
pub(crate) const REGISTER_MISSING: u64 = 1 << 0;
/// `UFFDIO_COPY` mode: the new page is write-protected.
pub(crate) const COPY_WP: u64 = 1 << 1;
/// `UFFDIO_CONTINUE` mode: the shown page is write-protected.
pub(crate) const CONTINUE_WP: u64 = 1 << 1;
/// `UFFDIO_WRITEPROTECT` mode: protect (without it: let stores through again).
pub(crate) const WRITEPROTECT_WP: u64 = 1 << 0;

pub(crate) const UFFDIO_API: u64 = request(READ_WRITE, UFFD_API, 0x3F, size_of::<Api>());
pub(crate) const UFFDIO_REGISTER: u64 = request(READ_WRITE, UFFD_API, 0x00, size_of::<Register>());
pub(crate) const UFFDIO_WAKE: u64 = request(READ, UFFD_API, 0x02, size_of::<Range>());
pub(crate) const UFFDIO_COPY: u64 = request(READ_WRITE, UFFD_API, 0x03, size_of::<Copy>());
pub(crate) const UFFDIO_ZEROPAGE: u64 = request(READ_WRITE, UFFD_API, 0x04, size_of::<Ranged>());
pub(crate) const UFFDIO_WRITEPROTECT: u64 = request(READ_WRITE, UFFD_API, 0x06, size_of::<WriteProtect>());
pub(crate) const UFFDIO_CONTINUE: u64 = request(READ_WRITE, UFFD_API, 0x07, size_of::<Ranged>());
pub(crate) const UFFDIO_POISON: u64 = request(READ_WRITE, UFFD_API, 0x08, size_of::<Ranged>());

/// `struct uffdio_api`.
#[repr(C)]
pub(crate) struct Api {
    pub(crate) api: u64,
    pub(crate) features: u64,
    pub(crate) ioctls: u64,
}

/// `struct uffdio_range`.
#[repr(C)]
#[derive(Clone, core::marker::Copy)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
pub(crate) struct Register {
    pub(crate) range: Range,
    pub(crate) mode: u64,
    pub(crate) ioctls: u64,
}

/// `struct uffdio_copy`.
#[repr(C)]
pub(crate) struct Copy {
    pub(crate) dst: u64,
    pub(crate) src: u64,
    pub(crate) len: u64,
    pub(crate) mode: u64,
    /// Bytes done, or a negative error code.
    pub(crate) done: i64,
}

/// `struct uffdio_zeropage`, `uffdio_continue` and `uffdio_poison`, which are alike.
#[repr(C)]
pub(crate) struct Ranged {
    pub(crate) range: Range,
    pub(crate) mode: u64,
    /// Bytes done, or a negative error code.
    pub(crate) done: i64,
}

/// `struct uffdio_writeprotect`.
#[repr(C)]
pub(crate) struct WriteProtect {
    pub(crate) range: Range,
    pub(crate) mode: u64,
}

/// `UFFD_EVENT_PAGEFAULT`: the only event that memfold asks for.
pub(crate) const EVENT_PAGEFAULT: u8 = 0x12;
/// `UFFD_PAGEFAULT_FLAG_WRITE`: the access was a store.
pub(crate) const PAGEFAULT_WRITE: u64 = 1 << 0;
/// `UFFD_PAGEFAULT_FLAG_WP`: the page is there and protected.
pub(crate) const PAGEFAULT_WP: u64 = 1 << 1;

/// `struct uffd_msg`, as a page fault fills it.
#[repr(C)]
#[derive(Clone, core::marker::Copy, Default)]
pub(crate) struct Message {
    pub(crate) event: u8,
    pub(crate) reserved1: u8,
    pub(crate) reserved2: u16,
    pub(crate) reserved3: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) thread: u64,
}

pub(crate) const PAGEMAP_SCAN: u64 = request(READ_WRITE, 'f' as u64, 16, size_of::<ScanArg>());

/// `PAGE_IS_WRITTEN`: stores to the page are not faults of a userfaultfd.
pub(crate) const PAGE_IS_WRITTEN: u64 = 1 << 1;
/// `PAGE_IS_FILE`: the page comes from the file (here: from the pool).
pub(crate) const PAGE_IS_FILE: u64 = 1 << 2;
/// `PAGE_IS_PRESENT`: the page can be read without a fault.
pub(crate) const PAGE_IS_PRESENT: u64 = 1 << 3;
/// `PAGE_IS_SWAPPED`: the kernel has moved the page out, or left a marker in its place.
pub(crate) const PAGE_IS_SWAPPED: u64 = 1 << 4;
/// `PAGE_IS_PFNZERO`: the page is the kernel's zero page.
pub(crate) const PAGE_IS_PFNZERO: u64 = 1 << 5;

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct ScanArg {
    pub(crate) size: u64,
    pub(crate) flags: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) walk_end: u64,
    pub(crate) vec: u64,
    pub(crate) vec_len: u64,
    pub(crate) max_pages: u64,
    pub(crate) category_inverted: u64,
    pub(crate) category_mask: u64,
    pub(crate) category_anyof_mask: u64,
    pub(crate) return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, core::marker::Copy, Default)]
pub(crate) struct PageRegion {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) categories: u64,
}

const _: () = {
    assert!(size_of::<Api>() == 24);
    assert!(size_of::<Range>() == 16);
    assert!(size_of::<Register>() == 32);
    assert!(size_of::<Copy>() == 40);
    assert!(size_of::<Ranged>() == 32);
    assert!(size_of::<WriteProtect>() == 24);
    assert!(size_of::<Message>() == 32);
    assert!(size_of::<ScanArg>() == 96);
    assert!(size_of::<PageRegion>() == 24);
    // As printed by a C program from the kernel's own headers.
    assert!(UFFDIO_API == 0xc018_aa3f);
    assert!(UFFDIO_REGISTER == 0xc020_aa00);
    assert!(UFFDIO_WAKE == 0x8010_aa02);
    assert!(UFFDIO_COPY == 0xc028_aa03);
    assert!(UFFDIO_ZEROPAGE == 0xc020_aa04);
    assert!(UFFDIO_WRITEPROTECT == 0xc018_aa06);
    assert!(UFFDIO_CONTINUE == 0xc020_aa07);
    assert!(UFFDIO_POISON == 0xc020_aa08);
    assert!(PAGEMAP_SCAN == 0xc060_6610);
};
