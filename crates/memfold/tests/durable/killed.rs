//! A process that stores and syncs, and is killed at any moment.

use super::{PAGE, Rng, Temporary, WORD, WORDS, number, on_disk, words};
use memfold::{FileAccess, Memory, Rights, SpaceSize, Through};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Twice the budget.
const PAGES: u64 = 2048;
const BUDGET: u64 = 4 << 20;
/// Tells the child that it is one, and which file is meant.
const FILE: &str = "MEMFOLD_DURABLE_FILE";
const TEST: &str = "killed::what_was_synced_is_there";

/// Stores rounds of stamps and says what is synced, until it is killed.
fn store_and_sync(path: &Path) -> ! {
    let memory = Memory::builder()
        .budget_bytes(BUDGET)
        .build()
        .expect("userfaultfd works here");
    let file = memory.open(path, FileAccess::ReadWrite).expect("it is there");
    let space = memory.create(SpaceSize::fixed(PAGES * PAGE)).expect("room");
    let mapped = space.map(0, &file, 0..PAGES * PAGE, Through::Shared, Rights::ReadWrite);
    mapped.expect("there is room");
    let mut rng = Rng(u64::from(std::process::id()) | 1);
    let mut out = std::io::stdout();
    // The name of the test stands on the line.
    writeln!(out).expect("somebody reads");
    for round in 1_u64.. {
        let first = rng.below(PAGES);
        let end = (first + 1 + rng.below(900)).min(PAGES);
        for page in first..end {
            words(&space, page)
                .iter()
                .for_each(|word| word.store(round, WORD));
        }
        writeln!(out, "stored {round} {first} {end}").expect("somebody reads");
        // Some are left to whatever comes: eviction writes them, or nobody does.
        if round % 3 != 0 {
            file.sync(first * PAGE..end * PAGE)
                .expect("there is room on the disk");
            writeln!(out, "synced {round} {first} {end}").expect("somebody reads");
        }
    }
    unreachable!("rounds have no end")
}

/// What the file may have of each page: from what was synced last to what was stored last.
struct Known {
    synced: Vec<u64>,
    stored: Vec<u64>,
}

impl Known {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let what = words.next().expect("a word");
        let mut number = || {
            words
                .next()
                .and_then(|word| word.parse::<u64>().ok())
                .expect("a number")
        };
        let (round, first, end) = (number(), number(), number());
        let of = if what == "synced" {
            &mut self.synced
        } else {
            &mut self.stored
        };
        of[first as usize..end as usize].fill(round);
    }
}

/// Goal: whenever the process is killed, the file has all that a sync has acknowledged, and each
/// page is old or new. Method: the
/// child says what it stored and synced, on a pipe; what it did not come to say may be in the file
/// as well: a round later than the last one that it told.
#[test]
fn what_was_synced_is_there() {
    if let Some(path) = std::env::var_os(FILE) {
        store_and_sync(Path::new(&path));
    }
    let kills = number("MEMFOLD_KILLS", 20);
    let mut rng = Rng(0x2545_f491_4f6c_dd1d);
    let (mut rounds, mut beyond) = (0, 0);
    for kill in 0..kills {
        let file = Temporary::new(&format!("killed-{kill}"), PAGES);
        let known = killed_after(&file.0, Duration::from_micros(20_000 + rng.below(150_000)));
        let last = known.stored.iter().max().copied().unwrap_or(0);
        rounds += last;
        for page in 0..PAGES {
            let found = on_disk(&file.0, page);
            let synced = known.synced[page as usize];
            // Words are stored from the first to the last: in the middle of that an eviction may
            // have written the page.
            let halves: Vec<_> = found.chunk_by(|a, b| a == b).collect();
            let fine = |half: &&[u64]| (synced..=last + 1).contains(&half[0]);
            assert!(
                halves.len() <= 2 && found[0] >= found[WORDS - 1] && halves.iter().all(fine),
                "kill {kill}: page {page} has rounds {:?}, and {synced} was synced; {last} was told",
                halves
                    .iter()
                    .map(|half| (half[0], half.len()))
                    .collect::<Vec<_>>()
            );
            beyond += u64::from(found[0] > synced);
        }
    }
    println!("{kills} processes killed, {rounds} rounds stored, {beyond} pages newer than their last sync");
    assert!(rounds > kills, "they should come to something");
}

/// Starts the child on the file, kills it after so long, and returns what it said.
fn killed_after(path: &Path, time: Duration) -> Known {
    let mut child = Command::new(std::env::current_exe().expect("our own name"))
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut known = Known {
        synced: vec![0; PAGES as usize],
        stored: vec![0; PAGES as usize],
    };
    // The time begins with the first round, however long it took to get there.
    let mut kill = None;
    for line in lines.map_while(Result::ok) {
        if line.starts_with("stored") || line.starts_with("synced") {
            known.hear(&line);
            kill.get_or_insert_with(|| {
                let id = child.id().to_string();
                std::thread::spawn(move || {
                    std::thread::sleep(time);
                    Command::new("kill")
                        .args(["-9", &id])
                        .status()
                        .expect("kill is there")
                })
            });
        }
    }
    if let Some(kill) = kill {
        kill.join().expect("it was killed");
    }
    child.wait().expect("our child");
    known
}
