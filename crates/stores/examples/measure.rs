//! Nanoseconds and bytes per page of the compressed store, for the sorts of pages that clones
//! leave.
//!
//! `cargo run --release -p memfold-stores --example measure`. Each line: one sort, put on a new
//! store that holds its templates; bytes are the growth of what is charged, tables and all, over
//! the number of pages.

use memfold_host::addr::PageBytes;
use memfold_host::{Domain, Store, Stored};
use memfold_stores::CompressedStore;
use memfold_stores::conformance::Account;
use memfold_stores::conformance::pages::{Rng, blank, changed, filled, noise, text};
use std::time::Instant;

const PAGES: u64 = 20_000;
const TEMPLATES: u64 = 64;

fn main() {
    println!(
        "{:34} {:>8} {:>8} {:>8} {:>10}",
        "page", "put ns", "get ns", "free ns", "bytes/page"
    );
    let template: Vec<_> = (0..TEMPLATES).map(text).collect();
    let heap: Vec<_> = (0..TEMPLATES).map(objects).collect();
    run("zeros", &template, |_, _| blank());
    run("same-filled, word needs an entry", &template, |n, _| {
        filled(n << 8 | 0x5500_0000_0000_0000)
    });
    run("equal to the template", &template, |_, base| copy(base));
    for count in [1, 2, 4, 8, 32, 128] {
        run(
            &format!("template, {count} changes of 1-8 bytes"),
            &template,
            |n, base| changed(base, count, n),
        );
    }
    for count in [1, 8, 64] {
        run(
            &format!("heap, {count} objects of 32 bytes new"),
            &heap,
            |n, base| reallocated(base, count, n),
        );
    }
    run("heap, moved by 48 bytes", &heap, |n, base| shifted(base, n));
    run("zeros with 4 changes", &template, |n, _| changed(&blank(), 4, n));
    run("text, no near", &[], |n, _| text(n + 1000));
    run("heap objects, no near", &[], |n, _| objects(n + 1000));
    run("noise", &template, |n, _| noise(n + 1000));
    come_and_go();
    small_budget(&template);
    two_threads(&template);
}

/// A store as a full budget has it: 256 pages leave it, 256 others come, again and again.
fn come_and_go() {
    const STORED: u64 = 200_000;
    const ROUNDS: usize = 101;
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let put = |page: &PageBytes| store.put(Domain(0), page, None, &account).expect("no limit");
    let mut ids: Vec<_> = (0..STORED).map(|n| put(&text(n))).collect();
    let (mut rng, mut out, mut times) = (Rng::new(1), blank(), [const { Vec::new() }; 3]);
    for round in 0..ROUNDS as u64 {
        let gone: Vec<_> = (0..256).map(|_| ids.swap_remove(rng.below(ids.len()))).collect();
        let new: Vec<_> = (0..256).map(|n| text(STORED + round * 256 + n)).collect();
        let clock = Instant::now();
        gone.iter()
            .for_each(|&id| store.get(id, &mut out).expect("it is stored"));
        times[1].push(clock.elapsed().as_nanos() / 256);
        let clock = Instant::now();
        gone.iter().for_each(|&id| store.free(id, &account));
        times[2].push(clock.elapsed().as_nanos() / 256);
        let clock = Instant::now();
        ids.extend(new.iter().map(|page| put(page)));
        times[0].push(clock.elapsed().as_nanos() / 256);
    }
    let [put_ns, get_ns, free_ns] = times.map(|mut all| {
        all.sort_unstable();
        all[ROUNDS / 2]
    });
    let bytes = account.charged() as f64 / STORED as f64;
    let what = "text, 200,000 come and go";
    println!("{what:34} {put_ns:>8} {get_ns:>8} {free_ns:>8} {bytes:>10.1}");
}

/// How many clones' pages a budget of 2 MiB takes, templates included.
fn small_budget(templates: &[Box<PageBytes>]) {
    let (store, account) = (CompressedStore::with_seed(1), Account::limited(2 << 20));
    let put = |page: &PageBytes, near| store.put(Domain(0), page, near, &account);
    let bases: Vec<Stored> = templates
        .iter()
        .map(|page| put(page, None).expect("they fit"))
        .collect();
    let mut count = 0_usize;
    // Ends: when the budget is full.
    while let at = count % bases.len()
        && put(
            &changed(&templates[at], 1 + count % 8, count as u64),
            Some(bases[at]),
        )
        .is_ok()
    {
        count += 1;
    }
    println!(
        "2 MiB take {} templates and {count} pages with 1 to 8 changes: {:?}",
        bases.len(),
        store.stats()
    );
}

/// Wall time of a put and a get when one thread, and when two, work on one store.
fn two_threads(templates: &[Box<PageBytes>]) {
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let near = store
        .put(Domain(0), &templates[0], None, &account)
        .expect("no limit");
    let pages: Vec<_> = (0..PAGES)
        .map(|n| changed(&templates[0], 1 + n as usize % 8, n))
        .collect();
    for threads in [1, 2] {
        let clock = Instant::now();
        std::thread::scope(|scope| {
            for part in pages.chunks(pages.len() / threads) {
                let (store, account) = (&store, &account);
                scope.spawn(move || {
                    let mut out = blank();
                    for page in part {
                        let id = store.put(Domain(0), page, Some(near), account).expect("no limit");
                        store.get(id, &mut out).expect("it is stored");
                        store.free(id, account);
                    }
                });
            }
        });
        println!(
            "put + get + free of a delta, {threads} threads: {} ns a page",
            each(clock)
        );
    }
}

fn run(what: &str, templates: &[Box<PageBytes>], page: impl Fn(u64, &PageBytes) -> Box<PageBytes>) {
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let put = |page: &PageBytes, near| store.put(Domain(0), page, near, &account).expect("no limit");
    let bases: Vec<Stored> = templates.iter().map(|page| put(page, None)).collect();
    let before = account.charged();
    let zeros = blank();
    let pages: Vec<_> = (0..PAGES)
        .map(|n| {
            page(
                n,
                templates
                    .get((n % TEMPLATES) as usize)
                    .map_or(&zeros, |template| template),
            )
        })
        .collect();
    let clock = Instant::now();
    let ids: Vec<Stored> = (0..PAGES as usize)
        .map(|n| put(&pages[n], bases.get(n % TEMPLATES as usize).copied()))
        .collect();
    let put_ns = each(clock);
    let bytes = (account.charged() - before) as f64 / PAGES as f64;
    let mut out = blank();
    let clock = Instant::now();
    for &id in &ids {
        store.get(id, &mut out).expect("it is stored");
    }
    let get_ns = each(clock);
    let clock = Instant::now();
    ids.iter().for_each(|&id| store.free(id, &account));
    let free_ns = each(clock);
    println!("{what:34} {put_ns:>8} {get_ns:>8} {free_ns:>8} {bytes:>10.1}");
}

fn each(clock: Instant) -> u128 {
    clock.elapsed().as_nanos() / u128::from(PAGES)
}

fn copy(page: &PageBytes) -> Box<PageBytes> {
    changed(page, 0, 0)
}

/// A page of heap objects of 32 bytes: a type's address, two pointers into one heap, a small
/// number.
fn objects(seed: u64) -> Box<PageBytes> {
    let mut page = blank();
    reallocate(&mut page, 0..128, &mut Rng::new(seed));
    page
}

fn reallocated(base: &PageBytes, count: usize, seed: u64) -> Box<PageBytes> {
    let (mut page, mut rng) = (copy(base), Rng::new(seed));
    for _ in 0..count {
        let at = rng.below(128);
        reallocate(&mut page, at..at + 1, &mut rng);
    }
    page
}

fn reallocate(page: &mut PageBytes, objects: std::ops::Range<usize>, rng: &mut Rng) {
    for at in objects {
        let words = [
            0x10_0000 + rng.below(12) * 64,
            rng.below(1 << 20) * 32,
            rng.below(1 << 20) * 32,
            rng.below(100),
        ];
        for (n, word) in words.into_iter().enumerate() {
            page[at * 32 + n * 8..][..8].copy_from_slice(&(word as u64).to_le_bytes());
        }
    }
}

fn shifted(base: &PageBytes, seed: u64) -> Box<PageBytes> {
    let mut page = copy(base);
    page.copy_within(..4048, 48);
    reallocate(&mut page, 0..1, &mut Rng::new(seed));
    page
}
