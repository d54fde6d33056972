//! A bare loop of userfaultfd: a handler of SIGBUS in the thread that faults makes the one call
//! that resolves the fault. No tables, no locks, no budget: what a manager can come near to.
//!
//! The handler knows nothing but `Plan`, which is written before the first access.

use super::case::{Access, Case, Kind, Times, access, fill};
use super::mapping::{Mapping, filled_file, memory_file};
use memfold::PAGE_SIZE;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Instant;

const MISSING: u64 = 1;
const PROTECTED: u64 = 2;
const MINOR: u64 = 4;
/// SIGBUS; write-protection of pages, also of files; minor faults of files in memory.
const FEATURES: u64 = 1 << 7 | 1 | 1 << 5 | 1 << 10 | 1 << 12 | 1 << 13;
/// The calls, as `linux/userfaultfd.h` has them.
const API: libc::c_ulong = 0xc018_aa3f;
const REGISTER: libc::c_ulong = 0xc020_aa00;
const COPY: libc::c_ulong = 0xc028_aa03;
const WRITE_PROTECT: libc::c_ulong = 0xc018_aa06;
const CONTINUE: libc::c_ulong = 0xc020_aa07;
/// `CONTINUE`: what is shown is protected.
const SHOW_PROTECTED: u64 = 2;
/// Pages of a run.
const RUN: usize = 16;

/// What the handler does.
enum How {
    /// A run of zeros is copied.
    Zeros(usize),
    /// The pool's page is copied.
    FromPool(usize),
    /// So many pages of the pool are shown.
    Show(usize),
    /// The page is not protected any more; the kernel copies it.
    Unprotect,
    /// The page is decompressed and copied.
    Decompress(Vec<Vec<u8>>),
}

struct Plan {
    fault: OwnedFd,
    base: usize,
    how: How,
}

static PLAN: OnceLock<Plan> = OnceLock::new();
static ZEROS: [u8; RUN * PAGE_SIZE] = [0; RUN * PAGE_SIZE];

/// One call on a range.
fn call<const N: usize>(fault: &OwnedFd, call: libc::c_ulong, mut words: [u64; N]) -> io::Result<()> {
    // SAFETY: words in the order of the call's structure; the pages are those of a mapping of ours.
    match unsafe { libc::ioctl(fault.as_raw_fd(), call, words.as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn protect(fault: &OwnedFd, at: usize, pages: usize, on: bool) -> io::Result<()> {
    let len = (pages * PAGE_SIZE) as u64;
    call(fault, WRITE_PROTECT, [at as u64, len, u64::from(on)])
}

impl Plan {
    fn resolve(&self, addr: usize) -> io::Result<()> {
        let page = (addr - self.base) / PAGE_SIZE;
        let copy = |from: usize, page: usize, pages: usize| {
            let at = self.base + page * PAGE_SIZE;
            let words = [at as u64, from as u64, (pages * PAGE_SIZE) as u64, 0, 0];
            call(&self.fault, COPY, words)
        };
        match &self.how {
            How::Zeros(run) => copy(ZEROS.as_ptr() as usize, page / run * run, *run),
            How::FromPool(direct) => copy(direct + page * PAGE_SIZE, page, 1),
            How::Show(run) => {
                let at = self.base + page / run * run * PAGE_SIZE;
                let len = (run * PAGE_SIZE) as u64;
                call(&self.fault, CONTINUE, [at as u64, len, SHOW_PROTECTED, 0])
            }
            How::Unprotect => protect(&self.fault, self.base + page * PAGE_SIZE, 1, false),
            How::Decompress(kept) => {
                let mut bytes = [0; PAGE_SIZE];
                let whole = lz4_flex::block::decompress_into(&kept[page], &mut bytes);
                assert!(whole.is_ok_and(|len| len == PAGE_SIZE));
                copy(bytes.as_ptr() as usize, page, 1)
            }
        }
    }
}

extern "C" fn handler(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid structure, of a fault.
    let addr = unsafe { (*info).si_addr() } as usize;
    let done = PLAN.get().map(|plan| plan.resolve(addr & !(PAGE_SIZE - 1)));
    if !matches!(done, Some(Ok(()))) {
        // SAFETY: nothing can be said from here but this.
        unsafe { libc::_exit(3) };
    }
}

/// A mapping whose faults are ours.
fn register(memory: &Mapping, case: Case, modes: u64) -> OwnedFd {
    // SAFETY: the descriptor that is made is ours.
    let fault = unsafe {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | 1;
        let fault = libc::syscall(libc::SYS_userfaultfd, flags) as libc::c_int;
        assert!(fault >= 0, "userfaultfd: {}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(fault)
    };
    call(&fault, API, [0xAA, FEATURES, 0]).expect("these features are there");
    let len = (case.len() * PAGE_SIZE) as u64;
    let words = [memory.base().as_ptr() as u64, len, modes, 0];
    call(&fault, REGISTER, words).expect("it can be registered");
    fault
}

/// From now on the handler does this.
fn install(memory: &Mapping, fault: OwnedFd, how: How) {
    let base = memory.base().as_ptr() as usize;
    let first = PLAN.set(Plan { fault, base, how }).is_ok();
    assert!(first, "one plan for each process");
    // SAFETY: a plain structure; the handler reads `PLAN` alone.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

pub fn run(case: Case) -> Option<Times> {
    let pages = case.pages();
    let several = if case.dense { RUN } else { 1 };
    let modes = MISSING | PROTECTED | MINOR;
    Some(match case.kind {
        Kind::FirstStore => {
            let file = memory_file(case.len());
            let memory = Mapping::private(&file, case.len());
            let fault = register(&memory, case, modes);
            install(&memory, fault, How::Zeros(several));
            // SAFETY: the mapping above, longer than its last page.
            unsafe { access(memory.base(), &pages, Access::Store) }
        }
        Kind::Load | Kind::Store | Kind::StoreShown => {
            let (file, direct) = filled_file(case.len());
            let memory = Mapping::private(&file, case.len());
            let fault = register(&memory, case, modes);
            let (how, what) = match case.kind {
                Kind::Load => (How::Show(several), Access::Load),
                Kind::Store => (How::FromPool(direct.base().as_ptr() as usize), Access::Store),
                _ => {
                    let (at, len) = (memory.base().as_ptr() as u64, case.len() * PAGE_SIZE);
                    let shown = call(&fault, CONTINUE, [at, len as u64, SHOW_PROTECTED, 0]);
                    shown.expect("all are in the file");
                    (How::Unprotect, Access::Store)
                }
            };
            install(&memory, fault, how);
            // SAFETY: the mapping above, longer than its last page.
            unsafe { access(memory.base(), &pages, what) }
        }
        Kind::SwapIn => swap_in(case, &pages),
        Kind::Evict => evict(case, &pages),
        Kind::StoreAfterFork | Kind::SwapInShared => return None,
    })
}

fn swap_in(case: Case, pages: &[usize]) -> Times {
    let mut kept = vec![Vec::new(); case.len()];
    for &page in pages {
        let mut bytes = [0; PAGE_SIZE];
        memfold_benches::text(page as u64, &mut bytes);
        kept[page] = lz4_flex::block::compress(&bytes);
    }
    let memory = Mapping::anonymous(case.len());
    let fault = register(&memory, case, MISSING | PROTECTED);
    install(&memory, fault, How::Decompress(kept));
    // SAFETY: the mapping above.
    unsafe { access(memory.base(), pages, Access::Load) }
}

/// 32 pages at a time: protected, compressed, dropped.
fn evict(case: Case, pages: &[usize]) -> Times {
    let memory = Mapping::anonymous(case.len());
    // SAFETY: inside the mapping.
    pages
        .iter()
        .for_each(|&page| unsafe { fill(memory.base(), page) });
    let fault = register(&memory, case, MISSING | PROTECTED);
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(pages.len());
    let begin = Instant::now();
    for batch in pages.chunks(32) {
        for &page in batch {
            protect(&fault, memory.at(page) as usize, 1, true).expect("it is there");
        }
        for &page in batch {
            // SAFETY: inside the mapping, to which nobody stores meanwhile.
            let bytes = unsafe { std::slice::from_raw_parts(memory.at(page), PAGE_SIZE) };
            kept.push(lz4_flex::block::compress(bytes));
        }
        for &page in batch {
            memory.advise(page, 1, libc::MADV_DONTNEED);
        }
    }
    Times::together(begin.elapsed(), pages.len())
}
