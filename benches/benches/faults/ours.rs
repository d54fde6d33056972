//! memfold's side, as a user has it.

use super::case::{Access, Case, Kind, Times, access, fill};
use memfold::{Memory, Native, PAGE_SIZE, Space, SpaceSize};
use std::ptr::NonNull;
use std::time::Instant;

pub fn run(case: Case, native: Native) -> Times {
    let memory = Memory::builder().native(native).build();
    let memory = memory.expect("userfaultfd works here");
    let bytes = (case.len() * PAGE_SIZE) as u64;
    let space = memory.create(SpaceSize::fixed(bytes)).expect("no limit");
    let pages = case.pages();
    let all: Vec<usize> = (0..case.len()).collect();
    // SAFETY: a space of that many pages, used by this thread alone.
    let load = |space: &Space| unsafe { access(base(space), &pages, Access::Load) };
    // SAFETY: as above.
    let store = |space: &Space| unsafe { access(base(space), &pages, Access::Store) };
    match case.kind {
        Kind::FirstStore => store(&space),
        Kind::Load => load(&child_of(&space, &all)),
        Kind::Store => store(&child_of(&space, &all)),
        Kind::StoreShown => {
            let child = child_of(&space, &all);
            load(&child);
            store(&child)
        }
        Kind::StoreAfterFork => {
            filled(&space, &pages);
            let _child = space.fork().expect("no limit");
            store(&space)
        }
        Kind::SwapIn => {
            filled(&space, &pages);
            space.evict().expect("the pages go");
            load(&space)
        }
        Kind::SwapInShared => {
            filled(&space, &pages);
            let template = space.freeze().expect("no limit");
            drop(space);
            template.evict().expect("the pages go");
            load(&template.fork().expect("no limit"))
        }
        Kind::Evict => {
            filled(&space, &pages);
            let begin = Instant::now();
            space.evict().expect("the pages go");
            Times::together(begin.elapsed(), pages.len())
        }
    }
}

fn base(space: &Space) -> NonNull<u8> {
    space.as_ptr()
}

fn filled(space: &Space, pages: &[usize]) {
    // SAFETY: inside the space.
    pages.iter().for_each(|&page| unsafe { fill(base(space), page) });
}

/// A fork of what the space is when it is full.
fn child_of(space: &Space, pages: &[usize]) -> Space {
    filled(space, pages);
    let template = space.freeze().expect("no limit");
    template.fork().expect("no limit")
}
