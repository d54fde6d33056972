//! A file of the system as a source of pages: what it reads and writes, what it refuses to be, and
//! what it says when the system refuses.

mod common;

use common::child::{End, in_child};
use common::{Harness, bounded};
use memfold_host::addr::PAGE_SIZE;
use memfold_host::{FaultReply, Host, PageSource, Protection, SourceError};
use memfold_linux::inject::{Call, arm, disarm};
use memfold_linux::{Delivery, FileAccess, FileOpenError, FileSource};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const PAGE: u64 = PAGE_SIZE as u64;
const RW: FileAccess = FileAccess::ReadWrite;

/// A file of its own for each test, which goes with it.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("memfold-source-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).expect("room for a small file");
        Self(path)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.0).expect("it is there")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn source(at: &Temporary) -> FileSource {
    FileSource::open(&at.0, RW).expect("a file of ours")
}

/// Goal: pages are read and written at their places; what lies behind the end is zeros, but no page
/// begins there; a write makes no file longer; others make it shorter meanwhile.
#[test]
fn pages_of_a_file() {
    let file = Temporary::new("pages", &[7; PAGE_SIZE + 10]);
    let source = source(&file);
    let mut page = [1; PAGE_SIZE];
    assert_eq!(source.bytes(), Ok(PAGE + 10));
    source.read(1, &mut page).unwrap();
    assert_eq!((page[9], page[10], page[PAGE_SIZE - 1]), (7, 0, 0));
    assert_eq!(source.read(1 << 30, &mut page), Err(SourceError::Ended));
    source.write(1, &[8; PAGE_SIZE], 10).unwrap();
    source.sync().unwrap();
    assert_eq!(file.bytes()[PAGE_SIZE - 1..], [&[7][..], &[8; 10]].concat());
    source.resize(3 * PAGE).unwrap();
    assert_eq!((source.bytes(), file.bytes()[PAGE_SIZE + 10]), (Ok(3 * PAGE), 0));
    std::fs::write(&file.0, [9; 5]).expect("somebody else writes it");
    source.read(0, &mut page).unwrap();
    assert_eq!((source.bytes(), page[4], page[5]), (Ok(5), 9, 0));
    assert_eq!(
        source.read(u64::MAX / PAGE, &mut page),
        Err(SourceError::Os(libc::EFBIG))
    );
    drop(source);
    let source = FileSource::open(&file.0, FileAccess::ReadOnly).unwrap();
    assert!(!source.is_writable());
    assert_eq!(source.write(0, &page, 1), Err(SourceError::ReadOnly));
    assert_eq!(source.resize(0), Err(SourceError::ReadOnly));
    assert_eq!((source.read(0, &mut page), page[4]), (Ok(()), 9));
}

fn refused(opened: Result<FileSource, FileOpenError>) -> String {
    opened.map(drop).expect_err("it is refused").to_string()
}

/// Goal: what has no pages is refused with its name, and nobody waits for it.
#[test]
fn what_is_no_file() {
    let file = Temporary::new("kinds", b"bytes");
    let open = |path: &str| refused(FileSource::open(path, FileAccess::ReadOnly));
    assert!(open("/").starts_with("a directory cannot be mapped"));
    assert!(refused(FileSource::open("/", RW)).starts_with("a directory"));
    assert!(open("/dev/null").starts_with("a character device"));
    assert!(open("/no/such/file").starts_with("/no/such/file cannot be opened: No such file"));
    let (from, to) = std::io::pipe().unwrap();
    for end in [OwnedFd::from(from), OwnedFd::from(to)] {
        assert!(refused(FileSource::new(end, RW)).starts_with("a pipe"));
    }
    let (one, _) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(refused(FileSource::new(OwnedFd::from(one), RW)).starts_with("a socket"));
    let fifo = Temporary(file.0.with_extension("fifo"));
    let made = std::process::Command::new("mkfifo").arg(&fifo.0).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(open(fifo.0.to_str().unwrap()).starts_with("a pipe"));
    }
    let opened =
        |options: &mut std::fs::OpenOptions| refused(FileSource::new(options.open(&file.0).unwrap(), RW));
    assert!(opened(File::options().read(true)).contains("not opened for writing"));
    assert!(opened(File::options().write(true)).contains("not opened for reading"));
    assert!(opened(File::options().read(true).append(true)).contains("O_APPEND"));
    let path = libc::O_PATH;
    assert!(opened(File::options().read(true).custom_flags(path)).contains("O_PATH"));
}

/// Goal: pages are read and written in the middle of faults, also in the thread that answers them,
/// whose table of descriptors is older than the file.
#[test]
fn in_faults() {
    bounded(|| {
        for delivery in [Delivery::InThread, Delivery::Thread] {
            let harness = Harness::with(delivery);
            let file = Temporary::new("faults", &[3; 2 * PAGE_SIZE]);
            let source = source(&file);
            let view = harness.open(1, 0, 2);
            harness.rule(move |host, space, page, _| {
                let mut bytes = [0; PAGE_SIZE];
                let at = page.0.into();
                assert_eq!(source.bytes(), Ok(2 * PAGE));
                assert_eq!(source.read(at, &mut bytes), Ok(()));
                assert_eq!(source.write(at, &[4; PAGE_SIZE], 8), Ok(()));
                assert_eq!(source.sync(), Ok(()));
                host.fill(space, page, &bytes, Protection::Writable)
                    .expect("memory");
                FaultReply::Resolved
            });
            let word = u64::from_ne_bytes([3; 8]);
            assert_eq!((view.get(0, 0), view.get(1, 9)), (word, word));
            assert_eq!(
                file.bytes()[PAGE_SIZE..PAGE_SIZE + 9],
                [4, 4, 4, 4, 4, 4, 4, 4, 3]
            );
            harness.rule(|_, _, _, _| FaultReply::Failed);
        }
    });
}

/// The number at which this process has the file open.
fn number_of(path: &Path) -> i32 {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let ours = all
        .filter_map(Result::ok)
        .find(|entry| std::fs::read_link(entry.path()).is_ok_and(|of| of == path));
    let name = ours.expect("it is open").file_name();
    name.to_str().unwrap().parse().unwrap()
}

/// Goal: a program that closes our number, and opens another file at it, has its file left alone.
#[test]
fn a_closed_number() {
    let file = Temporary::new("closed", &[1; PAGE_SIZE]);
    let source = source(&file);
    let number = number_of(&file.0);
    assert!(number >= 128, "out of the way: {number}");
    let other = Temporary::new("other", &[2; PAGE_SIZE]);
    let theirs = File::options().read(true).write(true).open(&other.0).unwrap();
    // SAFETY: what a program does that closes numbers which it did not open; the number is its own
    // from then on.
    unsafe {
        assert_eq!(libc::dup2(theirs.as_raw_fd(), number), number);
    }
    let gone = Err(SourceError::Os(libc::EBADF));
    let mut page = [0; PAGE_SIZE];
    assert_eq!(source.bytes(), Err(SourceError::Os(libc::EBADF)));
    assert_eq!(source.read(0, &mut page), gone);
    assert_eq!(source.write(0, &page, PAGE_SIZE), gone);
    assert_eq!((source.sync(), source.resize(0)), (gone, gone));
    drop(source);
    assert_eq!((file.bytes()[0], other.bytes()), (1, vec![2; PAGE_SIZE]));
    // SAFETY: the number is the test's, and open still.
    assert_eq!(unsafe { libc::close(number) }, 0, "it was not closed by us");
}

/// Goal: what the system refuses is told with its code, and tried again next time. In a process of
/// its own: the plan of refusals, and the limit of files, are the process's.
#[test]
fn the_system_refuses() {
    let ended = in_child("the_system_refuses", calls_refused);
    assert_eq!(ended.map(|(end, _)| end), Some(End::Code(0)));
}

fn calls_refused() {
    let file = Temporary::new("refused", &[3; 4 * PAGE_SIZE]);
    let source = source(&file);
    let mut page = [0; PAGE_SIZE];
    for (call, code) in [
        (Call::FileRead, libc::EIO),
        (Call::FileWrite, libc::ENOSPC),
        (Call::FileWrite, libc::EIO),
        (Call::FileSync, libc::EIO),
        (Call::Truncate, libc::EIO),
    ] {
        let mut all = || {
            let read = source.read(1, &mut page);
            [
                (Call::FileRead, read),
                (Call::FileWrite, source.write(1, &[4; PAGE_SIZE], PAGE_SIZE)),
                (Call::FileSync, source.sync()),
                (Call::Truncate, source.resize(3 * PAGE)),
            ]
        };
        if !arm(call, 0, 1, code) {
            std::io::stderr()
                .write_all(b"SKIPPED: this build cannot refuse\n")
                .unwrap();
            break;
        }
        for (of, done) in all() {
            let expected = if of == call {
                Err(SourceError::Os(code))
            } else {
                Ok(())
            };
            assert_eq!(done, expected, "{of:?} while {call:?} is refused");
        }
        assert_eq!(disarm(), 0);
        assert_eq!(all().map(|(_, done)| done), [Ok(()); 4], "{call:?}");
    }
    let limit = libc::rlimit {
        rlim_cur: PAGE,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the kernel reads a live structure.
    let limited = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
    assert_eq!(limited, 0);
    let too_long = Err(SourceError::Os(libc::EFBIG));
    assert_eq!(source.write(1, &page, PAGE_SIZE), too_long, "and no signal");
    assert_eq!(source.resize(2 * PAGE), too_long);
    assert_eq!(source.write(0, &[5; PAGE_SIZE], PAGE_SIZE), Ok(()));
}
