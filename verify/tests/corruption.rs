//! Goal: bytes that rot in the store are lost for the spaces whose page they were and for nobody
//! else: a typed error that names the page, no changed byte elsewhere, nothing of it in the digest,
//! all invariants and the budget intact, and every other operation goes on. Method: a family and a
//! stranger with the same bytes, all evicted, the n-th page that is put rotting, for every n; then
//! every page is read, stored to, pinned, forked and dropped.
#![cfg(not(shuttle))]

use memfold_host::addr::{PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_host::{Domain, StoreError};
use memfold_mm::{Config, FaultError, Merging, Mm, Size, SpaceError};
use memfold_sim::program::{self, Place};
use memfold_sim::{SimHost, SimStore};
use memfold_verify::audit::{self, Before, May};
use memfold_verify::oracle::Oracle;

const PAGES: u32 = 8;
const ALL: Run = Run {
    first: PageNo(0),
    len: PAGES,
};

struct Scene {
    mm: Mm<SimHost, SimStore>,
    oracle: Oracle,
    spaces: Vec<SpaceNo>,
}

impl Scene {
    /// A parent, a child that shares four pages with it, a sibling merged with neither, and a
    /// stranger in another domain.
    fn new() -> Self {
        let config = Config {
            replacement: memfold_mm::Replacement::default(),
            native: memfold_mm::Native::Off,
            limit_bytes: 2 << 20,
            machine_bytes: 64 << 20,
            spaces: 8,
            store_bytes: 0,
            page_tables: memfold_mm::PageTables::Counted,
        };
        let mm = Mm::new(SimHost::new(1), SimStore::new(1), config).expect("room");
        let mut scene = Self {
            mm,
            oracle: Oracle::default(),
            spaces: Vec::new(),
        };
        let parent = scene.create(Domain(0));
        let stranger = scene.create(Domain(1));
        (0..PAGES).for_each(|page| scene.fill(parent, page, 10 + page as u8));
        (0..PAGES).for_each(|page| scene.fill(stranger, page, 10 + page as u8));
        let child = scene.fork(parent);
        (4..PAGES).for_each(|page| scene.fill(child, page, 50 + page as u8));
        scene
    }

    fn create(&mut self, domain: Domain) -> SpaceNo {
        let size = Size {
            len: PAGES,
            reserve: PAGES,
        };
        let no = self.mm.create(size, domain).expect("room");
        self.mm.set_merging(no, Merging::On).expect("it lives");
        self.oracle.create(no, PAGES, domain);
        self.oracle.set_merging(no, Merging::On);
        self.spaces.push(no);
        no
    }

    fn fork(&mut self, from: SpaceNo) -> SpaceNo {
        let no = self.mm.fork(from).expect("room");
        self.oracle.fork(from, no);
        self.spaces.push(no);
        no
    }

    fn fill(&mut self, space: SpaceNo, page: u32, value: u8) {
        program::store(&self.mm, space, place(page), &[value; PAGE_SIZE]).expect("room");
        self.oracle
            .write(space, page as usize * PAGE_SIZE, &[value; PAGE_SIZE]);
    }

    /// Reads a page as a program does: true when it is lost.
    fn lost(&self, space: SpaceNo, page: u32) -> bool {
        let before = Before::of(&self.mm);
        let mut out = [0; PAGE_SIZE];
        match program::load(&self.mm, space, place(page), &mut out) {
            Ok(()) => {
                assert_eq!(
                    out,
                    self.oracle.page(space, PageNo(page)),
                    "page {page} of space {space}"
                );
                false
            }
            Err(error) => {
                is_loss(error, space, page);
                assert_eq!(self.mm.take_failure(space), Some(error), "the space knows");
                audit::unchanged(&self.mm, &self.oracle, &before, May::Nothing);
                true
            }
        }
    }

    fn intact(&self) {
        audit::quick(&self.mm, 0);
        assert_eq!(memfold_mm::check(&self.mm), Ok(()));
    }
}

fn place(page: u32) -> Place {
    Place {
        page: PageNo(page),
        offset: 0,
    }
}

fn is_loss(error: FaultError, space: SpaceNo, page: u32) {
    let FaultError::PageLost {
        space: in_space,
        page: at,
        source: StoreError::Corrupt { .. },
    } = error
    else {
        panic!("the wrong error: {error}")
    };
    assert_eq!((in_space, at), (space, PageNo(page)), "{error}");
}

/// Everything that can be done with a space whose page is lost, and with the others.
fn live_on(scene: &mut Scene, lost: &[(SpaceNo, u32)]) {
    for &(space, page) in lost {
        let before = Before::of(&scene.mm);
        is_loss(
            program::store(&scene.mm, space, place(page), &[1]).expect_err("its bytes are lost"),
            space,
            page,
        );
        let _ = scene.mm.take_failure(space);
        is_loss(
            scene
                .mm
                .pin(space, Run::one(PageNo(page)))
                .expect_err("its bytes are lost"),
            space,
            page,
        );
        let unmerged = scene.mm.unmerge(space, Run::one(PageNo(page)));
        if lost.len() > 1 {
            let Err(SpaceError::Fault(error)) = unmerged else {
                panic!("a shared page that is lost was unmerged: {unmerged:?}")
            };
            is_loss(error, space, page);
        }
        audit::unchanged(&scene.mm, &scene.oracle, &before, May::Nothing);
        scene.intact();
    }
    for space in scene.spaces.clone() {
        let fork = scene.fork(space);
        for page in 0..PAGES {
            if lost.contains(&(space, page)) {
                assert!(scene.lost(fork, page), "a fork shares the loss");
            } else {
                scene.fill(fork, page, 90);
                assert!(!scene.lost(fork, page) && !scene.lost(space, page));
            }
        }
        let _ = scene.mm.merge_round(None).expect("room");
        scene.mm.evict(fork, ALL).expect("it lives");
        scene.intact();
    }
}

#[test]
fn a_rotten_page_is_lost_for_its_own_space() {
    let (mut alone, mut together) = (0, 0);
    for nth in 0.. {
        let mut scene = Scene::new();
        scene.mm.store().rot(nth);
        for &space in &scene.spaces {
            scene.mm.evict(space, ALL).expect("it lives");
        }
        scene.intact();
        let before = memfold_mm::Digest::of(&scene.mm);
        // With each page a base may be put that it is no difference to, and itself as a base for
        // others.
        if nth >= 3 * before.totals.stored_pages {
            break;
        }
        let pages = scene
            .spaces
            .iter()
            .flat_map(|&space| (0..PAGES).map(move |page| (space, page)));
        let lost: Vec<_> = pages.filter(|&(space, page)| scene.lost(space, page)).collect();
        // Those that lost it are those whose page it was: one frame, one number.
        let number = |&(space, page): &(SpaceNo, u32)| {
            let page = before.spaces[&space.0].pages[page as usize];
            page.map(|page| page.content)
        };
        let numbers: std::collections::BTreeSet<_> = lost.iter().map(number).collect();
        assert!(numbers.len() <= 1, "two different pages are lost: {lost:?}");
        if let Some(number) = numbers.first() {
            let all = before.spaces.values().flat_map(|space| &space.pages);
            let numbers = all.map(|page| page.map(|page| page.content));
            assert_eq!(
                numbers.filter(|n| n == number).count(),
                lost.len(),
                "page {nth}: {lost:?}"
            );
        }
        alone += u32::from(lost.len() == 1);
        together += u32::from(lost.len() == 2);
        scene.intact();
        live_on(&mut scene, &lost);
        // The youngest first: nobody has to be given what cannot be read.
        for space in scene.spaces.iter().rev() {
            scene.mm.drop_space(*space).expect("a loss is no reason to stay");
        }
        audit::empty(&scene.mm, 0);
    }
    println!("{alone} pages of one space, {together} of two");
    assert_eq!(
        (alone, together),
        (16, 4),
        "of parent, child and stranger; what parent and child share"
    );
}
