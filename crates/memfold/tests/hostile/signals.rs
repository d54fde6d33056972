//! Signals: what a process does with them keeps faults from being answered in no way that could be
//! helped, and is told otherwise.

use crate::child::{End, in_child, isolated};
use crate::stamps::{DELIVERIES, PAGES, builder, stamp, stamped, strange, whole};
use memfold::{Delivery, Memory, PAGE_SIZE, Space, SpaceSize, ThreadError, Warning, check_thread};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

// Relaxed: counters and addresses that are set before signals come.
const COUNT: Ordering = Ordering::Relaxed;
static CALLS: AtomicU32 = AtomicU32::new(0);
static NEXT: AtomicUsize = AtomicUsize::new(0);

type Full = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Sets a handler; returns the one before.
fn set(signal: i32, handler: Full, flags: i32) -> usize {
    // SAFETY: zeros are an action; the handlers here are of the full kind.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | flags;
        assert_eq!(libc::sigaction(signal, &raw const action, &raw mut before), 0);
        before.sa_sigaction
    }
}

fn send(signal: i32) {
    // SAFETY: a signal to this process; this thread takes it before the call returns, if it does
    // not block it.
    unsafe { libc::raise(signal) };
}

/// Counts, and passes on to whoever was there before.
extern "C" fn passes_on(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    CALLS.fetch_add(1, COUNT);
    // SAFETY: what was there before is memfold's handler, of this kind.
    let next = unsafe { std::mem::transmute::<usize, Full>(NEXT.load(COUNT)) };
    next(signal, info, context);
}

/// Counts, and does nothing.
extern "C" fn keeps(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    CALLS.fetch_add(1, COUNT);
}

/// Spaces that hold more than a budget of 8 MiB when they are full.
fn large(memory: &Memory) -> Vec<Space> {
    let size = SpaceSize::fixed(2 << 20);
    (0..5).map(|_| memory.create(size).expect("room")).collect()
}

/// Fills them, so that reclaim runs inside faults, and reads them back.
fn under_pressure(spaces: &[Space]) {
    let at = |space: &Space, byte: usize| space.as_ptr().as_ptr().wrapping_add(byte);
    for (n, space) in spaces.iter().enumerate() {
        for page in 0..512 {
            // SAFETY: inside a living space.
            unsafe { at(space, page * PAGE_SIZE).write_bytes((page * 3 + n) as u8, 3000) };
        }
    }
    for (n, space) in spaces.iter().enumerate() {
        for page in 0..512 {
            // SAFETY: as above.
            let seen = unsafe { at(space, page * PAGE_SIZE + 2999).read_volatile() };
            assert_eq!(seen, (page * 3 + n) as u8);
        }
    }
}

/// Goal: a SIGBUS that somebody sends means what it meant without memfold, and the next fault is
/// answered. Method: std's handler lets the first one pass and the second one end the process.
#[test]
fn sent() {
    let ended = in_child("signals::sent", || {
        let memory = Memory::builder().build().expect("userfaultfd");
        let space = stamped(&memory, 1);
        send(libc::SIGBUS);
        space.evict().expect("room in the store");
        whole(&memory, &space, 1);
        println!("still here");
        send(libc::SIGBUS);
        println!("and here");
    });
    let (end, text) = ended.expect("the parent");
    assert!(
        text.contains("still here") && !text.contains("and here"),
        "{text}"
    );
    assert_eq!(end, End::Signal(libc::SIGBUS));
}

/// Goal: the same with a handler of the program's own, again and again.
#[test]
fn sent_to_a_handler() {
    isolated("signals::sent_to_a_handler", || {
        set(libc::SIGBUS, keeps, 0);
        let memory = Memory::builder().build().expect("userfaultfd");
        let space = stamped(&memory, 1);
        for round in 1..4 {
            send(libc::SIGBUS);
            assert_eq!(CALLS.load(COUNT), round);
            space.evict().expect("room in the store");
            whole(&memory, &space, 1);
        }
    });
}

/// A page that the interrupting handler stores to.
static TOUCHED: AtomicPtr<u64> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn touches(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let calls = CALLS.fetch_add(1, COUNT) as usize;
    let page = TOUCHED.load(COUNT).wrapping_add(calls % PAGES * PAGE_SIZE / 8);
    // SAFETY: an aligned word of a living space that is used by atomics only meanwhile.
    unsafe { AtomicU64::from_ptr(page) }.fetch_add(1, COUNT);
}

/// Goal: a program's handler that uses a space may interrupt anything, and waits for nothing that
/// it interrupted. Method: a timer every 50 us, and more written than the budget holds.
#[test]
fn handlers_use_spaces() {
    isolated("signals::handlers_use_spaces", || {
        let memory = Memory::builder()
            .budget_bytes(8 << 20)
            .build()
            .expect("userfaultfd");
        let touched = memory
            .create(SpaceSize::fixed((PAGES * PAGE_SIZE) as u64))
            .expect("room");
        TOUCHED.store(touched.as_ptr().as_ptr().cast(), COUNT);
        let spaces = large(&memory);
        set(libc::SIGALRM, touches, libc::SA_RESTART);
        let every = libc::timeval {
            tv_sec: 0,
            tv_usec: 50,
        };
        let timer = libc::itimerval {
            it_interval: every,
            it_value: every,
        };
        // SAFETY: a timer of this process.
        let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
        assert_eq!(set, 0);
        // Inside the library's own calls a handler must not use spaces: here the program only loads
        // and stores.
        for _ in 0..3 {
            under_pressure(&spaces);
        }
        // SAFETY: as above.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &std::mem::zeroed(), std::ptr::null_mut()) };
        // The last ones end, in whatever thread.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let calls = CALLS.load(COUNT);
        assert!(calls > 50, "{calls}");
        let sum: u64 = (0..PAGES)
            .map(|page| {
                let mut word = [0; 8];
                touched.read((page * PAGE_SIZE) as u64, &mut word).expect("room");
                u64::from_ne_bytes(word)
            })
            .sum();
        assert_eq!(sum, u64::from(calls));
        assert_eq!(touched.take_failure(), None);
    });
}

/// Goal: a handler on the small alternate stack that passes faults on costs no stack overflow, with
/// room and without. Method: reclaim inside faults; in threads with std's alternate stack.
#[test]
fn passed_on_from_a_small_stack() {
    isolated("signals::passed_on_from_a_small_stack", || {
        for budget in [64 << 20, 8 << 20] {
            let memory = Memory::builder()
                .budget_bytes(budget)
                .build()
                .expect("userfaultfd");
            NEXT.store(set(libc::SIGBUS, passes_on, libc::SA_ONSTACK), COUNT);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| under_pressure(&large(&memory)));
                }
            });
            assert!(CALLS.swap(0, COUNT) > 50);
        }
    });
}

/// Goal: a program may itself touch a space from a handler on the alternate stack. Method: the
/// same, from there.
#[test]
fn used_on_a_small_stack() {
    extern "C" fn works(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let space = TOUCHED.load(COUNT);
        for page in 0..2000 {
            // SAFETY: a word of a living space that nobody else uses.
            unsafe {
                space
                    .wrapping_add(page * PAGE_SIZE / 8)
                    .write_volatile(page as u64 * 0x9e37_79b9)
            };
        }
    }
    isolated("signals::used_on_a_small_stack", || {
        let memory = Memory::builder()
            .budget_bytes(4 << 20)
            .build()
            .expect("userfaultfd");
        let space = memory.create(SpaceSize::fixed(8 << 20)).expect("room");
        TOUCHED.store(space.as_ptr().as_ptr().cast(), COUNT);
        set(libc::SIGUSR1, works, libc::SA_ONSTACK);
        std::thread::spawn(|| send(libc::SIGUSR1))
            .join()
            .expect("no overflow");
        assert_eq!(space.take_failure(), None);
        assert_eq!(memory.check(), Ok(()));
    });
}

/// Goal: signals meant for the process never end up in a thread of ours. Method: the kernel's word
/// about each thread's mask.
#[test]
fn background_threads_block_signals() {
    isolated("signals::background_threads_block_signals", || {
        for delivery in DELIVERIES {
            let memory = builder(delivery).budget_bytes(8 << 20).merge_cpu_percent(1.0);
            let memory = memory.build().expect("userfaultfd");
            std::thread::sleep(std::time::Duration::from_millis(20));
            let mut ours = 0;
            for task in std::fs::read_dir("/proc/self/task").expect("Linux").flatten() {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                let field = |name: &str| {
                    status
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap_or("")
                        .trim()
                };
                let blocked = u64::from_str_radix(field("SigBlk:"), 16).unwrap_or(0);
                let all = [
                    libc::SIGTERM,
                    libc::SIGINT,
                    libc::SIGALRM,
                    libc::SIGCHLD,
                    libc::SIGPROF,
                ];
                let every = all.iter().all(|signal| blocked >> (signal - 1) & 1 == 1);
                if field("Name:").starts_with("memfold-") {
                    ours += 1;
                    assert!(every, "{status}");
                } else {
                    assert_eq!(blocked, 0, "others' threads are as they were: {status}");
                }
            }
            assert_eq!(ours, 3, "reclaimer, merger, keeper or fault thread");
            drop(memory);
            // They end by themselves, a moment later.
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
    });
}

/// Goal: a thread that cannot take faults is told so, before it dies. Method: SIGBUS blocked; the
/// handler replaced; little stack.
#[test]
fn unfit_threads_are_told() {
    isolated("signals::unfit_threads_are_told", || {
        let memory = Memory::builder().build().expect("userfaultfd");
        assert_eq!((memory.warnings(), check_thread()), (vec![], Ok(())));
        set(libc::SIGBUS, keeps, 0);
        assert_eq!(check_thread(), Err(ThreadError::Replaced));
        let again = Memory::builder().build().expect("userfaultfd");
        assert_eq!(
            (again.warnings(), check_thread()),
            (vec![], Ok(())),
            "chained again"
        );
        let space = stamped(&memory, 1);
        space.evict().expect("room in the store");
        whole(&memory, &space, 1);
        assert_eq!(CALLS.load(COUNT), 0);
        send(libc::SIGBUS);
        assert_eq!(CALLS.load(COUNT), 1, "what is not ours is still theirs");
        std::thread::spawn(|| {
            // SAFETY: this thread's own mask.
            unsafe {
                let mut mask: libc::sigset_t = std::mem::zeroed();
                libc::sigaddset(&raw mut mask, libc::SIGBUS);
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
            }
            assert_eq!(check_thread(), Err(ThreadError::Blocked));
            let memory = Memory::builder().build().expect("userfaultfd");
            assert_eq!(memory.warnings(), [Warning::Thread(ThreadError::Blocked)]);
            let other = Memory::builder()
                .delivery(Delivery::Thread)
                .build()
                .expect("userfaultfd");
            assert_eq!(other.warnings(), []);
        })
        .join()
        .expect("no panic");
        let little = std::thread::Builder::new()
            .stack_size(20 << 10)
            .spawn(check_thread)
            .expect("a thread");
        let little = little.join().expect("no panic");
        assert!(
            matches!(little, Err(ThreadError::LittleStack { .. })),
            "{little:?}"
        );
    });
}

/// Goal: a handler that passes signals on and then is replaced by ours again is no endless loop.
/// Method: two such in turn, then signals that are nobody's.
#[test]
fn chains_have_ends() {
    isolated("signals::chains_have_ends", || {
        set(libc::SIGBUS, keeps, 0);
        let memory = Memory::builder().build().expect("userfaultfd");
        NEXT.store(set(libc::SIGBUS, passes_on, 0), COUNT);
        let again = Memory::builder().build().expect("userfaultfd");
        assert_eq!(check_thread(), Ok(()));
        for round in 1..4 {
            send(libc::SIGBUS);
            assert_eq!(
                CALLS.load(COUNT),
                2 * round,
                "each once: the newer one, then the older one"
            );
        }
        for memory in [&memory, &again] {
            let space = stamped(memory, 1);
            space.evict().expect("room in the store");
            whole(memory, &space, 1);
        }
        assert_eq!(CALLS.load(COUNT), 6);
    });
}

fn emptied(test: &str, delivery: Delivery) {
    let ended = in_child(test, || {
        let memory = builder(delivery).build().expect("userfaultfd");
        let space = stamped(&memory, 1);
        let other = stamped(&memory, 2);
        let advice = libc::MADV_DONTNEED;
        // SAFETY: what is tested: a program that empties its own pages.
        let done = unsafe { libc::madvise(space.as_ptr().as_ptr().cast(), PAGE_SIZE, advice) };
        assert_eq!(done, 0);
        println!("an access begins");
        let wrong = strange(&space, 1);
        let failure = space.take_failure().expect("it is told");
        assert!(failure.to_string().contains("emptied"), "{failure}");
        assert_eq!(wrong, 1, "the other pages are there");
        stamp(&other, 3);
        assert_eq!((strange(&other, 3), other.take_failure()), (0, None));
    });
    let (end, text) = ended.expect("the parent");
    let signal =
        matches!(end, End::Signal(libc::SIGBUS | libc::SIGABRT)) && text.contains("an access begins");
    assert!(end == End::Code(0) || signal, "{end:?}: {text}");
}

/// Goal: a page that the program itself has emptied is lost and no endless loop: a failure of its
/// space, and no zeros in silence.
#[test]
fn emptied_in_thread() {
    emptied("signals::emptied_in_thread", Delivery::InThread);
}

/// Goal: the same with a handler thread.
#[test]
fn emptied_by_thread() {
    emptied("signals::emptied_by_thread", Delivery::Thread);
}
