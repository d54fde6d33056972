//! Mapped files that others make shorter, file systems that are full, and programs that store
//! wherever they can.

use crate::child::{End, in_child, isolated};
use crate::stamps::{DELIVERIES, builder};
use memfold::{
    Error, Failure, FileAccess, FileError, MappedFile, Memory, OnLoss, PAGE_SIZE, Rights, SourceError, Space,
    SpaceSize, Through,
};
use std::path::{Path, PathBuf};

const PAGE: u64 = PAGE_SIZE as u64;
/// Pages of each file.
const PAGES: u64 = 256;
/// A budget that does not hold them all.
const BUDGET: u64 = 2 << 20;

/// A file that goes with the test.
struct Temporary(PathBuf);

impl Temporary {
    /// Each page begins with its number and 1,000.
    fn new(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("memfold-hostile-{}-{name}", std::process::id()));
        let page = |page: u64| {
            let mut bytes = vec![0; PAGE_SIZE];
            bytes[..8].copy_from_slice(&(page + 1000).to_ne_bytes());
            bytes
        };
        std::fs::write(&path, (0..PAGES).flat_map(page).collect::<Vec<u8>>()).expect("room for a file");
        Self(path)
    }

    /// The first words of its pages.
    fn words(&self) -> Vec<u64> {
        let bytes = std::fs::read(&self.0).expect("it is there");
        let word = |page: &[u8]| u64::from_ne_bytes(page[..8].try_into().expect("eight bytes"));
        bytes.chunks_exact(PAGE_SIZE).map(word).collect()
    }

    fn open(&self, memory: &Memory, access: FileAccess) -> MappedFile {
        memory.open(&self.0, access).expect("it is there")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn space(memory: &Memory, pages: u64) -> Space {
    memory.create(SpaceSize::fixed(pages * PAGE)).expect("room")
}

fn map(space: &Space, at: u64, file: &MappedFile, through: Through, rights: Rights) {
    let mapped = space.map(at * PAGE, file, 0..PAGES * PAGE, through, rights);
    mapped.expect("there is room");
}

fn first(space: &Space, page: u64) -> *mut u64 {
    assert!((page + 1) * PAGE <= space.len());
    let at = page as usize * PAGE_SIZE;
    space.as_ptr().as_ptr().wrapping_add(at).cast()
}

fn load(space: &Space, page: u64) -> u64 {
    // SAFETY: an aligned word of a living space.
    unsafe { first(space, page).read_volatile() }
}

fn store(space: &Space, page: u64, value: u64) {
    // SAFETY: an aligned word of a living space.
    unsafe { first(space, page).write_volatile(value) };
}

/// Goal: where others make a file shorter while it is mapped, an access behind its end ends like
/// one behind the end of a file that the kernel maps, by a signal; what lies before it, and every
/// other space, goes on.
#[test]
fn a_file_that_becomes_shorter() {
    let name = "files::a_file_that_becomes_shorter";
    let ended = in_child(name, || {
        let memory = builder(DELIVERIES[0]).budget_bytes(BUDGET).build();
        let memory = memory.expect("userfaultfd");
        let disk = Temporary::new(&std::env::temp_dir(), "shorter");
        let file = disk.open(&memory, FileAccess::ReadWrite);
        let (a, other) = (space(&memory, PAGES), space(&memory, 64));
        map(&a, 0, &file, Through::Shared, Rights::ReadWrite);
        (0..64).for_each(|page| store(&other, page, page));
        (0..PAGES / 2).for_each(|page| store(&a, page, page));
        let outside = std::fs::OpenOptions::new().write(true).open(&disk.0);
        outside
            .and_then(|outside| outside.set_len(PAGES / 2 * PAGE))
            .expect("it may");
        assert!((0..PAGES / 2).all(|page| load(&a, page) == page));
        assert!((0..64).all(|page| load(&other, page) == page));
        file.sync(0..PAGES / 2 * PAGE).expect("there is room");
        assert!((0..64).all(|page| disk.words()[page as usize] == page));
        assert_eq!(memory.check(), Ok(()));
        drop(std::fs::remove_file(&disk.0));
        println!("as it should be so far");
        println!("{}", load(&a, PAGES - 1));
    });
    if let Some((end, text)) = ended {
        assert!(text.contains("as it should be so far"), "{text}");
        assert_eq!(end, End::Signal(libc::SIGBUS), "{text}");
    }
}

/// The same, where losses are sunk: the failure is told, and a second space that maps the file is
/// none the worse.
#[test]
fn a_file_that_becomes_shorter_is_told() {
    isolated("files::a_file_that_becomes_shorter_is_told", || {
        for delivery in DELIVERIES {
            let builder = builder(delivery).budget_bytes(BUDGET).on_loss(OnLoss::Sink);
            let memory = builder.build().expect("userfaultfd");
            let disk = Temporary::new(&std::env::temp_dir(), "told");
            let file = disk.open(&memory, FileAccess::ReadWrite);
            let (a, b) = (space(&memory, PAGES), space(&memory, PAGES));
            for space in [&a, &b] {
                map(space, 0, &file, Through::Private, Rights::ReadWrite);
            }
            (0..8).for_each(|page| store(&b, PAGES - 1 - page, 7));
            let outside = std::fs::OpenOptions::new().write(true).open(&disk.0);
            outside
                .and_then(|outside| outside.set_len(PAGES / 2 * PAGE))
                .expect("it may");
            // Nobody is stuck, whatever is read or stored there.
            (0..PAGES - 8).for_each(|page| _ = load(&a, page));
            store(&a, PAGES - 3, 7);
            let failure = a.take_failure();
            assert!(matches!(failure, Some(Failure::BeyondEnd { .. })), "{failure:?}");
            assert_eq!(load(&a, 3), 1003);
            assert!(
                (0..8).all(|page| load(&b, PAGES - 1 - page) == 7),
                "b stored these itself"
            );
            assert_eq!((load(&b, 3), b.failure()), (1003, None));
            file.reload().expect("it may");
            assert_eq!(file.len(), PAGES / 2 * PAGE);
            assert_eq!(memory.check(), Ok(()));
        }
    });
}

/// Goal: a file system that is full is told to who syncs, loses no store and holds nobody up, and
/// when it has room again the file has all of them. Method: a file with holes on a file system of
/// 64 pages that only this process sees.
#[test]
fn a_full_file_system() {
    isolated("files::a_full_file_system", || {
        let folder = std::env::temp_dir().join(format!("memfold-full-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("room");
        if !mount(&folder, 64) {
            return println!("not tried: no file system can be mounted here");
        }
        for delivery in DELIVERIES {
            let path = folder.join(format!("{delivery:?}"));
            let holes = std::fs::File::create(&path).and_then(|file| file.set_len(PAGES * PAGE));
            holes.expect("holes need no room");
            let disk = Temporary(path);
            let builder = builder(delivery).budget_bytes(BUDGET).on_loss(OnLoss::Sink);
            let memory = builder.build().expect("userfaultfd");
            let file = disk.open(&memory, FileAccess::ReadWrite);
            let (a, other) = (space(&memory, PAGES), space(&memory, 1024));
            map(&a, 0, &file, Through::Shared, Rights::ReadWrite);
            (0..PAGES).for_each(|page| store(&a, page, page + 5));
            let code = SourceError::Os(libc::ENOSPC);
            let told = file.sync(0..file.len());
            assert!(
                matches!(told, Err(Error::File(FileError::Source(told))) if told == code),
                "{told:?}"
            );
            // Others go on, in a budget in which much cannot go.
            for round in 0..3 {
                (0..1024).for_each(|page| store(&other, page, page * round));
                assert!((0..1024).all(|page| load(&other, page) == page * round));
            }
            assert_eq!((a.failure(), other.failure()), (None, None));
            assert!(
                (0..PAGES).all(|page| load(&a, page) == page + 5),
                "no store is lost"
            );
            assert_eq!(memory.check(), Ok(()));
            assert!(mount(&folder, 2 * PAGES), "it was larger once");
            // What failed since is told once more.
            let _ = file.sync(0..file.len());
            file.sync(0..file.len()).expect("there is room");
            assert!((0..PAGES).all(|page| disk.words()[page as usize] == page + 5));
            drop((a, other, file, disk));
            assert_eq!(memory.check(), Ok(()));
            assert!(mount(&folder, 64), "it was as small once");
        }
    });
}

/// A file system of so many pages there, for this process alone, or of another size if there is
/// one; whether there is.
fn mount(folder: &Path, pages: u64) -> bool {
    let remount = if is_mounted(folder) { libc::MS_REMOUNT } else { 0 };
    let text = |text: String| std::ffi::CString::new(text).expect("no zeros");
    let target = text(folder.to_str().expect("plain").to_owned());
    let size = text(format!("size={}", pages * PAGE));
    let (tmpfs, root) = (c"tmpfs".as_ptr(), c"/".as_ptr());
    let none = std::ptr::null();
    // SAFETY: calls with whole strings, in a process that is the test's own.
    unsafe {
        (remount != 0
            || libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(none, root, none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) == 0)
            && libc::mount(tmpfs, target.as_ptr(), tmpfs, remount, size.as_ptr().cast()) == 0
    }
}

fn is_mounted(folder: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").expect("Linux");
    mounts.contains(folder.to_str().expect("plain"))
}

/// Goal: a program that stores to every page that it can reach changes those files that it may
/// store to, and nothing else; its failures are its own.
#[test]
fn a_program_that_stores_everywhere() {
    isolated("files::a_program_that_stores_everywhere", || {
        for delivery in DELIVERIES {
            let builder = builder(delivery).budget_bytes(BUDGET).on_loss(OnLoss::Sink);
            let memory = builder.build().expect("userfaultfd");
            let folder = std::env::temp_dir();
            let disks = ["read", "own", "all"].map(|name| Temporary::new(&folder, name));
            let [read, own, all] = disks
                .each_ref()
                .map(|disk| disk.open(&memory, FileAccess::ReadWrite));
            let (guest, tenant) = (space(&memory, 5 * PAGES), space(&memory, 3 * PAGES));
            map(&guest, PAGES, &read, Through::Private, Rights::Read);
            map(&guest, 2 * PAGES, &own, Through::Private, Rights::ReadWrite);
            map(&guest, 3 * PAGES, &all, Through::Shared, Rights::ReadWrite);
            guest.protect(0..PAGES * PAGE, Rights::None).expect("it may");
            for (n, file) in (0..).zip([&read, &own, &all]) {
                map(&tenant, n * PAGES, file, Through::Private, Rights::Read);
            }
            let mut failures = 0;
            for round in 1..4 {
                for page in (0..5 * PAGES).map(|n| n * 769 % (5 * PAGES)) {
                    store(&guest, page, round);
                    failures += u64::from(guest.take_failure().is_some());
                }
            }
            assert_eq!(failures, 3 * 2 * PAGES, "each store that is forbidden is told");
            assert!((2 * PAGES..5 * PAGES).all(|page| load(&guest, page) == 3));
            let seen = |n: u64| (0..PAGES).map(move |page| (n * PAGES + page, page + 1000));
            assert!((0..2).all(|n| seen(n).all(|(at, value)| load(&tenant, at) == value)));
            assert!(seen(2).all(|(at, _)| load(&tenant, at) == 3));
            assert_eq!(tenant.failure(), None);
            for file in [&read, &own, &all] {
                file.sync(0..file.len()).expect("there is room");
            }
            let untouched: Vec<u64> = (0..PAGES).map(|page| page + 1000).collect();
            assert_eq!(
                [disks[0].words(), disks[1].words()],
                [untouched.clone(), untouched]
            );
            assert_eq!(disks[2].words(), vec![3; PAGES as usize]);
            assert_eq!(memory.check(), Ok(()));
            let usage = memory.stats().usage;
            assert!(usage.peak <= usage.limit);
        }
    });
}
