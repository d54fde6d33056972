//! The kernel's side: anonymous memory, private mappings, `fork(2)`, and swap to zram.

use super::case::{Access, Case, Kind, Times, access, fill};
use super::mapping::{Mapping, filled_file};
use std::time::Instant;

pub fn run(case: Case) -> Option<Times> {
    let pages = case.pages();
    Some(match case.kind {
        Kind::FirstStore => {
            let memory = Mapping::anonymous(case.len());
            // SAFETY: the mapping above, longer than its last page.
            unsafe { access(memory.base(), &pages, Access::Store) }
        }
        Kind::Load | Kind::Store | Kind::StoreShown => of_a_file(case, &pages),
        Kind::StoreAfterFork => after_fork(case, &pages),
        Kind::SwapIn => {
            let memory = filled(case, &pages);
            memory.advise(0, case.len(), libc::MADV_PAGEOUT);
            // SAFETY: the mapping above, longer than its last page.
            unsafe { access(memory.base(), &pages, Access::Load) }
        }
        Kind::Evict => {
            let memory = filled(case, &pages);
            let begin = Instant::now();
            memory.advise(0, case.len(), libc::MADV_PAGEOUT);
            Times::together(begin.elapsed(), pages.len())
        }
        // A page of a file in memory that several map goes to swap as any other.
        Kind::SwapInShared => return None,
    })
}

fn of_a_file(case: Case, pages: &[usize]) -> Times {
    let (file, _direct) = filled_file(case.len());
    let memory = Mapping::private(&file, case.len());
    let what = match case.kind {
        Kind::Load => Access::Load,
        _ => Access::Store,
    };
    // SAFETY: the mapping above.
    unsafe {
        if case.kind == Kind::StoreShown {
            access(memory.base(), pages, Access::Load);
        }
        access(memory.base(), pages, what)
    }
}

fn after_fork(case: Case, pages: &[usize]) -> Times {
    let memory = filled(case, pages);
    // SAFETY: this process has one thread; the child calls what a signal handler may.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: it waits until it is killed.
        unsafe {
            libc::pause();
            libc::_exit(0);
        }
    }
    // SAFETY: the mapping above.
    let times = unsafe { access(memory.base(), pages, Access::Store) };
    // SAFETY: our child.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    times
}

fn filled(case: Case, pages: &[usize]) -> Mapping {
    let memory = Mapping::anonymous(case.len());
    // SAFETY: inside the mapping.
    pages
        .iter()
        .for_each(|&page| unsafe { fill(memory.base(), page) });
    memory
}
