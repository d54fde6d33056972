//! Settings that make the kernel hold more than was asked for: huge pages, locked memory, core
//! dumps, a small group. Judged by what the kernel counts.

use crate::child::{in_child, isolated};
use crate::settings::{Group, Setting};
use crate::stamps::{DELIVERIES, PAGES, builder, stamped, whole};
use memfold::{Delivery, Memory, PAGE_SIZE, Space, SpaceSize, Warning};
use std::fs;
use std::sync::{Arc, Mutex};

const MIB: u64 = 1 << 20;

/// Bytes that the kernel counts for this process: private pages of windows and everything else
/// (`RssAnon`), and files in memory that it has mapped (`RssShmem`).
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let kib = |name: &str| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("Linux");
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse()
            .expect("a number")
    };
    (kib("RssAnon:") + kib("RssShmem:")) << 10
}

/// A family that uses the pool: spaces whose forks have read everything, here and there.
fn use_pool(memory: &Memory) -> Vec<Space> {
    let mut all = Vec::new();
    for stamp in 1..9 {
        let parent = stamped(memory, stamp);
        let frozen = parent.freeze().expect("room");
        let child = parent.fork().expect("room");
        whole(memory, &child, stamp);
        child.evict_range(0..child.len() / 3).expect("room in the store");
        whole(memory, &frozen, stamp);
        all.extend([parent, frozen, child]);
    }
    all
}

/// A space of which one page in each 2 MiB is in the pool.
fn scattered(memory: &Memory) -> Space {
    let space = memory.create(SpaceSize::fixed(16 * MIB)).expect("room");
    for at in (MIB..16 * MIB).step_by(2 << 20) {
        space.write(at, b"some").expect("room");
    }
    space.freeze().expect("room")
}

/// That the pool holds what is charged for it.
fn pool_is_as_charged(memory: &Memory) {
    let stats = memory.stats();
    assert_eq!(
        stats.pool_bytes, stats.usage.pool,
        "by the kernel's blocks, and charged"
    );
}

fn huge(setting: &str, test: &str) {
    let file = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    let Some(_setting) = Setting::change(file, setting) else {
        return;
    };
    isolated(test, || {
        for delivery in DELIVERIES {
            let memory = builder(delivery)
                .budget_bytes(16 * MIB)
                .build()
                .expect("userfaultfd");
            let all = use_pool(&memory);
            assert!(memory.stats().usage.pool > 0);
            pool_is_as_charged(&memory);
            for (n, space) in all.iter().enumerate() {
                whole(&memory, space, n as u64 / 3 + 1);
                space.evict().expect("room in the store");
            }
            assert_eq!(memory.stats().pool_bytes, 0, "nothing stays behind");
        }
    });
}

/// Goal: where the machine makes huge pages in files, the pool has none. Method: blocks against the
/// account.
#[test]
fn huge_always() {
    huge("always", "memory::huge_always");
}

/// Goal: the same for the setting that looks at the file's length, which in a pool is always long
/// enough.
#[test]
fn huge_within_size() {
    huge("within_size", "memory::huge_within_size");
}

/// Goal: the same for the setting that asks nobody.
#[test]
fn huge_forced() {
    huge("force", "memory::huge_forced");
}

/// Goal: where the machine begins to make huge pages when the memory is there already, that is
/// noticed, and said once, and it goes no further. Method: the setting is changed in between; the
/// kernel's count, and the events.
#[test]
fn huge_later() {
    let file = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    let Some(_setting) = Setting::change(file, "never") else {
        return;
    };
    isolated("memory::huge_later", || {
        for delivery in DELIVERIES {
            fs::write(file, "never").expect("its parent may");
            let memory = builder(delivery).budget_bytes(64 * MIB).background(false);
            let memory = memory.build().expect("userfaultfd");
            let all = use_pool(&memory);
            let [_here, _there] = [(); 2].map(|()| scattered(&memory));
            pool_is_as_charged(&memory);
            assert_eq!(memory.warnings(), []);
            fs::write(file, "always").expect("its parent may");
            let [_more, _still_more] = [(); 2].map(|()| scattered(&memory));
            let events = events(|| {
                let _ = (memory.stats(), memory.stats());
            });
            let warnings = memory.warnings();
            let [Warning::HugePool { held, charged }] = warnings[..] else {
                panic!("{warnings:?}, {:?}", memory.stats());
            };
            assert!(held > charged + MIB, "{held} of {charged}");
            assert_eq!(events, [warnings[0].to_string()]);
            let [_at_last, _no_more] = [(); 2].map(|()| scattered(&memory));
            let stats = memory.stats();
            assert_eq!(stats.pool_bytes - stats.usage.pool, held - charged, "{stats:?}");
            for (n, space) in all.iter().enumerate() {
                whole(&memory, space, n as u64 / 3 + 1);
            }
        }
    });
}

/// The texts of the warnings that are events while `body` runs in this thread.
fn events(body: impl FnOnce()) -> Vec<String> {
    let seen = Seen::default();
    let all = Arc::clone(&seen.0);
    tracing::subscriber::with_default(seen, body);
    let all = all.lock().expect("nobody panics");
    all.clone()
}

/// Notes the messages of warnings of memfold's.
#[derive(Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Seen {
    fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
        about.target() == "memfold"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        assert_eq!(*event.metadata().level(), tracing::Level::WARN);
        event.record(&mut Noting(&self.0));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Noting<'a>(&'a Mutex<Vec<String>>);

impl tracing::field::Visit for Noting<'_> {
    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().expect("nobody panics").push(format!("{value:?}"));
    }
}

/// Goal: a process that locks its memory holds what is charged, no whole pool and no whole windows;
/// and nothing hangs. Method: lock what is there and what comes, before and after; the kernel's
/// counts.
#[test]
fn all_locked() {
    isolated("memory::all_locked", || {
        for delivery in DELIVERIES {
            for early in [true, false] {
                let lock_all = || {
                    // SAFETY: locks memory; nothing changes.
                    let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
                    println!("mlockall: {locked}");
                };
                if early {
                    lock_all();
                }
                let memory = builder(delivery).budget_bytes(16 * MIB).background(false);
                let memory = memory.build().expect("userfaultfd");
                let all = use_pool(&memory);
                lock_all();
                let large = memory.create(SpaceSize::fixed(64 * MIB)).expect("addresses");
                large.write(5, b"some").expect("room");
                let clone = large.fork().expect("a window");
                // (By a handler thread: each page was populated through memfold, and is charged.)
                pool_is_as_charged(&memory);
                whole(&memory, all.last().expect("some"), 8);
                drop(all);
                drop(clone);
                // Stacks and heap of the test are locked as well; a populated window or pool would
                // be much more.
                let held = memory.stats().usage.total + 32 * MIB;
                assert!(resident() < held, "{} held, at most {held} expected", resident());
                // SAFETY: as above.
                unsafe { libc::munlockall() };
            }
        }
    });
}

fn flags_of(space: &Space) -> String {
    let smaps = fs::read_to_string("/proc/self/smaps").expect("Linux");
    let start = format!("{:x}-", space.as_ptr().as_ptr() as usize);
    let (_, ours) = smaps.split_once(&start).expect("the window is mapped");
    let line = ours.lines().find(|line| line.starts_with("VmFlags:"));
    line.expect("Linux").to_owned()
}

/// Goal: core dumps leave spaces out, unless they are asked for. Method: the kernel's flag of
/// windows and of the pool's mappings.
#[test]
fn core_dumps() {
    isolated("memory::core_dumps", || {
        for wanted in [false, true] {
            let memory = Memory::builder().core_dumps(wanted).build().expect("userfaultfd");
            let all = use_pool(&memory);
            for space in &all {
                let flags = flags_of(space);
                assert_eq!(flags.contains(" dd"), !wanted, "{flags}");
            }
            let smaps = fs::read_to_string("/proc/self/smaps").expect("Linux");
            let shared = smaps.split("\n55").chain(smaps.split("\n7f"));
            let pools = shared.filter(|part| {
                part.lines()
                    .next()
                    .is_some_and(|l| l.contains("r--s") && l.contains("memfd:memfold"))
            });
            for pool in pools {
                let flags = pool
                    .lines()
                    .find(|line| line.starts_with("VmFlags:"))
                    .expect("Linux");
                assert_eq!(flags.contains(" dd"), !wanted, "{flags}");
            }
        }
    });
}

/// Goal: a budget that the process's control group cannot hold is noticed at building. Method: a
/// group of 64 MiB, and budgets above and below.
#[test]
fn a_small_group() {
    let Some(group) = Group::of(64 * MIB) else { return };
    let ended = in_child("memory::a_small_group", || {
        Group::enter();
        let warnings = |builder: memfold::MemoryBuilder| builder.build().expect("userfaultfd").warnings();
        let budget = 128 * MIB;
        let expected = Warning::GroupLimit {
            limit: 64 * MIB,
            budget,
        };
        assert_eq!(
            warnings(builder(Delivery::InThread).budget_bytes(budget)),
            [expected]
        );
        assert!(expected.to_string().contains("lower the budget"));
        let said = events(|| assert_eq!(warnings(builder(Delivery::InThread)).len(), 1));
        assert!(
            said.len() == 1 && said[0].contains("lower the budget"),
            "{said:?}"
        );
        assert_eq!(warnings(builder(Delivery::InThread).budget_bytes(32 * MIB)), []);
        assert_eq!(memfold::linux::probe().group_limit, Some(64 * MIB));
    });
    drop(group);
    let (end, text) = ended.expect("the parent");
    assert_eq!(end, crate::child::End::Code(0), "{text}");
}

/// Goal: a limit for files is an error, and no deadly signal. Method: a limit a little beyond where
/// backings begin in the (sparse) pool; spaces until it is reached.
#[test]
fn a_file_limit() {
    isolated("memory::a_file_limit", || {
        let bytes = (1 << 40) + (1 << 30);
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: bytes,
        };
        // SAFETY: lowers a limit of this process.
        let set = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
        assert_eq!(set, 0);
        let memory = Memory::builder().build().expect("userfaultfd");
        let size = SpaceSize {
            len: (PAGES * PAGE_SIZE) as u64,
            reserve: 256 * MIB,
        };
        let made: Vec<_> = (0..6).map(|_| memory.create(size)).collect();
        let error = made.iter().find_map(|space| space.as_ref().err());
        let error = error.expect("six quarters").to_string();
        assert!(error.contains("ftruncate was refused (error 27)"), "{error}");
        assert!(
            error.contains("file-size limit (ulimit -f, RLIMIT_FSIZE)"),
            "{error}"
        );
        let fine = made.iter().filter(|space| space.is_ok()).count();
        assert!((2..=4).contains(&fine), "{fine} spaces of a quarter");
        assert_eq!(memory.check(), Ok(()));
        let limit = libc::rlimit {
            rlim_cur: 1 << 20,
            rlim_max: 1 << 20,
        };
        // SAFETY: as above.
        let set = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
        assert_eq!(set, 0);
        let error = Memory::builder()
            .build()
            .expect_err("no room for a pool")
            .to_string();
        assert!(
            error.contains("ulimit -f, RLIMIT_FSIZE, which is 1048576 bytes"),
            "{error}"
        );
    });
}

/// Goal: a process has room for many memories, and they leave room for others. Method: 100 of them,
/// each with a family; then addresses for the program itself.
#[test]
fn many_memories() {
    isolated("memory::many_memories", || {
        let all: Vec<(Memory, Space, Space)> = (1..=100)
            .map(|stamp| {
                let memory = builder(Delivery::InThread).background(false);
                let memory = memory.build().expect("a process has many");
                let space = stamped(&memory, stamp);
                let fork = space.fork().expect("addresses");
                (memory, space, fork)
            })
            .collect();
        for (n, (memory, space, fork)) in all.iter().enumerate() {
            whole(memory, space, n as u64 + 1);
            whole(memory, fork, n as u64 + 1);
        }
        // A large one beside them: windows of 4 TiB together, in arenas that grow.
        let large: Vec<Space> = (0..1024)
            .map(|_| all[0].0.create(SpaceSize::fixed(4 << 30)).expect("addresses"))
            .collect();
        drop(large);
        let own = Vec::<u8>::with_capacity(1 << 30);
        assert!(own.capacity() > 0);
    });
}
