//! A program that closes descriptors which it did not open: what was evicted comes back, or nothing
//! does; never zeros.

use crate::child::{End, in_child, isolated};
use crate::filter;
use crate::stamps::{DELIVERIES, PAGES, builder, stamp_page, stamped, strange, whole, word};
use memfold::{Delivery, Memory, PAGE_SIZE, Space};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// A memory with an evicted space, and its fork, half of which is in the pool.
fn evicted(delivery: Delivery) -> (Memory, Space, Space) {
    let memory = builder(delivery).budget_bytes(16 << 20).background(false);
    let memory = memory.build().expect("userfaultfd");
    let space = stamped(&memory, 1);
    let fork = space.fork().expect("room");
    assert_eq!(strange(&fork, 1), 0);
    space.evict_range(0..space.len() / 2).expect("room in the store");
    (memory, space, fork)
}

/// Closes every descriptor but the first three, as daemons do.
fn close_all() {
    // SAFETY: what is tested; nothing of this process needs them.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }, 0);
}

/// The numbers of memfold's descriptors.
fn ours() -> Vec<i32> {
    let entries = fs::read_dir("/proc/self/fd").expect("Linux").flatten();
    let mine = |entry: &fs::DirEntry| {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        let name = link.to_string_lossy().into_owned();
        ["memfd:memfold", "userfaultfd", "pagemap"]
            .iter()
            .any(|part| name.contains(part))
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_string_lossy().parse().expect("a number");
    entries.filter(mine).map(number).collect()
}

/// Goal: a program that closes everything goes on as if it had not. Method: `close_range`, then
/// loads, stores, forks, evictions, new spaces, drops; and again.
#[test]
fn closed() {
    isolated("descriptors::closed", || {
        for delivery in DELIVERIES {
            let (memory, space, fork) = evicted(delivery);
            for round in 0..3u64 {
                close_all();
                assert_eq!(strange(&space, 1), 0, "round {round}");
                whole(&memory, &fork, 1);
                stamp_page(&space, 1, 1);
                let last = space.fork().expect("a window");
                close_all();
                space.evict().expect("room in the store");
                whole(&memory, &last, 1);
                close_all();
                drop(last);
                whole(&memory, &stamped(&memory, round + 7), round + 7);
            }
            close_all();
            drop((space, fork));
            close_all();
            drop(memory);
            assert_eq!(ours(), [], "what came back was closed");
        }
    });
}

/// Every page by `read`: its bytes, or an error that says what the program did.
fn read_all(space: &Space) {
    for page in 0..PAGES {
        let mut seen = [0; 8];
        match space.read((page * PAGE_SIZE) as u64, &mut seen) {
            Ok(()) => assert_eq!(u64::from_ne_bytes(seen), word(1, page)),
            Err(error) => assert!(error.to_string().contains("closed by the program"), "{error}"),
        }
    }
}

/// Somebody else's file, named by the process of the test.
fn others_file(parent: u32) -> PathBuf {
    std::env::temp_dir().join(format!("memfold-others-{parent}"))
}

const OTHERS: &str = "somebody else's";

/// In a process whose descriptors are gone for good: errors or right bytes by the library, then by
/// the program's own loads right bytes or a signal.
fn goes_on_or_ends(memory: Memory, space: Space, fork: Space, delivery: Delivery) {
    let error = space.fork().map(drop).unwrap_err();
    assert!(error.to_string().contains("closed by the program"), "{error}");
    read_all(&space);
    read_all(&fork);
    println!("evicted: {:?}", space.evict());
    println!("loads begin");
    let wrong = strange(&space, 1) + strange(&fork, 1);
    assert_eq!(wrong, 0, "a load gave other bytes");
    assert_eq!(
        delivery,
        Delivery::Thread,
        "without descriptors no fault can be answered here"
    );
    std::mem::forget((memory, space, fork));
}

fn replaced(test: &str, delivery: Delivery) {
    fs::write(others_file(std::process::id()), OTHERS).expect("a file");
    let ended = in_child(test, || {
        let (memory, space, fork) = evicted(delivery);
        let numbers = ours();
        assert!(
            numbers.len() >= 3 && numbers.iter().all(|&number| number > 100),
            "{numbers:?}"
        );
        close_all();
        let file = others_file(std::os::unix::process::parent_id());
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(file)
            .expect("a file");
        for &number in &numbers {
            // SAFETY: the number is free.
            assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), number) }, number);
        }
        goes_on_or_ends(memory, space, fork, delivery);
    });
    let file = others_file(std::process::id());
    let text = fs::read_to_string(&file).expect("a file");
    fs::remove_file(&file).expect("a file");
    assert_eq!(text, OTHERS);
    ended_well(ended.expect("the parent"), delivery);
}

fn ended_well((end, text): (End, String), delivery: Delivery) {
    let fine = match delivery {
        Delivery::Thread => end == End::Code(0),
        Delivery::InThread => {
            matches!(end, End::Signal(libc::SIGBUS | libc::SIGABRT)) && text.contains("loads begin")
        }
    };
    assert!(fine, "{end:?}: {text}");
}

/// Goal: where other files stand at our numbers, nothing of ours is written to them, and no wrong
/// byte is given out. Method: a file at each number; every page by library and program; the file's
/// content.
#[test]
fn replaced_in_thread() {
    replaced("descriptors::replaced_in_thread", Delivery::InThread);
}

/// Goal: the same with a handler thread, which has a table of its own and goes on.
#[test]
fn replaced_by_thread() {
    replaced("descriptors::replaced_by_thread", Delivery::Thread);
}

fn gone(test: &str, delivery: Delivery) {
    let ended = in_child(test, || {
        let (memory, space, fork) = evicted(delivery);
        filter::refuse(libc::SYS_pidfd_getfd, libc::EPERM);
        close_all();
        goes_on_or_ends(memory, space, fork, delivery);
    });
    ended_well(ended.expect("the parent"), delivery);
}

/// Goal: where descriptors cannot be had back, an access ends the process and is no zeros. Method:
/// a filter that refuses it.
#[test]
fn gone_in_thread() {
    gone("descriptors::gone_in_thread", Delivery::InThread);
}

/// Goal: the same with a handler thread.
#[test]
fn gone_by_thread() {
    gone("descriptors::gone_by_thread", Delivery::Thread);
}
