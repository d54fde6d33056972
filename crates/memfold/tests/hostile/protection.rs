//! What else could take a protection away: each is tried on a live fork with stamps.
//!
//! The parent has exported all its pages; something is done to its window from beside, by the
//! process or by the kernel; then the parent stores to each page. The fork must still have what it
//! had, and the check must be content.

use crate::child::isolated;
use crate::settings::{Setting, Swap};
use crate::stamps::{DELIVERIES, PAGES, builder, stamp, stamped, strange, whole};
use memfold::{Memory, PAGE_SIZE, Space};

const BYTES: usize = PAGES * PAGE_SIZE;

/// Does `step` to the parent of a live fork, in both deliveries, before and after the fork has read
/// half of the pages.
fn survives(step: impl Fn(*mut libc::c_void)) {
    for delivery in DELIVERIES {
        let memory = builder(delivery).build().expect("userfaultfd");
        let parent = stamped(&memory, 1);
        let child = parent.fork().expect("room");
        let window = parent.as_ptr().as_ptr().cast();
        step(window);
        survived(&memory, &parent, &child);
        let grandchild = parent.fork().expect("room");
        step(window);
        step(child.as_ptr().as_ptr().cast());
        stamp(&parent, 3);
        whole(&memory, &grandchild, 2);
        whole(&memory, &child, 1);
    }
}

fn survived(memory: &Memory, parent: &Space, child: &Space) {
    assert_eq!(memory.check(), Ok(()));
    stamp(parent, 2);
    assert_eq!(strange(child, 1), 0, "pages changed with the parent's");
    whole(memory, child, 1);
    whole(memory, parent, 2);
}

fn advise(window: *mut libc::c_void, advice: libc::c_int) {
    // SAFETY: advice that keeps what memory holds.
    let done = unsafe { libc::madvise(window, BYTES, advice) };
    println!("madvise {advice}: {done}, {}", std::io::Error::last_os_error());
}

/// Goal: a program that changes the protection of a window's pages, to and fro, takes nothing from
/// ours.
#[test]
fn mprotect() {
    isolated("protection::mprotect", || {
        survives(|window| {
            for prot in [
                libc::PROT_NONE,
                libc::PROT_READ,
                libc::PROT_READ | libc::PROT_WRITE,
            ] {
                // SAFETY: ends with what it was.
                assert_eq!(unsafe { libc::mprotect(window, BYTES, prot) }, 0);
            }
        });
    });
}

/// Goal: advice about the window, as an allocator or a tuner gives it for any memory. Method: each
/// by itself.
#[test]
fn advice() {
    const MADV_COLLAPSE: libc::c_int = 25;
    isolated("protection::advice", || {
        for advice in [
            libc::MADV_HUGEPAGE,
            MADV_COLLAPSE,
            libc::MADV_COLD,
            libc::MADV_PAGEOUT,
            libc::MADV_WILLNEED,
            libc::MADV_RANDOM,
            libc::MADV_DOFORK,
            libc::MADV_DODUMP,
            libc::MADV_POPULATE_READ,
            libc::MADV_POPULATE_WRITE,
        ] {
            survives(|window| advise(window, advice));
        }
    });
}

/// Goal: locked memory is as any other. Method: one window, and all.
#[test]
fn locked() {
    isolated("protection::locked", || {
        // SAFETY: locking changes no memory.
        survives(|window| unsafe {
            println!("mlock {}", libc::mlock(window, BYTES));
            println!("munlock {}", libc::munlock(window, BYTES));
        });
        // SAFETY: as above.
        survives(|_| unsafe {
            println!(
                "mlockall {}",
                libc::mlockall(libc::MCL_CURRENT | libc::MCL_ONFAULT)
            );
            println!("munlockall {}", libc::munlockall());
        });
    });
}

/// Goal: pages that the kernel moves keep their protection. Method: to the node where they are, and
/// compaction.
#[test]
fn migrated() {
    isolated("protection::migrated", || {
        survives(|window| {
            let pages: Vec<_> = (0..PAGES)
                .map(|n| window.wrapping_byte_add(n * PAGE_SIZE))
                .collect();
            let (nodes, mut status) = ([0i32; PAGES], [0i32; PAGES]);
            // SAFETY: moves pages of this process, which keep their bytes.
            let moved = unsafe {
                let [pages, nodes] = [pages.as_ptr().cast::<libc::c_void>(), nodes.as_ptr().cast()];
                libc::syscall(
                    libc::SYS_move_pages,
                    0,
                    PAGES,
                    pages,
                    nodes,
                    status.as_mut_ptr(),
                    2,
                )
            };
            println!("move_pages: {moved}, {:?}", &status[..4]);
            println!(
                "compact_memory: {:?}",
                std::fs::write("/proc/sys/vm/compact_memory", "1")
            );
        });
    });
}

/// Goal: whoever tracks dirty and used pages does not undo ours. Method: every command of
/// `clear_refs`.
#[test]
fn soft_dirty() {
    isolated("protection::soft_dirty", || {
        for command in ["1", "2", "3", "4"] {
            survives(|_| {
                println!(
                    "{command}: {:?}",
                    std::fs::write("/proc/self/clear_refs", command)
                )
            });
        }
    });
}

/// Goal: huge pages never swallow protected ones. Method: everything set to `always`, khugepaged at
/// full speed.
#[test]
fn huge_pages() {
    let at = |name: &str, to| Setting::change(&format!("/sys/kernel/mm/transparent_hugepage/{name}"), to);
    let _settings = [
        at("enabled", "always"),
        at("shmem_enabled", "always"),
        at("khugepaged/scan_sleep_millisecs", "1"),
        at("khugepaged/pages_to_scan", "100000"),
        at("khugepaged/max_ptes_none", "511"),
    ];
    isolated("protection::huge_pages", || {
        survives(|window| {
            advise(window, libc::MADV_HUGEPAGE);
            std::thread::sleep(std::time::Duration::from_millis(50));
        });
    });
}

/// Goal: pages in swap keep their protection. Method: a swap file, and advice to page out.
#[test]
fn swapped() {
    let Some(_swap) = Swap::file(16 << 20) else { return };
    isolated("protection::swapped", || {
        survives(|window| {
            advise(window, libc::MADV_PAGEOUT);
            let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
            println!("{:?}", status.lines().find(|line| line.starts_with("VmSwap")));
        });
    });
}

/// Goal: a program that hands a window itself to ksmd, or unregisters it, breaks its own isolation
/// only as far as it is told: its relatives' bytes are right or refused. Method: `MADV_MERGEABLE`
/// on the window and `check`, while ksmd works.
#[test]
fn handed_to_ksmd() {
    let Some(_ksmd) = Setting::ksmd() else { return };
    isolated("protection::handed_to_ksmd", || {
        for delivery in DELIVERIES {
            let memory = builder(delivery).build().expect("userfaultfd");
            let parent = memory
                .create(memfold::SpaceSize::fixed(BYTES as u64))
                .expect("room");
            // SAFETY: the pages of a living space.
            unsafe { parent.as_ptr().as_ptr().write_bytes(7, BYTES) };
            let child = parent.fork().expect("room");
            advise(parent.as_ptr().as_ptr().cast(), libc::MADV_MERGEABLE);
            std::thread::sleep(std::time::Duration::from_millis(300));
            // SAFETY: as above.
            unsafe { parent.as_ptr().as_ptr().write_bytes(8, BYTES) };
            for page in 0..PAGES as u64 {
                let mut seen = [0; 4];
                match child.read(page * PAGE_SIZE as u64, &mut seen) {
                    Ok(()) => assert_eq!(seen, [7; 4], "page {page}"),
                    Err(error) => assert!(error.to_string().contains("write protection"), "{error}"),
                }
            }
            println!("{:?}", memory.check().map_err(|found| found.len()));
        }
    });
}
