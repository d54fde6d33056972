//! Goal: merging does what it says, and changes no byte. Method: scenarios written out; random
//! histories with merging in them are those of `simulation.rs`.
//!
//! `shared.rs` has what becomes of pages that are one, `apart.rs` whose pages never do, `rounds.rs`
//! how a scan goes, and what may happen between its steps.
#![cfg(not(shuttle))]

mod apart;
mod rounds;
mod shared;

use memfold_host::Domain;
use memfold_host::addr::{PAGE_SIZE, PageNo, SpaceNo};
use memfold_mm::{Config, MergeStep, Merging, Mm, Size, UNLIMITED};
use memfold_sim::program::{self, Place};
use memfold_sim::{SimHost, SimStore};

/// A manager, and `n` cold forks of one empty space that take part.
fn siblings(n: usize, pages: u32) -> (Mm<SimHost, SimStore>, Vec<SpaceNo>) {
    let config = Config {
        replacement: memfold_mm::Replacement::default(),
        native: memfold_mm::Native::Off,
        limit_bytes: UNLIMITED,
        machine_bytes: 64 << 20,
        spaces: 64,
        store_bytes: 0,
        page_tables: memfold_mm::PageTables::Counted,
    };
    let mm = Mm::new(SimHost::new(1), SimStore::new(1), config).expect("no limit");
    let spaces = family(&mm, n, pages, Domain(0));
    (mm, spaces)
}

fn family(mm: &Mm<SimHost, SimStore>, n: usize, pages: u32, domain: Domain) -> Vec<SpaceNo> {
    let size = Size {
        len: pages,
        reserve: pages,
    };
    let root = mm.create(size, domain).expect("no limit");
    mm.set_merging(root, Merging::On).expect("it lives");
    (0..n).map(|_| mm.fork(root).expect("no limit")).collect()
}

fn at(page: u32) -> Place {
    Place {
        page: PageNo(page),
        offset: 0,
    }
}

fn fill(mm: &Mm<SimHost, SimStore>, space: SpaceNo, page: u32, value: u8) {
    program::store(mm, space, at(page), &[value; PAGE_SIZE]).expect("no limit");
}

fn expect(mm: &Mm<SimHost, SimStore>, space: SpaceNo, page: u32, value: u8) {
    let mut out = [!value; PAGE_SIZE];
    program::load(mm, space, at(page), &mut out).expect("no limit");
    assert_eq!(out, [value; PAGE_SIZE], "page {page} of space {space}");
}

fn held(mm: &Mm<SimHost, SimStore>) -> u64 {
    assert_eq!(memfold_mm::check(mm), Ok(()));
    mm.host().memory().pages()
}

fn now(mm: &Mm<SimHost, SimStore>) -> MergeStep {
    mm.merge_round(None).expect("no limit")
}
