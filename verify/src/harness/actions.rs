//! What each operation does on both sides. The oracle changes only after the manager has said yes.
//! How spaces come and go stands in `lives.rs`.

use super::Harness;
use super::lives::Unused;
use crate::audit::May;
use crate::stores::Built;
use crate::workload::{Op, Spot, pattern};
use memfold_host::addr::{PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_mm::{Effort, FaultError, Losses, SpaceError};
use memfold_sim::program::{self, Place};
use memfold_sim::{Miss, Moment};

impl<S: Built> Harness<S> {
    pub(super) fn apply(&mut self, op: Op) -> Result<(), SpaceError> {
        let full = self.live.len() >= self.mix.spaces as usize;
        match op {
            Op::Create(spot) if !full => self.create(spot),
            Op::Reclaim(spot) => {
                // As reclaim in the background does.
                self.mm.doomed().drop_all();
                self.mm.reclaim(spot.count % 40 + 1);
                Ok(())
            }
            _ if self.live.is_empty() => Ok(()),
            Op::Create(spot) | Op::Drop(spot) => {
                let unused = Unused::of(spot);
                self.drop_space(self.nth(spot.space), unused)
            }
            Op::Fork(spot) | Op::Freeze(spot) if full => {
                self.drop_space(self.nth(spot.count), Unused::of(spot))?;
                self.apply(op)
            }
            Op::Read(spot) => self.read(spot),
            Op::Write(spot) => self.write(spot, &[spot.value ^ 0x5a; 64][..spot.len]),
            Op::Fill(spot) => self.fill(spot),
            Op::Fork(spot) => {
                let from = self.space(spot.space);
                let to = self.ask_for(May::Export(from), |mm| mm.fork(from))?;
                self.admit(from, to);
                Ok(())
            }
            Op::Freeze(spot) => {
                let from = self.space(spot.space);
                let to = self.ask_for(May::Export(from), |mm| mm.freeze(from))?;
                self.admit(from, to);
                Ok(())
            }
            Op::Evict(spot) => self.evict(spot),
            Op::Cold(spot) => {
                let space = self.space(spot.space);
                self.ask(|mm| mm.advise_cold(space, self.run(space, spot)))
            }
            Op::Pin(spot) => self.pin(spot),
            Op::Unpin(spot) => {
                self.unpin(spot);
                Ok(())
            }
            Op::Grow(spot) => self.grow(spot),
            Op::Race(spot) => self.race(spot),
            Op::Mergeable(spot) => self.take_part(self.space(spot.space), spot),
            Op::Merge(spot) => {
                self.merge(spot);
                Ok(())
            }
            Op::MergeRound(spot) => self.merge_round(spot),
            Op::Unmerge(spot) => self.unmerge(spot),
            Op::Zero(spot) => self.zero(spot),
            Op::Reset(spot) => self.reset(spot),
            Op::Discard(spot) => self.discard(spot),
        }
    }

    /// The pages that an operation on a range is about.
    pub(super) fn run(&self, space: SpaceNo, spot: Spot) -> Run {
        let pages = self.oracle.pages(space);
        let first = spot.page % pages;
        Run {
            first: PageNo(first),
            len: 1 + spot.count % (pages - first).min(24),
        }
    }

    /// The pieces of an access, one a page, and where each begins in the data.
    fn pieces(
        &self,
        space: SpaceNo,
        spot: Spot,
        len: usize,
    ) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + use<S> {
        let end = self.oracle.pages(space) as usize * PAGE_SIZE;
        let at = (spot.page % self.oracle.pages(space)) as usize * PAGE_SIZE + spot.offset;
        let len = len.min(end - at);
        let cut = (PAGE_SIZE - at % PAGE_SIZE).min(len);
        [(at, 0..cut), (at + cut, cut..len)]
            .into_iter()
            .filter(|(_, range)| !range.is_empty())
    }

    /// A program's load, fault by fault.
    fn load(&self, space: SpaceNo, at: Place, out: &mut [u8]) -> Result<(), SpaceError> {
        self.patiently(space, || self.mm.host().load(space, at, out))
    }

    fn store(&self, space: SpaceNo, at: Place, data: &[u8]) -> Result<(), SpaceError> {
        self.patiently(space, || self.mm.host().store(space, at, data))
    }

    fn patiently(
        &self,
        space: SpaceNo,
        mut access: impl FnMut() -> Result<(), Miss>,
    ) -> Result<(), SpaceError> {
        for _ in 0..program::PATIENCE {
            let Err(miss) = access() else { return Ok(()) };
            let brought = self.ask(|mm| mm.fault(space, miss.page, miss.access));
            if let Err(error) = brought {
                self.go_on_by_standby(space, miss, error, &mut access);
                assert_eq!(
                    self.mm.take_failure(space),
                    Some(error),
                    "a space remembers its first failure"
                );
                return Err(error.into());
            }
        }
        panic!("an access to space {space} still misses after many faults that succeeded");
    }

    /// Host code goes on in a condemned space: none of its stores reaches a page, of this space or
    /// of another, which the next audit sees. May end early, when the machine refuses.
    fn go_on_by_standby(
        &self,
        space: SpaceNo,
        miss: Miss,
        error: FaultError,
        access: &mut impl FnMut() -> Result<(), Miss>,
    ) {
        let pages = self.oracle.pages(space);
        // The access itself, then pages around it: more than there are standby pages.
        let beside = (0..20).map(|n| PageNo((miss.page.0 + n) % pages));
        for page in beside {
            if Losses::of(&self.mm).sink(space, page).is_err() {
                // The machine refuses.
                continue;
            }
            let place = Place { page, offset: 0 };
            if self.mm.host().stores_go_through(space).contains(&page) {
                // A page of its own, which stores reach.
                let same = self.oracle.read(space, page.0 as usize * PAGE_SIZE, 3);
                assert_eq!(self.mm.host().store(space, place, same), Ok(()));
                continue;
            }
            let stored = match page == miss.page {
                true => access(),
                false => self.mm.host().store(space, place, &[0xee; 3]),
            };
            assert_eq!(stored, Ok(()), "page {page} of condemned space {space}");
            assert_eq!(self.mm.fault(space, page, miss.access), Err(error));
        }
        let mut out = [0; 3];
        let place = Place::of(u64::from(miss.page.0) * PAGE_SIZE as u64);
        let _ = self.mm.host().load(space, place, &mut out);
    }

    fn read(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let space = self.space(spot.space);
        for (at, range) in self.pieces(space, spot, spot.len) {
            let mut out = [0; 64];
            let out = &mut out[range];
            self.load(space, Place::of(at as u64), out)?;
            assert_eq!(
                out,
                self.oracle.read(space, at, out.len()),
                "bytes at {at} of space {space}"
            );
        }
        Ok(())
    }

    /// A program's store; to a pinned page, every second one is the kernel's.
    fn write(&mut self, spot: Spot, data: &[u8]) -> Result<(), SpaceError> {
        let n = self.nth(spot.space);
        let space = self.live[n].no;
        for (at, range) in self.pieces(space, spot, data.len()) {
            let (place, data) = (Place::of(at as u64), &data[range]);
            let held = self.live[n]
                .pins
                .iter()
                .any(|run| run.pages().any(|p| p == place.page));
            if held && spot.value & 1 == 1 {
                self.mm.host().kernel_store(space, place, data);
            } else {
                self.store(space, place, data)?;
            }
            self.oracle.write(space, at, data);
        }
        Ok(())
    }

    fn fill(&mut self, spot: Spot) -> Result<(), SpaceError> {
        for n in 0..spot.count % 16 + 1 {
            let bytes = pattern(
                spot.value & self.mix.patterns,
                self.tally.steps << 8 | u64::from(n),
            );
            self.write(
                Spot {
                    page: spot.page + n,
                    offset: 0,
                    ..spot
                },
                &*bytes,
            )?;
        }
        Ok(())
    }

    fn pin(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let n = self.nth(spot.space);
        let no = self.live[n].no;
        let run = self.run(
            no,
            Spot {
                count: spot.count % 4,
                ..spot
            },
        );
        self.ask_for(May::Own(no, run), |mm| mm.pin(no, run))?;
        self.mm.host().hold(no, run);
        self.live[n].pins.push(run);
        Ok(())
    }

    fn unpin(&mut self, spot: Spot) {
        let n = self.nth(spot.space);
        if !self.live[n].pins.is_empty() {
            self.unpin_nth(n, spot.count as usize % self.live[n].pins.len());
        }
    }

    pub(super) fn unpin_nth(&mut self, n: usize, pin: usize) {
        let no = self.live[n].no;
        let run = self.live[n].pins.swap_remove(pin);
        self.mm.host().let_go(no, run);
        self.mm.unpin(no, run);
    }

    /// Another thread may store to one of the pages as it goes.
    fn evict(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let space = self.space(spot.space);
        let run = self.run(space, spot);
        let raced = spot.value & 1 == 1;
        if raced {
            let host = self.mm.host();
            host.arm_race(Moment::Taken, space, run.first, spot.offset, spot.value);
        }
        let evicted = self.ask(|mm| mm.evict(space, run)).map(|_| ());
        if self.mm.host().disarm_races() == 0 && raced {
            let at = run.first.0 as usize * PAGE_SIZE + spot.offset;
            self.oracle.write(space, at, &[spot.value]);
        }
        evicted
    }

    fn merge(&mut self, spot: Spot) {
        let effort = if spot.value & 1 == 0 {
            Effort::Steady
        } else {
            Effort::Everything
        };
        let step = self.mm.merge(u64::from(spot.count), effort);
        assert!(
            step.scanned < u64::from(spot.count) + 128,
            "a step for {} pages looked at {}",
            spot.count,
            step.scanned
        );
    }

    /// A round over all, or over a space and its siblings.
    fn merge_round(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let space = self.space(spot.space);
        let page = PageNo(spot.page % self.oracle.pages(space));
        let raced = spot.value & 1 == 1;
        if raced {
            let host = self.mm.host();
            host.arm_race(Moment::LookedAt, space, page, spot.offset, spot.value);
        }
        let whom = (spot.value & 2 == 0).then_some(space);
        let merged = self.ask(|mm| mm.merge_round(whom)).map(|_| ());
        if self.mm.host().disarm_races() == 0 && raced {
            let at = page.0 as usize * PAGE_SIZE + spot.offset;
            self.oracle.write(space, at, &[spot.value]);
        }
        merged
    }

    /// Page by page, so that each either is the space's own afterwards or as it was.
    fn unmerge(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let space = self.space(spot.space);
        let run = self.run(space, spot);
        for page in run.pages() {
            self.ask(|mm| mm.unmerge(space, Run::one(page)))?;
        }
        for page in run.pages() {
            let own = self.ask(|mm| mm.unmerge(space, Run::one(page)))?;
            assert_eq!(
                own, 0,
                "page {page} of space {space} is shared after it was unmerged"
            );
        }
        Ok(())
    }

    fn zero(&mut self, spot: Spot) -> Result<(), SpaceError> {
        for n in 0..spot.count % 8 + 1 {
            let at = Spot {
                page: spot.page + n,
                offset: 0,
                value: 0,
                ..spot
            };
            self.write(at, &[0; PAGE_SIZE])?;
        }
        Ok(())
    }

    /// One thread loads while another stores to the same page, which may never have been touched.
    fn race(&mut self, spot: Spot) -> Result<(), SpaceError> {
        let space = self.space(spot.space);
        let page = PageNo(spot.page % self.oracle.pages(space));
        let at = page.0 as usize * PAGE_SIZE + spot.offset;
        let place = Place {
            page,
            offset: spot.offset,
        };
        self.mm
            .host()
            .arm_race(Moment::ZerosShown, space, page, spot.offset, spot.value);
        let mut out = [0];
        let loaded = program::load(&self.mm, space, place, &mut out);
        let stored = self.mm.host().disarm_races() == 0;
        let _ = self.mm.take_failure(space);
        if loaded.is_err() && stored {
            // The store was under way when its page could not be kept: it is there, or the space
            // says that it is not.
            let mut now = [0; PAGE_SIZE];
            self.mm
                .host()
                .at_rest(|| self.mm.store().calm(|| self.mm.read_page(space, page, &mut now)))?;
            self.oracle.write(space, at, &now[spot.offset..=spot.offset]);
        } else if stored {
            self.oracle.write(space, at, &[spot.value]);
        }
        loaded?;
        assert_eq!(
            out,
            self.oracle.read(space, at, 1),
            "the byte at {at} of space {space}"
        );
        Ok(())
    }
}
