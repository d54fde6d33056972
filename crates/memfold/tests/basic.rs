//! Spaces on real memory, one behaviour a test: content, sharing, eviction, pins, growth, errors.

use memfold::{Delivery, Error, Memory, PAGE_SIZE, Replacement, Space, SpaceSize};

const MIB: u64 = 1 << 20;

fn memory(budget: u64) -> Memory {
    Memory::builder()
        .budget_bytes(budget)
        .build()
        .expect("userfaultfd works here")
}

fn byte(space: &Space, at: usize) -> u8 {
    assert!((at as u64) < space.len());
    // SAFETY: inside the space, which lives; nobody stores to it at the same time.
    unsafe { space.as_ptr().as_ptr().add(at).read_volatile() }
}

fn set(space: &Space, at: usize, value: u8) {
    assert!((at as u64) < space.len());
    // SAFETY: inside the space, which lives; nobody else uses it at the same time.
    unsafe { space.as_ptr().as_ptr().add(at).write_volatile(value) }
}

fn stamp(space: &Space, seed: u64) {
    for page in 0..space.len() / PAGE_SIZE as u64 {
        // SAFETY: as `set`; the page is aligned.
        unsafe {
            let at = space
                .as_ptr()
                .as_ptr()
                .add((page * PAGE_SIZE as u64) as usize)
                .cast::<u64>();
            at.write_volatile(seed ^ page.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
    }
}

fn stamped(space: &Space, seed: u64) -> bool {
    (0..space.len() / PAGE_SIZE as u64).all(|page| {
        // SAFETY: as `byte`.
        let got = unsafe {
            space
                .as_ptr()
                .as_ptr()
                .add((page * PAGE_SIZE as u64) as usize)
                .cast::<u64>()
                .read_volatile()
        };
        got == seed ^ page.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

fn clean(memory: &Memory) {
    if let Err(all) = memory.check() {
        panic!("{}", all.join("\n"));
    }
}

/// Goal: a fresh space reads as zeros, without memory, and keeps what is stored, also over zeros
/// read before.
#[test]
fn zeros_then_stores() {
    let m = memory(64 * MIB);
    let s = m.create(SpaceSize::fixed(MIB)).unwrap();
    assert!(
        (0..s.len() as usize)
            .step_by(PAGE_SIZE)
            .all(|at| byte(&s, at) == 0)
    );
    assert_eq!(m.stats().usage.private, 0);
    for at in (0..s.len() as usize).step_by(2 * PAGE_SIZE) {
        set(&s, at, 7);
    }
    for at in (0..s.len() as usize).step_by(PAGE_SIZE) {
        assert_eq!(byte(&s, at), if at % (2 * PAGE_SIZE) == 0 { 7 } else { 0 });
    }
    clean(&m);
}

/// Goal: forks and forks of forks see what was there when they were made, whoever writes later.
#[test]
fn forks_are_snapshots() {
    let m = memory(64 * MIB);
    let a = m.create(SpaceSize::fixed(MIB)).unwrap();
    stamp(&a, 1);
    let b = a.fork().unwrap();
    set(&a, 0, 0xaa);
    let c = b.fork().unwrap();
    stamp(&b, 2);
    clean(&m);
    assert!(stamped(&c, 1));
    assert!(stamped(&b, 2));
    assert_eq!(byte(&a, 0), 0xaa);
    drop(b);
    clean(&m);
    assert!(stamped(&c, 1));
    let d = a.fork().unwrap();
    drop(a);
    clean(&m);
    assert_eq!(byte(&d, 0), 0xaa);
    stamp(&c, 3);
    assert!(stamped(&c, 3));
    clean(&m);
    drop((c, d));
    let usage = m.stats().usage;
    assert_eq!((usage.private, usage.pool), (0, 0));
}

/// Goal: forks share memory: a hundred readers of a megabyte hold about a megabyte.
#[test]
fn readers_share() {
    let m = memory(64 * MIB);
    let a = m.create(SpaceSize::fixed(MIB)).unwrap();
    stamp(&a, 5);
    let frozen = a.freeze().unwrap();
    let all: Vec<Space> = (0..100).map(|_| frozen.fork().unwrap()).collect();
    assert!(all.iter().all(|s| stamped(s, 5)));
    let usage = m.stats().usage;
    assert!(usage.private + usage.pool <= MIB + MIB / 8, "{usage:?}");
    assert_eq!(m.stats().pool_bytes, usage.pool);
    clean(&m);
}

/// Goal: spaces of four times the budget keep every byte inside it, whichever pages go first.
#[test]
fn budget_holds() {
    Replacement::ALL
        .iter()
        .for_each(|&policy| budget_holds_with(policy));
}

fn budget_holds_with(policy: Replacement) {
    let limit = 4 * MIB;
    let m = Memory::builder()
        .budget_bytes(limit)
        .replacement(policy)
        .build()
        .expect("userfaultfd works here");
    let all: Vec<Space> = (0..16)
        .map(|_| m.create(SpaceSize::fixed(MIB)).unwrap())
        .collect();
    for (n, s) in all.iter().enumerate() {
        stamp(s, n as u64);
    }
    for round in 0..3 {
        for (n, s) in all.iter().enumerate() {
            assert!(stamped(s, n as u64), "round {round}, space {n}");
        }
    }
    let stats = m.stats();
    assert!(stats.usage.peak <= limit, "{stats:?}");
    assert!(stats.counts.evictions > 0);
    drop(all);
    clean(&m);
}

/// Goal: what was evicted by hand comes back, for the space and for its forks.
#[test]
fn evicted_pages_come_back() {
    let m = memory(64 * MIB);
    let a = m.create(SpaceSize::fixed(MIB)).unwrap();
    stamp(&a, 9);
    let b = a.fork().unwrap();
    set(&b, 5, 1);
    for _ in 0..3 {
        a.evict().unwrap();
        assert_eq!(m.stats().usage.pool, 0);
        assert!(stamped(&a, 9));
        b.evict().unwrap();
        assert_eq!((byte(&b, 5), byte(&a, 5)), (1, 0));
        clean(&m);
    }
}

/// Goal: pinned memory can be handed to system calls, stays through eviction and is copied by a
/// fork.
#[test]
fn pins_hold() {
    use std::os::fd::AsRawFd;
    for delivery in [Delivery::InThread, Delivery::Thread] {
        let m = Memory::builder()
            .budget_bytes(32 * MIB)
            .delivery(delivery)
            .build()
            .unwrap();
        let a = m.create(SpaceSize::fixed(MIB)).unwrap();
        let (mut out, into) = std::io::pipe().unwrap();
        {
            let pinned = a.pin(100..20_000).unwrap();
            a.evict().unwrap();
            let file = std::fs::File::open("/dev/zero").unwrap();
            set(&a, 100, 3);
            let b = a.fork().unwrap();
            // SAFETY: the range is pinned: present and writable for the kernel.
            let n = unsafe { libc::read(file.as_raw_fd(), pinned.as_ptr().as_ptr().cast(), 19_900) };
            assert_eq!(n, 19_900);
            assert_eq!((byte(&a, 100), byte(&b, 100)), (0, 3));
            set(&a, 200, 8);
            clean(&m);
        }
        // SAFETY: the pointer is pinned for the time of the call.
        let n = unsafe {
            let pinned = a.pin(200..201).unwrap();
            libc::write(into.as_raw_fd(), pinned.as_ptr().as_ptr().cast(), 1)
        };
        assert_eq!(n, 1);
        let mut got = [0];
        std::io::Read::read_exact(&mut out, &mut got).unwrap();
        assert_eq!(got, [8]);
        clean(&m);
    }
}

/// Goal: a space grows in place, into zeros, and its fork has its length.
#[test]
fn grows_in_place() {
    let m = memory(64 * MIB);
    let a = m
        .create(SpaceSize {
            len: 1,
            reserve: 16 * MIB,
        })
        .unwrap();
    let base = a.as_ptr();
    set(&a, 4095, 1);
    a.grow(3 * MIB).unwrap();
    assert_eq!(a.as_ptr(), base);
    assert_eq!((byte(&a, 4095), byte(&a, 3 * MIB as usize - 1)), (1, 0));
    set(&a, 3 * MIB as usize - 1, 2);
    let b = a.fork().unwrap();
    assert_eq!(b.len(), 3 * MIB);
    assert_eq!(byte(&b, 3 * MIB as usize - 1), 2);
    assert!(matches!(a.grow(17 * MIB), Err(Error::Space(_))));
    assert!(matches!(a.grow(MIB), Err(Error::Space(_))));
    clean(&m);
}

/// Goal: a fork that went its own way is frozen at a new backing, with the same bytes.
#[test]
fn diverged_forks_freeze() {
    let m = memory(64 * MIB);
    let a = m.create(SpaceSize::fixed(MIB)).unwrap();
    stamp(&a, 1);
    let first = a.freeze().unwrap();
    let b = first.fork().unwrap();
    stamp(&b, 2);
    let second = b.freeze().unwrap();
    let held = m.stats().usage;
    let all: Vec<Space> = (0..50).map(|_| second.fork().unwrap()).collect();
    assert!(all.iter().all(|s| stamped(s, 2)));
    let now = m.stats().usage;
    assert!(
        now.private + now.pool <= held.private + held.pool,
        "{held:?} {now:?}"
    );
    assert!(stamped(&a, 1) && stamped(&b, 2));
    clean(&m);
}

/// Goal: a space says what its pages are.
#[test]
fn spaces_say_what_they_hold() {
    let m = memory(64 * MIB);
    let a = m.create(SpaceSize::fixed(MIB)).unwrap();
    for at in 0..10 {
        // Apart: a write that follows another gets pages ahead.
        set(&a, 2 * at * PAGE_SIZE, 1);
    }
    assert_eq!((a.stats().exclusive, a.stats().absent), (10, 246));
    let b = a.fork().unwrap();
    assert_eq!(
        (
            a.stats().shared,
            a.stats().exported,
            b.stats().shared,
            b.stats().exported
        ),
        (10, 10, 10, 0)
    );
    set(&b, 0, 2);
    b.evict_range(0..PAGE_SIZE as u64).unwrap();
    assert_eq!(
        (b.stats().swapped, b.stats().shared, b.stats().exclusive),
        (1, 9, 0)
    );
}

/// Goal: faults, reclaim in the faulting thread among them, need little stack.
/// Method: a thread with the smallest stack that std's own start-up leaves room in.
#[test]
fn faults_need_little_stack() {
    let m = Memory::builder()
        .budget_bytes(2 * MIB)
        .background(false)
        .build()
        .unwrap();
    let a = m.create(SpaceSize::fixed(4 * MIB)).unwrap();
    let small = std::thread::Builder::new().stack_size(64 << 10);
    std::thread::scope(|scope| {
        let run = || {
            stamp(&a, 1);
            assert!(stamped(&a, 1));
        };
        small.spawn_scoped(scope, run).unwrap().join().unwrap();
    });
    assert!(m.stats().counts.direct_reclaims > 0);
    clean(&m);
}

/// Goal: what cannot be is refused with a typed error, and nothing changes.
#[test]
fn errors_are_typed() {
    assert!(matches!(
        Memory::builder().budget_bytes(100_000).build(),
        Err(Error::Build(_))
    ));
    let m = memory(16 * MIB);
    assert!(matches!(
        m.create(SpaceSize::fixed(0)),
        Err(Error::BadSize { .. })
    ));
    assert!(matches!(
        m.create(SpaceSize::fixed(1 << 60)),
        Err(Error::BadSize { .. })
    ));
    let a = m.create(SpaceSize::fixed(MIB)).unwrap();
    assert!(matches!(a.write(MIB - 1, b"ab"), Err(Error::OutOfRange { .. })));
    assert!(matches!(
        a.read(u64::MAX, &mut [0]),
        Err(Error::OutOfRange { .. })
    ));
    a.write(MIB - 2, b"ab").unwrap();
    let mut two = [0; 2];
    a.read(MIB - 2, &mut two).unwrap();
    assert_eq!(&two, b"ab");
    clean(&m);
}

/// Goal: what does not compress and does not fit is refused, to this space only, and the rest goes
/// on.
#[test]
fn incompressible_beyond_the_budget() {
    let m = memory(4 * MIB);
    let ok = m.create(SpaceSize::fixed(MIB)).unwrap();
    stamp(&ok, 4);
    let noisy = m.create(SpaceSize::fixed(8 * MIB)).unwrap();
    let mut x = 1u64;
    let mut refused = None;
    let mut page = vec![0; PAGE_SIZE];
    for at in (0..noisy.len()).step_by(PAGE_SIZE) {
        for chunk in page.chunks_mut(8) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            chunk.copy_from_slice(&x.to_le_bytes());
        }
        if let Err(e) = noisy.write(at, &page) {
            refused = Some((at, e));
            break;
        }
    }
    let (at, e) = refused.expect("8 MiB of noise do not fit into 4 MiB");
    assert!(e.to_string().contains("budget"), "{e}");
    assert!(at > MIB, "only {at} bytes fitted");
    // Who was swapped out still runs, in the part of the budget that is kept for what comes back.
    assert!(stamped(&ok, 4));
    assert!(m.stats().usage.peak <= 4 * MIB);
    drop(noisy);
    stamp(&ok, 6);
    assert!(stamped(&ok, 6));
    clean(&m);
}
