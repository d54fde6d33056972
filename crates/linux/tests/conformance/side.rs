//! One side: a manager on one host, the bytes that must be there, and what each step came to, in
//! one line.

use std::collections::BTreeMap;
use std::sync::Arc;

use memfold_host::addr::{Access, PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_host::{Domain, Store};
use memfold_linux::inject::{Call, arm, disarm};
use memfold_linux::{Delivery, LinuxHost};
use memfold_mm::{Config, Digest, Effort, Merging, Mm, Ownership, Size, SpaceError, UNLIMITED, Usage};
use memfold_sim::{Rng, SimHost, SimStore};
use memfold_stores::CompressedStore;

use crate::machine::Machine;
use crate::ops::{Op, next};

const STEPS: u64 = 120;
const SPACES: usize = 14;

/// System calls and the codes with which they are refused.
const CALLS: [(Call, i32); 25] = [
    (Call::Truncate, libc::ENOSPC),
    (Call::PoolWrite, libc::ENOMEM),
    (Call::PoolWrite, libc::ENOSPC),
    (Call::PoolRead, libc::EIO),
    (Call::MapArena, libc::ENOMEM),
    (Call::MapWindow, libc::ENOMEM),
    (Call::MapWindow, libc::EAGAIN),
    (Call::MapDirect, libc::ENOMEM),
    (Call::Seal, libc::ENOMEM),
    (Call::Allow, libc::ENOMEM),
    (Call::DontFork, libc::EAGAIN),
    (Call::DontNeed, libc::EAGAIN),
    (Call::PopulateWrite, libc::ENOMEM),
    (Call::Register, libc::ENOMEM),
    (Call::Continue, libc::ENOMEM),
    (Call::Continue, libc::EEXIST),
    (Call::ZeroPage, libc::ENOMEM),
    (Call::ZeroPage, libc::EEXIST),
    (Call::Copy, libc::ENOMEM),
    (Call::Copy, libc::EEXIST),
    (Call::WriteProtect, libc::EAGAIN),
    (Call::WriteProtect, libc::ENOMEM),
    (Call::Splice, libc::ENOMEM),
    (Call::Splice, libc::EAGAIN),
    (Call::PipeRead, libc::ENOMEM),
];

struct Side<H, S> {
    mm: Arc<Mm<H, S>>,
    /// Spaces that live, oldest first, with what they must read as and what is pinned.
    live: Vec<(SpaceNo, Vec<u8>, Vec<Run>)>,
    /// Pages are brought in ahead of the access, so that a failure is an answer and no signal.
    ahead: bool,
}

/// Runs a seed on a host and prints a line for each step.
pub fn plain(host: &str, seed: u64) {
    match (host, seed % 2) {
        ("sim" | "still", 0) => steps(
            &mut Side::<SimHost, SimStore>::new(SimStore::new(seed), seed, delivery(host)),
            seed,
        ),
        ("sim" | "still", _) => steps(
            &mut Side::<SimHost, CompressedStore>::new(
                CompressedStore::with_seed(seed),
                seed,
                delivery(host),
            ),
            seed,
        ),
        (_, 0) => steps(
            &mut Side::<LinuxHost, SimStore>::new(SimStore::new(seed), seed, delivery(host)),
            seed,
        ),
        (_, _) => steps(
            &mut Side::<LinuxHost, CompressedStore>::new(
                CompressedStore::with_seed(seed),
                seed,
                delivery(host),
            ),
            seed,
        ),
    }
}

/// The same with areas of files.
pub fn files(host: &str, seed: u64) {
    match host {
        "sim" | "still" => crate::files::steps::<SimHost>(seed, delivery(host)),
        _ => crate::files::steps::<LinuxHost>(seed, delivery(host)),
    }
}

fn delivery(host: &str) -> Delivery {
    match host {
        "thread" | "still" => Delivery::Thread,
        _ => Delivery::InThread,
    }
}

fn steps<H: Machine, S: Store + 'static>(side: &mut Side<H, S>, seed: u64) {
    let mut rng = Rng::new(seed);
    for n in 0..STEPS {
        let op = next(&mut rng);
        println!("| seed {seed} step {n}: {op:?}");
        let outcome = side.apply(op);
        println!("| = {outcome:?} {}", side.result());
        if n % 8 == 7 {
            side.look();
        }
    }
    side.end();
}

/// Runs a seed on Linux; before each step a system call is refused.
pub fn refused(host: &str, seed: u64) {
    let mut side = Side::<LinuxHost, SimStore>::new(SimStore::new(seed), 0, delivery(host));
    side.ahead = true;
    let mut rng = Rng::new(seed ^ 0x7265_6675);
    for n in 0..STEPS {
        let op = next(&mut rng);
        let (call, errno) = CALLS[rng.below(CALLS.len() as u32) as usize];
        let times = [1, 1, 1, 4][rng.below(4) as usize];
        let before = memfold_mm::Digest::of(&side.mm);
        let reclaims = side.mm.stats().direct_reclaims;
        assert!(arm(call, u64::from(rng.below(3)), times, errno));
        let outcome = side.apply(op);
        disarm();
        println!("| seed {seed} step {n}: {op:?} {call:?} {errno} = {outcome:?}");
        if outcome.is_err() && single(op) && side.mm.stats().direct_reclaims == reclaims {
            let exports = matches!(op, Op::Fork { .. } | Op::Freeze { .. });
            unchanged(before, &memfold_mm::Digest::of(&side.mm), exports);
        }
        assert_eq!(memfold_mm::check(&side.mm), Ok(()));
        side.look();
    }
    side.end();
}

/// Whether the operation is one call of the manager that fails as a whole.
fn single(op: Op) -> bool {
    !matches!(
        op,
        Op::Fill { .. } | Op::Pin { .. } | Op::Unmerge { .. } | Op::Create { .. }
    )
}

/// After a fork that failed, the parent's pages may be down as shared though nobody shares them.
fn unchanged(mut before: Digest, after: &Digest, exports: bool) {
    for (no, space) in before.spaces.iter_mut().filter(|_| exports) {
        let pages = after.spaces.get(no).into_iter().flat_map(|space| &space.pages);
        for (page, now) in space.pages.iter_mut().flatten().zip(pages.flatten()) {
            if (page.ownership, now.ownership) == (Ownership::Exclusive, Ownership::Shared) {
                page.ownership = now.ownership;
            }
        }
    }
    assert_eq!(&before, after, "a failed operation left something");
}

impl<H: Machine, S: Store + 'static> Side<H, S> {
    fn new(store: S, seed: u64, delivery: Delivery) -> Self {
        let tight = seed % 3 == 2;
        let config = Config {
            replacement: memfold_mm::Replacement::default(),
            limit_bytes: if tight { 7 << 18 } else { UNLIMITED },
            machine_bytes: 64 << 20,
            spaces: SPACES as u32 + 2,
            store_bytes: store.stats().held_bytes,
            // Each machine has its own.
            page_tables: memfold_mm::PageTables::OnTop,
        };
        Self {
            mm: H::manager(store, config, delivery),
            live: Vec::new(),
            ahead: tight,
        }
    }

    fn nth(&self, n: u32) -> usize {
        n as usize % self.live.len()
    }

    fn page(&self, n: usize, page: u32) -> PageNo {
        PageNo(page % (self.live[n].1.len() / PAGE_SIZE) as u32)
    }

    fn run(&self, n: usize, page: u32, count: u32) -> Run {
        let pages = (self.live[n].1.len() / PAGE_SIZE) as u32;
        let first = page % pages;
        Run {
            first: PageNo(first),
            len: count.min(pages - first),
        }
    }

    fn apply(&mut self, op: Op) -> Result<u64, SpaceError> {
        match op {
            Op::Create { pages, domain } if self.live.len() < SPACES => self.create(pages, domain),
            Op::Reclaim { count } => Ok(self.mm.reclaim(count).into()),
            Op::Merge { count } => Ok(self.mm.merge(count.into(), Effort::Steady).merged),
            Op::MergeNow => self
                .mm
                .merge_round(None)
                .map(|step| step.merged << 32 | step.zeroed),
            _ if self.live.is_empty() => Ok(0),
            Op::Create { domain, .. } => self.drop_nth(domain as usize),
            Op::Drop { space } => self.drop_nth(self.nth(space)),
            Op::Fork { space } | Op::Freeze { space } if self.live.len() >= SPACES => {
                self.drop_nth(self.nth(space))
            }
            Op::Fork { space } => self.copy(space, |mm, from| mm.fork(from)),
            Op::Freeze { space } => self.copy(space, |mm, from| mm.freeze(from)),
            Op::Read { space, page, offset } => {
                let n = self.nth(space);
                self.read(n, self.page(n, page), offset, 64)
            }
            Op::Write {
                space,
                page,
                offset,
                value,
            } => {
                let n = self.nth(space);
                self.write(n, self.page(n, page), offset, &[value; 48])
            }
            Op::Fill {
                space,
                page,
                count,
                value,
            } => {
                let n = self.nth(space);
                for page in self.run(n, page, count).pages() {
                    self.write(n, page, 0, &[value; PAGE_SIZE])?;
                }
                Ok(0)
            }
            other => self.apply_to_space(other),
        }
    }

    fn apply_to_space(&mut self, op: Op) -> Result<u64, SpaceError> {
        match op {
            Op::Evict { space, page, count } => {
                let n = self.nth(space);
                self.mm.evict(self.live[n].0, self.run(n, page, count))
            }
            Op::Cold { space, page, count } => {
                let n = self.nth(space);
                self.mm
                    .advise_cold(self.live[n].0, self.run(n, page, count))
                    .map(|()| 0)
            }
            Op::Unmerge { space, page, count } => {
                let n = self.nth(space);
                self.mm.unmerge(self.live[n].0, self.run(n, page, count))
            }
            Op::Pin { space, page, count } => {
                let n = self.nth(space);
                let (no, run) = (self.live[n].0, self.run(n, page, count));
                self.mm.pin(no, run)?;
                self.mm.host().hold(no, run);
                self.live[n].2.push(run);
                Ok(0)
            }
            Op::KernelWrite { space, value } => {
                let n = self.nth(space);
                let (no, bytes, pins) = &mut self.live[n];
                if let Some(run) = pins.first() {
                    self.mm.host().kernel_store(*no, run.first, 40, &[value; 200]);
                    let at = run.first.0 as usize * PAGE_SIZE + 40;
                    bytes[at..at + 200].fill(value);
                }
                Ok(0)
            }
            Op::Unpin { space } => {
                let n = self.nth(space);
                self.unpin(n);
                Ok(0)
            }
            Op::Grow { space, by } => {
                let n = self.nth(space);
                let to = (self.live[n].1.len() / PAGE_SIZE) as u32 + by;
                self.mm.grow(self.live[n].0, to)?;
                self.live[n].1.resize(to as usize * PAGE_SIZE, 0);
                Ok(to.into())
            }
            other => panic!("{other:?} is done elsewhere"),
        }
    }

    /// A space and two cold forks of it, which merging can make one.
    fn create(&mut self, pages: u32, domain: u32) -> Result<u64, SpaceError> {
        let size = Size {
            len: pages,
            reserve: pages + 6,
        };
        let no = self.mm.create(size, Domain(domain))?;
        self.mm.set_merging(no, Merging::On).expect("it lives");
        self.live
            .push((no, vec![0; pages as usize * PAGE_SIZE], Vec::new()));
        for _ in 0..2usize.min(SPACES - self.live.len()) {
            let fork = self.mm.fork(no)?;
            self.live
                .push((fork, vec![0; pages as usize * PAGE_SIZE], Vec::new()));
        }
        Ok(no.0.into())
    }

    fn copy(
        &mut self,
        space: u32,
        copy: impl FnOnce(&Mm<H, S>, SpaceNo) -> Result<SpaceNo, SpaceError>,
    ) -> Result<u64, SpaceError> {
        let n = self.nth(space);
        let to = copy(&self.mm, self.live[n].0)?;
        self.live.push((to, self.live[n].1.clone(), Vec::new()));
        Ok(to.0.into())
    }

    fn unpin(&mut self, n: usize) {
        let (no, _, pins) = &mut self.live[n];
        if let Some(run) = pins.pop() {
            self.mm.host().let_go(*no, run);
            self.mm.unpin(*no, run);
        }
    }

    fn drop_nth(&mut self, n: usize) -> Result<u64, SpaceError> {
        let n = n % self.live.len();
        while !self.live[n].2.is_empty() {
            self.unpin(n);
        }
        self.mm.drop_space(self.live[n].0)?;
        self.live.remove(n);
        Ok(0)
    }

    /// Brings a page in before it is used, where a failed fault must be an answer.
    fn bring(&self, n: usize, page: PageNo, access: Access) -> Result<(), SpaceError> {
        if !self.ahead {
            return Ok(());
        }
        let no = self.live[n].0;
        let brought = self.mm.fault(no, page, access);
        assert_eq!(
            self.mm.take_failure(no),
            brought.err(),
            "a space remembers its first failure"
        );
        disarm();
        Ok(brought?)
    }

    fn read(&mut self, n: usize, page: PageNo, offset: usize, len: usize) -> Result<u64, SpaceError> {
        self.bring(n, page, Access::Read)?;
        let mut out = vec![0; len];
        H::load(&self.mm, self.live[n].0, page, offset, &mut out)?;
        let at = page.0 as usize * PAGE_SIZE + offset;
        assert_eq!(
            out,
            self.live[n].1[at..at + len],
            "page {page} of space {}",
            self.live[n].0
        );
        Ok(out.iter().map(|&byte| u64::from(byte)).sum())
    }

    fn write(&mut self, n: usize, page: PageNo, offset: usize, data: &[u8]) -> Result<u64, SpaceError> {
        self.bring(n, page, Access::Write)?;
        H::store(&self.mm, self.live[n].0, page, offset, data)?;
        let at = page.0 as usize * PAGE_SIZE + offset;
        self.live[n].1[at..at + data.len()].copy_from_slice(data);
        Ok(0)
    }

    /// All bytes of all spaces, as the tables say, and the invariants.
    fn look(&self) {
        let mut page = [0; PAGE_SIZE];
        for (no, bytes, _) in &self.live {
            for (n, expected) in bytes.chunks_exact(PAGE_SIZE).enumerate() {
                let read = self
                    .mm
                    .host()
                    .at_rest(|| self.mm.read_page(*no, PageNo(n as u32), &mut page));
                assert_eq!(read, Ok(()), "page {n} of space {no}");
                assert!(page == *expected, "page {n} of space {no}");
            }
        }
        assert_eq!(memfold_mm::check(&self.mm), Ok(()));
    }

    /// What the system is after a step: its digest, its charges, its counters.
    fn result(&self) -> String {
        let digest = memfold_mm::Digest::of(&self.mm);
        let pages: BTreeMap<u32, String> = digest
            .spaces
            .iter()
            .map(|(no, space)| (*no, format!("{space:?}")))
            .collect();
        let hash = pages
            .values()
            .flat_map(|text| text.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!(
            "{hash:016x} {:?} {:?} {:?}",
            digest.totals,
            Usage {
                page_tables: 0,
                ..self.mm.usage()
            },
            self.mm.stats()
        )
    }

    /// Programs read everything; then all spaces go, and nothing is left.
    fn end(&mut self) {
        self.ahead = true;
        for n in 0..self.live.len() {
            for page in (0..(self.live[n].1.len() / PAGE_SIZE) as u32).map(PageNo) {
                match self.read(n, page, 0, PAGE_SIZE) {
                    Ok(_) | Err(SpaceError::Fault(memfold_mm::FaultError::OverBudget { .. })) => (),
                    Err(error) => panic!("{error}"),
                }
            }
        }
        while let Some(last) = self.live.len().checked_sub(1) {
            self.drop_nth(last)
                .expect("the youngest shares with nobody who stays");
        }
        assert_eq!(memfold_mm::check(&self.mm), Ok(()));
        let usage = self.mm.usage();
        assert_eq!(
            (usage.private, usage.pool, usage.stored),
            (0, 0, 0),
            "something is left"
        );
    }
}
