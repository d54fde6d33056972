//! Merging equal pages beside the kernel's ksmd: duplicates merged per second of processor time.
//!
//! Both sides get the same bytes: some copies of a memory of text, no two pages of which are equal.
//! Ours are independent spaces of one family, merged by one round; the kernel's are anonymous
//! mappings marked `MADV_MERGEABLE`, merged by ksmd without a throttle (it needs two scans, as it
//! is made). Counted is the processor time of the thread that does it, until all duplicates are
//! gone. The sides take turns in one run. The kernel's settings are put back at the end; they can
//! be changed by root alone, without whom only our side is measured.

use memfold::{Memory, Merging, PAGE_SIZE, SpaceSize};
use memfold_benches::{is_smoke_test, text};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const KSM: &str = "/sys/kernel/mm/ksm";

/// Fills a memory with text.
fn fill(base: *mut u8, bytes: usize) {
    for at in (0..bytes).step_by(PAGE_SIZE) {
        let mut page = [0; PAGE_SIZE];
        text((at / PAGE_SIZE) as u64, &mut page);
        // SAFETY: the caller owns `bytes` writable bytes from `base` on.
        unsafe { std::ptr::copy_nonoverlapping(page.as_ptr(), base.add(at), PAGE_SIZE) };
    }
}

/// Processor time for merging so many duplicates.
struct Cost {
    merged: u64,
    cpu: Duration,
}

impl Cost {
    fn per_second(&self) -> f64 {
        self.merged as f64 / self.cpu.as_secs_f64()
    }
}

fn ours(copies: usize, bytes: usize) -> Cost {
    let memory = Memory::builder()
        .merging(Merging::On)
        .build()
        .expect("userfaultfd works here");
    let root = memory.create(SpaceSize::fixed(bytes as u64)).expect("a space");
    let spaces: Vec<_> = (0..copies).map(|_| root.fork().expect("a fork")).collect();
    spaces
        .iter()
        .for_each(|space| fill(space.as_ptr().as_ptr(), bytes));
    let before = memfold::linux::thread_cpu_time();
    let step = memory.merge_now().expect("no limit");
    let cpu = memfold::linux::thread_cpu_time() - before;
    assert_eq!(step.merged as usize, (copies - 1) * bytes / PAGE_SIZE);
    Cost {
        merged: step.merged,
        cpu,
    }
}

fn read(name: &str) -> Option<String> {
    Some(
        fs::read_to_string(format!("{KSM}/{name}"))
            .ok()?
            .trim()
            .to_owned(),
    )
}

fn number(name: &str) -> u64 {
    read(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The kernel's settings, put back when this is dropped.
struct Ksm {
    found: Vec<(&'static str, String)>,
    clock: PathBuf,
}

impl Ksm {
    const NAMES: [&'static str; 3] = ["pages_to_scan", "sleep_millisecs", "run"];

    fn open() -> Result<Self, String> {
        let found = Self::NAMES.map(|name| read(name).map(|value| (name, value)));
        let Some(found) = found.into_iter().collect::<Option<Vec<_>>>() else {
            return Err(format!("this kernel has no {KSM}"));
        };
        let used = number("pages_shared") + number("pages_sharing") != 0;
        if used || found.iter().any(|(name, value)| *name == "run" && value != "0") {
            return Err("ksmd works for somebody else".into());
        }
        let clock = ksmd().ok_or("ksmd is not to be seen in /proc")?;
        let ksm = Ksm { found, clock };
        ksm.set("pages_to_scan", "1000000")?;
        ksm.set("sleep_millisecs", "0")?;
        Ok(ksm)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), String> {
        fs::write(format!("{KSM}/{name}"), value).map_err(|error| format!("{KSM}/{name}: {error}"))
    }

    /// Processor time of ksmd, by the scheduler's own account in nanoseconds.
    fn cpu(&self) -> Duration {
        let text = fs::read_to_string(&self.clock).expect("ksmd lives");
        let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
        Duration::from_nanos(nanos.expect("a number of nanoseconds"))
    }

    fn merge(&self, copies: usize, bytes: usize) -> Cost {
        let duplicates = ((copies - 1) * bytes / PAGE_SIZE) as u64;
        let all = copies * bytes;
        // SAFETY: a fresh anonymous mapping touches nothing of ours.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                all,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED, "no memory for {all} bytes");
        // SAFETY: the mapping above. Without huge pages, which ksmd would have to split first.
        unsafe { libc::madvise(base, all, libc::MADV_NOHUGEPAGE) };
        for copy in 0..copies {
            fill(base.cast::<u8>().wrapping_add(copy * bytes), bytes);
        }
        assert_eq!(number("pages_sharing"), 0, "nothing is left of an earlier round");
        let before = self.cpu();
        // SAFETY: the mapping above.
        let marked = unsafe { libc::madvise(base, all, libc::MADV_MERGEABLE) };
        assert_eq!(marked, 0, "this kernel cannot merge");
        self.set("run", "1").expect("allowed before");
        let end = Instant::now() + Duration::from_secs(120);
        let mut cost;
        loop {
            cost = Cost {
                cpu: self.cpu() - before,
                merged: number("pages_sharing"),
            };
            if cost.merged >= duplicates || Instant::now() > end {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // Unmerges and stops: what is left of this round does not count in the next.
        self.set("run", "2").expect("allowed before");
        // SAFETY: the mapping above, used no more.
        unsafe { libc::munmap(base, all) };
        assert!(
            cost.merged * 100 >= duplicates * 99,
            "ksmd found {} of {duplicates} duplicates",
            cost.merged
        );
        cost
    }
}

impl Drop for Ksm {
    fn drop(&mut self) {
        for (name, value) in &self.found {
            if let Err(error) = self.set(name, value) {
                eprintln!("cannot put back: {error}");
            }
        }
    }
}

/// Where the scheduler's account of ksmd stands.
fn ksmd() -> Option<PathBuf> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        (name.trim() == "ksmd").then(|| entry.path().join("schedstat"))
    })
}

fn main() {
    let smoke = is_smoke_test();
    let sizes: &[(usize, usize)] = if smoke {
        &[(2, 4)]
    } else {
        &[(2, 128), (8, 128), (2, 512), (8, 512)]
    };
    let ksm = if smoke {
        Err("not in a smoke test".to_owned())
    } else {
        Ksm::open()
    };
    if let Err(why) = &ksm {
        println!("only our side: {why}");
    }
    println!(
        "{:>18} {:>22} {:>22} {:>8}",
        "copies", "memfold pages/s of cpu", "ksmd pages/s of cpu", "ratio"
    );
    for &(copies, mib) in sizes {
        for _ in 0..if smoke { 1 } else { 3 } {
            let a = ours(copies, mib << 20);
            let theirs = ksm.as_ref().ok().map(|ksm| ksm.merge(copies, mib << 20));
            let (b, ratio) = match &theirs {
                Some(b) => (
                    format!("{:.0}", b.per_second()),
                    format!("{:.1}x", a.per_second() / b.per_second()),
                ),
                None => ("-".to_owned(), "-".to_owned()),
            };
            println!(
                "{copies:>6} x {mib:>4} MiB {:>22.0} {b:>22} {ratio:>8}",
                a.per_second()
            );
        }
    }
}
