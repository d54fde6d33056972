//! The kernel's own merging: whenever a process lets it in, what a space exported stays as it was
//! exported, or is refused.

use crate::child::isolated;
use crate::settings::Setting;
use crate::stamps::{DELIVERIES, PAGES, builder};
use memfold::{Failure, Memory, PAGE_SIZE, Space, SpaceSize};
use std::time::Duration;

const PR_SET_MEMORY_MERGE: i32 = 67;

/// Lets the kernel merge this process's memory, or not.
fn opt(into: bool) {
    // SAFETY: a setting of this process.
    let set = unsafe { libc::prctl(PR_SET_MEMORY_MERGE, libc::c_ulong::from(into), 0, 0, 0) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

fn number(file: &str) -> u64 {
    let text = std::fs::read_to_string(file).expect("the kernel has KSM");
    text.trim().parse().expect("a number")
}

/// Waits until ksmd has looked at everything a few times, or has merged so many pages of ours.
fn let_ksmd_work(enough: u64) -> u64 {
    let begin = number("/sys/kernel/mm/ksm/full_scans");
    for _ in 0..400 {
        std::thread::sleep(Duration::from_millis(10));
        let merged = number("/proc/self/ksm_merging_pages");
        if merged >= enough || number("/sys/kernel/mm/ksm/full_scans") > begin + 4 {
            break;
        }
    }
    number("/proc/self/ksm_merging_pages")
}

/// Equal pages, all over; ksmd's food.
fn fill(space: &Space, value: u8) {
    // SAFETY: the pages of a living space.
    unsafe { space.as_ptr().as_ptr().write_bytes(value, PAGES * PAGE_SIZE) };
}

/// How many pages have another value.
fn other(space: &Space, value: u8) -> usize {
    // SAFETY: bytes of a living space.
    let at =
        |&page: &usize| unsafe { space.as_ptr().as_ptr().add(page * PAGE_SIZE).read_volatile() } != value;
    (0..PAGES).filter(at).count()
}

/// A page of the process's own that ksmd may merge: shows that it works at all.
fn bait() -> usize {
    let bytes = PAGES * PAGE_SIZE;
    // SAFETY: fresh memory of our own.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let all = libc::PROT_READ | libc::PROT_WRITE;
        let at = libc::mmap(std::ptr::null_mut(), bytes, all, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        at.cast::<u8>().write_bytes(9, bytes);
        at as usize
    }
}

fn family(memory: &Memory) -> [Space; 2] {
    let size = SpaceSize::fixed((PAGES * PAGE_SIZE) as u64);
    let parent = memory.create(size).expect("room");
    fill(&parent, 7);
    let child = parent.fork().expect("room");
    [parent, child]
}

/// Goal: a process that opted in before it had spaces is as any other. Method: ksmd at full speed
/// over an exported page, which it would make writable; then stores by the parent.
#[test]
fn opted_in_before() {
    let Some(_ksmd) = Setting::ksmd() else { return };
    isolated("ksm::opted_in_before", || {
        for delivery in DELIVERIES {
            opt(true);
            let memory = builder(delivery).build().expect("userfaultfd");
            let [parent, child] = family(&memory);
            bait();
            assert!(let_ksmd_work(PAGES as u64 - 4) > 0, "ksmd works here");
            assert_eq!(memory.check(), Ok(()));
            fill(&parent, 8);
            assert_eq!((other(&child, 7), other(&parent, 8)), (0, 0));
            assert_eq!((child.take_failure(), parent.take_failure()), (None, None));
            assert_eq!(memory.check(), Ok(()));
        }
    });
}

/// What may become of a child whose parent's pages lost their protection: its old bytes, or a
/// failure that says so.
fn old_or_refused(memory: &Memory, child: &Space) {
    let mut bytes = [0; 8];
    let refused = (0..PAGES).filter(|page| match child.read((page * PAGE_SIZE) as u64, &mut bytes) {
        Ok(()) => {
            assert_eq!(bytes, [7; 8], "page {page}");
            false
        }
        Err(error) => {
            assert!(error.to_string().contains("PR_SET_MEMORY_MERGE"), "{error}");
            true
        }
    });
    println!(
        "{} of {PAGES} pages refused; check: {:?}",
        refused.count(),
        memory.check()
    );
}

/// Goal: a process that opts in while it has spaces learns what it has done; nobody reads another's
/// bytes. Method: ksmd over exported pages, stores by the parent, at which nobody has looked; then
/// the child reads, by the library and by its program.
#[test]
fn opted_in_later() {
    let Some(_ksmd) = Setting::ksmd() else { return };
    isolated("ksm::opted_in_later", || {
        let memory = Memory::builder().build().expect("userfaultfd");
        let [parent, child] = family(&memory);
        opt(true);
        assert!(let_ksmd_work(PAGES as u64 / 2) > 0, "ksmd works here");
        fill(&parent, 8);
        let found = memory.check().unwrap_err();
        assert!(
            found.iter().any(|line| line.contains("a shared frame writable")),
            "{found:?}"
        );
        for space in [&parent, &child] {
            let failure = space.take_failure().expect("both are told");
            assert!(matches!(failure, Failure::Host { .. }), "{failure}");
            assert!(failure.to_string().contains("PR_SET_MEMORY_MERGE"), "{failure}");
        }
        assert_eq!(memory.check(), Ok(()), "protected again");
        // From now on windows are kept out.
        let [parent, child] = family(&memory);
        let_ksmd_work(u64::MAX);
        fill(&parent, 8);
        assert_eq!(other(&child, 7), 0);
    });
}

/// Goal: the same where nobody looks before the child reads. Method: as above, without `check`.
#[test]
fn opted_in_later_and_read_at_once() {
    let Some(_ksmd) = Setting::ksmd() else { return };
    isolated("ksm::opted_in_later_and_read_at_once", || {
        let memory = Memory::builder().build().expect("userfaultfd");
        let [parent, child] = family(&memory);
        opt(true);
        assert!(let_ksmd_work(PAGES as u64 / 2) > 0, "ksmd works here");
        fill(&parent, 8);
        old_or_refused(&memory, &child);
    });
}

/// Goal: a process that opts out and in again is kept out as well. Method: that, between two forks.
#[test]
fn opted_out_and_in_again() {
    let Some(_ksmd) = Setting::ksmd() else { return };
    isolated("ksm::opted_out_and_in_again", || {
        opt(true);
        let memory = Memory::builder().build().expect("userfaultfd");
        let [parent, first] = family(&memory);
        opt(false);
        opt(true);
        fill(&parent, 7);
        let second = parent.fork().expect("room");
        let_ksmd_work(u64::MAX);
        fill(&parent, 8);
        old_or_refused(&memory, &second);
        assert_eq!(other(&second, 7), 0, "the fork parted with ksmd");
        old_or_refused(&memory, &first);
    });
}

/// Whether the kernel may merge the memory at an address, by the flags that it shows.
fn is_mergeable(addr: usize) -> bool {
    let all = std::fs::read_to_string("/proc/self/smaps").expect("our mappings");
    let mut inside = false;
    for line in all.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        if let Some((Some(from), Some(to))) = range.map(|(from, to)| (number(from), number(to))) {
            inside = (from..to).contains(&addr);
        } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
            return flags.split_whitespace().any(|flag| flag == "mg");
        }
    }
    panic!("nothing is mapped at {addr:#x}");
}

/// Goal: windows of a process that lets the kernel merge its memory are not mergeable, those that
/// were open before neither. Method: what the kernel shows of each mapping; needs no ksmd, so it
/// says the same each time.
#[test]
fn windows_are_kept_out() {
    if !std::path::Path::new("/sys/kernel/mm/ksm").exists() {
        return;
    }
    isolated("ksm::windows_are_kept_out", || {
        for delivery in DELIVERIES {
            opt(false);
            let memory = builder(delivery).build().expect("userfaultfd");
            let [parent, child] = family(&memory);
            opt(true);
            assert!(is_mergeable(bait()), "the process has opted in");
            let late = memory.create(SpaceSize::fixed(4096)).expect("room");
            for space in [&parent, &child, &late] {
                assert!(!is_mergeable(space.as_ptr().as_ptr() as usize));
            }
        }
    });
}
