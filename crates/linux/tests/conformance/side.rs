//! One side: a manager on one host, the bytes that must be there, and what is done to both.

use std::collections::BTreeMap;
use std::sync::Arc;

use memfold_host::addr::{Access, PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_host::{Domain, Store};
use memfold_linux::Delivery;
use memfold_linux::inject::disarm;
use memfold_mm::{Config, Effort, Merging, Mm, Size, SpaceError, UNLIMITED, Usage};

use crate::machine::Machine;
use crate::ops::Op;

const SPACES: usize = 14;

pub struct Side<H, S> {
    pub mm: Arc<Mm<H, S>>,
    /// Spaces that live, oldest first, with what they must read as and what is pinned.
    live: Vec<(SpaceNo, Vec<u8>, Vec<Run>)>,
    /// Pages are brought in ahead of the access, so that a failure is an answer and no signal.
    pub ahead: bool,
}

impl<H: Machine, S: Store + 'static> Side<H, S> {
    pub fn new(store: S, seed: u64, delivery: Delivery) -> Self {
        let tight = seed % 3 == 2;
        let config = Config {
            replacement: memfold_mm::Replacement::default(),
            native: memfold_mm::Native::On,
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

    pub fn apply(&mut self, op: Op) -> Result<u64, SpaceError> {
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
    pub fn look(&self) {
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
    pub fn result(&self) -> String {
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
    pub fn end(&mut self) {
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
