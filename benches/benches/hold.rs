//! How long pins, a freeze and the end of a large space take, and how long others wait meanwhile.
//!
//! While one thread pins pages one by one and lets them go, freezes a space, or drops it, others do
//! what they always do, with a pause after each: one stores to a page of the space itself (where it
//! lives on) or of a relative, the other makes a clone of their template and drops it; a third asks
//! for one page to be reclaimed. Printed: the time of the operation, and the longest that each of
//! them took meanwhile, and while nothing else ran. On a machine with other work the longest is
//! often a turn of somebody else's: take the best of some runs.

use memfold::{Memory, PAGE_SIZE, Space, SpaceSize};
use memfold_benches::is_smoke_test;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pages of the spaces that others use.
const SMALL: usize = 256;

fn store(space: &Space, page: usize, value: u8) {
    assert!(page * PAGE_SIZE < space.len() as usize);
    // SAFETY: inside the space, which lives; only this thread stores to this page.
    unsafe {
        space
            .as_ptr()
            .as_ptr()
            .add(page * PAGE_SIZE)
            .write_volatile(value)
    };
}

fn fill(space: &Space, pages: usize, value: u8) {
    (0..pages).for_each(|page| store(space, page, value));
}

/// The longest of each of the others' operations.
#[derive(Clone, Copy, Default)]
struct Longest {
    fault: Duration,
    clone: Duration,
    reclaim: Duration,
}

/// Does something again and again until `end` says so; the longest time it took.
fn longest(end: &AtomicBool, mut step: impl FnMut(usize)) -> Duration {
    let (mut longest, mut count) = (Duration::ZERO, 0);
    // Relaxed: only says when to stop.
    while !end.load(Ordering::Relaxed) || count == 0 {
        let begin = Instant::now();
        step(count);
        longest = longest.max(begin.elapsed());
        count += 1;
        std::thread::sleep(Duration::from_micros(100));
    }
    longest
}

/// Runs `work` beside the others; how long it took, and they.
fn beside(memory: &Memory, template: &Space, used: &Space, work: impl FnOnce()) -> (Duration, Longest) {
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let fault = scope.spawn(|| {
            longest(&end, |n| {
                // Ageing or a fork has protected it, or it is new: each is a fault.
                let page = n % SMALL;
                let at = (page * PAGE_SIZE) as u64;
                let _ = used.evict_range(at..at + 1);
                store(used, page, n as u8);
            })
        });
        let clone = scope.spawn(|| longest(&end, |_| drop(template.fork().expect("room for a clone"))));
        let reclaim = scope.spawn(|| longest(&end, |_| assert!(memory.reclaim(1) < 1 << 20)));
        std::thread::sleep(Duration::from_millis(5));
        let begin = Instant::now();
        work();
        let took = begin.elapsed();
        // Relaxed: as above.
        end.store(true, Ordering::Relaxed);
        let found = Longest {
            fault: fault.join().expect("it faults"),
            clone: clone.join().expect("it clones"),
            reclaim: reclaim.join().expect("it reclaims"),
        };
        (took, found)
    })
}

fn print(what: &str, (took, longest): (Duration, Longest)) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{what:<34} {:>10.1} {:>10.2} {:>10.2} {:>10.2}",
        ms(took),
        ms(longest.fault),
        ms(longest.clone),
        ms(longest.reclaim)
    );
}

fn size(pages: usize) -> SpaceSize {
    SpaceSize::fixed(at(pages))
}

fn at(page: usize) -> u64 {
    (page * PAGE_SIZE) as u64
}

fn pins(memory: &Memory, template: &Space, pages: usize) {
    // The pages that the others use are not pinned.
    let range = SMALL..SMALL + pages;
    let space = memory.create(size(range.end)).expect("a space");
    fill(&space, range.end, 1);
    let mut pins = Vec::with_capacity(pages);
    let pin = || {
        for page in range.clone() {
            pins.push(space.pin(at(page)..at(page + 1)).expect("a pin"));
        }
    };
    print(
        "512 MiB pinned page by page",
        beside(memory, template, &space, pin),
    );
    let unpin = || drop(pins);
    print("and unpinned", beside(memory, template, &space, unpin));
    let pin = space.pin(at(range.start)..at(range.end)).expect("a pin");
    let unpin = || drop(pin);
    print(
        "512 MiB unpinned at once",
        beside(memory, template, &space, unpin),
    );
}

fn freeze_and_drop(memory: &Memory, template: &Space, small: &Space, pages: usize) {
    let space = memory.create(size(pages)).expect("a space");
    fill(&space, pages, 1);
    let mut frozen = None;
    let freeze = || frozen = Some(space.freeze().expect("room"));
    print(
        "freeze of 1 GiB, faults in it",
        beside(memory, template, &space, freeze),
    );
    let frozen = frozen.expect("made above");
    let clone = frozen.fork().expect("a clone");
    fill(&clone, pages, 2);
    let relative = frozen.fork().expect("a clone");
    let ends = || drop(clone);
    print(
        "drop of a clone, 1 GiB of its own",
        beside(memory, &frozen, &relative, ends),
    );
    fill(&space, pages, 3);
    let fork = space.fork().expect("a fork");
    let ends = || drop(space);
    print(
        "drop of 1 GiB that a fork shares",
        beside(memory, template, &fork, ends),
    );
    drop(fork);
    let ends = || drop((frozen, relative));
    print("drop of 1 GiB in the pool", beside(memory, template, small, ends));
}

fn main() {
    let smoke = is_smoke_test();
    let (pinned, large) = if smoke { (512, 1024) } else { (1 << 17, 1 << 18) };
    let memory = Memory::builder().build().expect("userfaultfd works here");
    // Pages that reclaim may take meanwhile.
    let other = memory.create(size(1 << 14)).expect("a space");
    fill(&other, 1 << 14, 3);
    let small = memory.create(size(SMALL)).expect("a space");
    fill(&small, SMALL, 1);
    let template = small.freeze().expect("room");
    println!("ms; the longest of others meanwhile: a fault, a clone of the template, a reclaim");
    println!(
        "{:<34} {:>10} {:>10} {:>10} {:>10}",
        "", "took", "fault", "clone", "reclaim"
    );
    let pause = || std::thread::sleep(Duration::from_millis(if smoke { 1 } else { 500 }));
    print("nothing", beside(&memory, &template, &small, pause));
    pins(&memory, &template, pinned);
    freeze_and_drop(&memory, &template, &small, large);
}
