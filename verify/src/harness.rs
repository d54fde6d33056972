//! The harness: the real manager on the simulated host, the oracle beside it, and one operation at
//! a time on both.
//!
//! Every read is compared at once. An operation may fail only for a stated reason that applies: no
//! room in a budget, a refused call, too many spaces. It has then changed nothing: no byte, which
//! the next audit sees, and while the harness is *watched* nothing else either, by the digest. Read
//! next: `harness/actions.rs`.

mod actions;
mod copies;
mod lives;

use crate::audit::{self, Before, May};
use crate::oracle::Oracle;
use crate::stores::Built;
use crate::workload::{Mix, Op};
use memfold_host::Domain;
use memfold_host::addr::{PageNo, Run, SpaceNo};
use memfold_mm::{Config, Door, FaultError, Giving, Mm, Native, Refuse, Size, SpaceError, UNLIMITED};
use memfold_sim::{Plan, Rng, SimHost};

/// A space that lives, and its pins.
#[derive(Debug)]
struct Live {
    no: SpaceNo,
    pins: Vec<Run>,
    /// The space that it comes from, by forks and frozen copies.
    family: SpaceNo,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations.
    pub steps: u64,
    /// Of these, such as ended in a stated error.
    pub failed: u64,
    /// Full comparisons.
    pub audits: u64,
    /// Calls of the host and of the store that were refused, under plans that have ended.
    pub refused: u64,
    /// Drops that were refused, and whose spaces were left to end when the machine lets them.
    pub left: u64,
    /// Of these, such as came to their end while operations went on.
    pub late: u64,
    /// Children of `fork(2)` that lived and died between two operations.
    pub copies: u64,
    /// Pages that were given up, since others needed the room that they had on loan.
    pub called_in: u64,
}

/// Both sides.
#[derive(Debug)]
pub struct Harness<S> {
    /// The real manager.
    pub mm: Mm<SimHost, S>,
    /// What is right.
    pub oracle: Oracle,
    live: Vec<Live>,
    filler: Option<(SpaceNo, Vec<PageNo>)>,
    mix: Mix,
    tally: Tally,
    store_base: u64,
    /// Whether a digest is taken before each call.
    watched: bool,
    /// Which charges are refused.
    rng: Rng,
}

impl<S: Built> Harness<S> {
    /// An empty harness.
    #[must_use]
    pub fn new(seed: u64, mix: &Mix) -> Self {
        let store = S::build(seed ^ 1);
        let store_base = store.stats().held_bytes;
        let policies = memfold_mm::Replacement::ALL;
        let config = Config {
            limit_bytes: mix.limit_bytes,
            machine_bytes: 64 << 20,
            spaces: mix.spaces,
            store_bytes: S::FIXED_BYTES,
            page_tables: memfold_mm::PageTables::Counted,
            replacement: policies[Rng::new(seed ^ 4).below(policies.len() as u32) as usize],
            native: Native::On,
        };
        let mm = Mm::new(SimHost::new(seed ^ 2), store, config).expect("the sizes of the mix");
        let mut harness = Self {
            mm,
            oracle: Oracle::default(),
            live: Vec::new(),
            filler: None,
            mix: *mix,
            tally: Tally::default(),
            store_base,
            watched: mix.refusals != 0,
            rng: Rng::new(seed ^ 3),
        };
        if mix.refusals != 0 {
            harness.refuse(Plan::chance(mix.refusals));
        }
        harness
    }

    /// Refuses calls by this plan, on both seams. What the plan before it refused goes to the
    /// tally.
    pub fn refuse(&mut self, plan: Plan) {
        self.tally.refused += self.mm.host().plan_counts().1 + self.mm.store().refused();
        self.mm.host().set_plan(plan);
        self.mm.store().refuse(plan);
    }

    /// Takes the digest before every call from now on, and compares it when the call fails.
    pub fn watch(&mut self) {
        self.watched = true;
    }

    /// Refuses a charge of the budget now and then, by the mix.
    fn refuse_charges(&mut self) {
        let plan = if self.rng.chance(self.mix.refusals * 10) {
            Refuse::Nth(u64::from(self.rng.below(6)))
        } else {
            Refuse::Never
        };
        self.mm.refusals().set(plan);
    }

    /// One call of the manager. When it fails, everything must be as it was.
    ///
    /// # Panics
    /// When something is not.
    pub(crate) fn ask<R, E>(&self, call: impl FnOnce(&Mm<SimHost, S>) -> Result<R, E>) -> Result<R, E> {
        self.ask_for(May::Nothing, call)
    }

    /// The same; when it fails, this may have changed.
    pub(crate) fn ask_for<R, E>(
        &self,
        may: May,
        call: impl FnOnce(&Mm<SimHost, S>) -> Result<R, E>,
    ) -> Result<R, E> {
        let before = self.watched.then(|| Before::of(&self.mm));
        let answer = call(self.pass().expect("this process made the manager"));
        if let (Err(_), Some(before)) = (&answer, before) {
            audit::unchanged(&self.mm, &self.oracle, &before, may);
            for space in self.oracle.spaces() {
                audit::bytes(&self.mm, &self.oracle, space);
            }
        }
        answer
    }

    /// Pins pages of one more space until a normal need finds about `left` free pages. Such a space
    /// is no target of operations.
    ///
    /// # Panics
    /// When there is no room for the space itself.
    pub fn fill_up(&mut self, left: u64) {
        const LEAVES: u32 = 16;
        let most = LEAVES * 16;
        let no = self
            .mm
            .create(
                Size {
                    len: most,
                    reserve: most,
                },
                Domain(9),
            )
            .expect("room for a space");
        self.oracle.create(no, most, Domain(9));
        // First one page of each leaf, so that what follows needs few tables and stops close to the
        // mark.
        let firsts = (0..LEAVES).map(|leaf| leaf * 16);
        let others = (0..most).filter(|page| page % 16 != 0);
        let mut pinned = Vec::new();
        for page in firsts.chain(others).map(PageNo) {
            if self.mm.usage().free / memfold_host::addr::PAGE_SIZE as u64 <= left
                || self.mm.pin(no, Run::one(page)).is_err()
            {
                break;
            }
            pinned.push(page);
        }
        self.filler = Some((no, pinned));
    }

    /// Unpins and drops what `fill_up` made.
    fn drain(&mut self) {
        if let Some((no, pinned)) = self.filler.take() {
            pinned
                .into_iter()
                .for_each(|page| self.mm.unpin(no, Run::one(page)));
            self.mm.drop_space(no).expect("nobody shares the filler");
            self.oracle.drop_space(no);
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Ends all refusals, gives the filled budget back, and lets the spaces end that could not
    /// before.
    ///
    /// # Panics
    /// When one of them still cannot.
    pub fn relent(&mut self) {
        self.refuse(Plan::NONE);
        self.mix.refusals = 0;
        self.refuse_charges();
        self.drain();
        self.mm.doomed().drop_all();
        assert_eq!(
            self.mm.doomed().count(),
            0,
            "a space does not end though nothing is refused"
        );
    }

    /// How many spaces live.
    #[must_use]
    pub fn spaces(&self) -> usize {
        self.live.len()
    }

    /// The `n`-th space that lives, modulo how many there are.
    #[must_use]
    pub fn space(&self, n: u32) -> SpaceNo {
        self.live[self.nth(n)].no
    }

    /// Small numbers count from the oldest, the largest ones from the youngest.
    fn nth(&self, n: u32) -> usize {
        match (u32::MAX - n) as usize {
            back if back < 4 => self.live.len() - 1 - back % self.live.len(),
            _ => n as usize % self.live.len(),
        }
    }

    /// One operation, on both sides, and the quick audit; the full one when it is due.
    ///
    /// # Panics
    /// When the two sides differ.
    pub fn step(&mut self, op: Op) {
        self.tally.steps += 1;
        if self.mix.refusals != 0 {
            self.refuse_charges();
        }
        let waiting = self.mm.doomed().count() as u64;
        let left = self.tally.left;
        if let Err(error) = self.apply(op) {
            self.tally.failed += 1;
            assert!(self.excused(error), "{op:?} failed without a reason: {error}");
        }
        self.tally.late += waiting + (self.tally.left - left) - self.mm.doomed().count() as u64;
        if self.tally.steps.is_multiple_of(copies::EVERY) {
            self.fork_process();
        }
        // Nothing is under way: tables that are not in use may go.
        memfold_mm::give_back_tables(&mut self.mm, Giving::All);
        audit::quick(&self.mm, self.store_base);
        if self.tally.steps.is_multiple_of(u64::from(self.mix.audit_every)) {
            self.audit();
        }
    }

    /// The full audit.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn audit(&mut self) {
        self.tally.audits += 1;
        audit::full(&self.mm, &self.oracle, self.store_base);
    }

    /// Whether an operation may fail with this error now.
    fn excused(&self, error: SpaceError) -> bool {
        let host_refused = self.mm.host().plan_counts().1 != 0;
        match error {
            SpaceError::OverBudget { .. } | SpaceError::Fault(FaultError::OverBudget { .. }) => {
                self.mix.limit_bytes != UNLIMITED || self.mm.refusals().refused() != 0
            }
            SpaceError::Host(_) | SpaceError::Fault(FaultError::Host { .. }) => host_refused,
            SpaceError::Fault(FaultError::PageLost { .. }) => {
                self.mm.store().refused() != 0 || audit::is_called_in(error) && self.mm.stats().called_in != 0
            }
            SpaceError::TooManySpaces(_) => {
                self.live.len() + self.mm.doomed().count() >= self.mix.spaces as usize
            }
            _ => false,
        }
    }

    /// Drops all spaces and looks for what is left. Refusals end first.
    ///
    /// # Panics
    /// When something is left, or a space cannot be dropped.
    pub fn finish(mut self) -> Tally {
        self.relent();
        self.audit();
        while !self.live.is_empty() {
            // A drop may have no room to give away what others share; the youngest shares with
            // nobody.
            let before = self.live.len();
            for n in (0..before).rev() {
                if let Err(error) = self.drop_space(n, lives::Unused::LivesOn) {
                    assert!(self.excused(error), "a space cannot be dropped: {error}");
                }
            }
            assert!(self.live.len() < before, "no space can be dropped");
        }
        audit::empty(&self.mm, self.store_base);
        self.tally.called_in = self.mm.stats().called_in;
        self.tally
    }
}
