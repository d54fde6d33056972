//! What evictions cost on real memory, and what is kept beside stored pages: in bytes of the store
//! and of the budget.

use memfold::{Memory, PAGE_SIZE, Space, SpaceSize};
use memfold_stores::conformance::pages::{changed, noise, text};

const MIB: u64 = 1 << 20;

fn memory(budget: u64) -> Memory {
    Memory::builder()
        .budget_bytes(budget)
        .background(false)
        .build()
        .expect("userfaultfd works here")
}

fn pages(space: &Space) -> u64 {
    space.len() / PAGE_SIZE as u64
}

fn write(space: &Space, page: u64, bytes: &[u8; PAGE_SIZE]) {
    space.write(page * PAGE_SIZE as u64, bytes).expect("room");
}

fn write_all(space: &Space, content: impl Fn(u64) -> Box<[u8; PAGE_SIZE]>) {
    (0..pages(space)).for_each(|page| write(space, page, &content(page)));
}

fn holds(space: &Space, content: impl Fn(u64) -> Box<[u8; PAGE_SIZE]>) -> bool {
    let mut bytes = [0; PAGE_SIZE];
    (0..pages(space)).all(|page| {
        space
            .read(page * PAGE_SIZE as u64, &mut bytes)
            .expect("it can be read");
        bytes == *content(page)
    })
}

fn clean(memory: &Memory) {
    if let Err(all) = memory.check() {
        panic!("{}", all.join("\n"));
    }
}

/// Goal: bases follow what the spaces write: old ones do not pile up, and later versions are small
/// again. Method: 16 MiB of a template, rewritten by two forks for three generations, the second
/// fork's pages a little different; what the store holds after each, beside what it holds after the
/// first.
#[test]
fn rewritten_pages_leave_no_old_bases() {
    let m = memory(256 * MIB);
    let template = m.create(SpaceSize::fixed(16 * MIB)).unwrap();
    write_all(&template, text);
    let template = template.freeze().unwrap();
    let forks = [template.fork().unwrap(), template.fork().unwrap()];
    let content = |generation: u64, fork: usize| {
        move |page: u64| {
            let page_text = text(generation << 20 | page);
            if fork == 0 {
                page_text
            } else {
                changed(&page_text, 4, page)
            }
        }
    };
    let mut held = Vec::new();
    for generation in 1..=3 {
        for (n, fork) in forks.iter().enumerate() {
            write_all(fork, content(generation, n));
            assert_eq!(fork.evict().unwrap(), 4096);
        }
        let store = m.stats().store;
        // A version of each page by itself, the other as a difference, and the base, which is one
        // of the two.
        assert_eq!(
            (store.pages, store.deltas),
            (3 * 4096, 4096),
            "generation {generation}"
        );
        held.push(store.held_bytes);
        clean(&m);
    }
    assert!(held[2] < held[0] + held[0] / 16, "it grows: {held:?}");
    for (n, fork) in forks.iter().enumerate() {
        assert!(holds(fork, content(3, n)));
    }
    assert!(holds(&template, text));
}

/// Goal: bases that nothing is a difference to any more go when room is needed. Method: all that
/// was evicted is rewritten, and stays; then reclaim.
#[test]
fn idle_bases_go_under_pressure() {
    let m = memory(64 * MIB);
    let template = m.create(SpaceSize::fixed(4 * MIB)).unwrap();
    write_all(&template, text);
    let template = template.freeze().unwrap();
    let forks = [template.fork().unwrap(), template.fork().unwrap()];
    for fork in &forks {
        write_all(fork, |page| changed(&text(page), 4, page));
        fork.evict().unwrap();
    }
    let pinned: Vec<_> = forks
        .iter()
        .map(|fork| {
            write_all(fork, noise);
            fork.pin(0..fork.len()).unwrap()
        })
        .collect();
    let before = m.stats();
    assert_eq!(before.store.pages, 1024, "the bases are left");
    // What is not pinned is the template, which goes. A few of its pages may do so first, and are
    // the same as their bases.
    m.reclaim(u32::MAX);
    let freed = m.stats().counts.bases_freed;
    assert!(freed > 900, "{freed} of 1024 bases went");
    drop(pinned);
    clean(&m);
}

/// Goal: an eviction lowers the total, whatever the pages are. Method: a budget of 16 MiB, a
/// template of noise in the pool, two forks that wrote noise and text by turns; the total before
/// and after each call that moved something.
#[test]
fn evictions_lower_the_total() {
    let m = memory(16 * MIB);
    let template = m.create(SpaceSize::fixed(4 * MIB)).unwrap();
    write_all(&template, noise);
    let template = template.freeze().unwrap();
    let forks = [template.fork().unwrap(), template.fork().unwrap()];
    let content = |fork: u64| {
        move |page: u64| {
            let seed = (fork + 1) << 20 | page;
            if page.is_multiple_of(2) {
                noise(seed)
            } else {
                text(seed)
            }
        }
    };
    for (fork, space) in (0..).zip(&forks) {
        write_all(space, content(fork));
    }
    let first = m.stats();
    let mut went = 0;
    loop {
        let before = m.stats().usage.total;
        let now = m.reclaim(32);
        let after = m.stats().usage.total;
        went += now;
        if now == 0 {
            // Noise was tried: what the store grew by for that is kept ready, and is not much.
            (0..5).for_each(|_| assert_eq!(m.reclaim(32), 0));
            let last = m.stats().usage.total;
            assert!(
                last <= before + (64 << 10),
                "{before} bytes before noise was tried, {last} after it"
            );
            break;
        }
        assert!(
            after < before,
            "{now} pages went: {before} bytes before, {after} after"
        );
    }
    let last = m.stats();
    assert!((1024..1100).contains(&went), "{went} pages of text went");
    assert_eq!(last.store.raw, 0, "noise stays");
    let saved = first.usage.total - last.usage.total;
    assert!(saved > MIB + MIB / 2, "{saved} bytes were saved");
    for (fork, space) in (0..).zip(&forks) {
        assert!(holds(space, content(fork)));
    }
    assert!(holds(&template, noise));
    clean(&m);
}

/// Goal: what was evicted can come back. Method: a budget of 16 MiB, full of noise of forks, all of
/// it asked to go, as far as that is possible; then each page is used again.
#[test]
fn what_was_evicted_comes_back() {
    let m = memory(16 * MIB);
    let template = m.create(SpaceSize::fixed(4 * MIB)).unwrap();
    write_all(&template, noise);
    let template = template.freeze().unwrap();
    let fork = template.fork().unwrap();
    let content = |page: u64| noise(1 << 20 | page);
    write_all(&fork, content);
    let other = m.create(SpaceSize::fixed(16 * MIB)).unwrap();
    let filled = (0..pages(&other))
        .take_while(|page| {
            other
                .write(page * PAGE_SIZE as u64, noise(1 << 30 | page).as_slice())
                .is_ok()
        })
        .count() as u64;
    assert!(filled > 1500, "{filled} pages fill the rest");
    let _ = other.take_failure();
    for space in [&fork, &other] {
        space.evict().unwrap();
    }
    let full = m.stats().usage;
    assert!(
        full.limit - full.total > 128 << 10,
        "half of the reserve is left: {full:?}"
    );
    let touch = |space: &Space, page: u64| {
        // SAFETY: inside the space, which lives; nobody stores to it at the same time.
        unsafe {
            space
                .as_ptr()
                .as_ptr()
                .add((page * PAGE_SIZE as u64) as usize)
                .read_volatile()
        }
    };
    for page in 0..pages(&fork) {
        assert_eq!(touch(&fork, page), content(page)[0]);
        assert!(fork.take_failure().is_none(), "page {page} cannot come back");
    }
    for page in 0..filled {
        assert_eq!(touch(&other, page), noise(1 << 30 | page)[0]);
        assert!(other.take_failure().is_none(), "page {page} cannot come back");
    }
    assert!(holds(&fork, content));
    clean(&m);
}
