//! Failures by plan: which calls are refused, and when.
//!
//! A plan may name the n-th call of some kinds, once or from then on, or refuse each with a
//! probability drawn from its own seed. Every refused call must be survivable: that is what the
//! `# Errors` sections of the seams promise, and why only calls that have one are listed here.

use crate::rng::Rng;

/// A call of the seams that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    /// The pool grows.
    ReservePool,
    /// A window opens.
    Open,
    /// A window grows.
    Resize,
    /// The machine serves a run of a window no more.
    Manage,
    /// What was stored to in a run that the machine served.
    StoredTo,
    /// Pool pages are shown.
    Show,
    /// Zeros are shown.
    ShowZero,
    /// A private page gets bytes.
    Fill,
    /// Private pages of zeros.
    FillZero,
    /// A private copy of a pool page.
    CopyFromPool,
    /// Stores become faults.
    Protect,
    /// Stores go through again.
    Unprotect,
    /// A private page is read.
    ReadPrivate,
    /// Private pages are copied to the pool.
    CopyToPool,
    /// A pool page is written.
    PoolWrite,
    /// A pool page is read.
    PoolRead,
    /// A standby page is shown.
    ShowStandby,
    /// Private pages are taken out of their windows.
    Take,
    /// A run of a window becomes a piece.
    MapPiece,
    /// A piece, or part of it, ends.
    UnmapPiece,
    /// Stores to pool pages are let through.
    ShowWritable,
    /// A file says how long it is.
    SourceBytes,
    /// A page of a file is read.
    SourceRead,
    /// A page of a file is written.
    SourceWrite,
    /// A file is made to last.
    SourceSync,
    /// A file becomes longer or shorter.
    SourceResize,
    /// A store takes a page.
    Put,
    /// A store gives a page.
    Get,
}

impl Call {
    /// All calls of a host.
    pub const HOST: [Self; 21] = [
        Self::ReservePool,
        Self::Open,
        Self::Resize,
        Self::Manage,
        Self::StoredTo,
        Self::Show,
        Self::ShowZero,
        Self::Fill,
        Self::FillZero,
        Self::CopyFromPool,
        Self::Protect,
        Self::Unprotect,
        Self::ReadPrivate,
        Self::CopyToPool,
        Self::PoolWrite,
        Self::PoolRead,
        Self::ShowStandby,
        Self::Take,
        Self::MapPiece,
        Self::UnmapPiece,
        Self::ShowWritable,
    ];

    /// All calls of a file.
    pub const SOURCE: [Self; 5] = [
        Self::SourceBytes,
        Self::SourceRead,
        Self::SourceWrite,
        Self::SourceSync,
        Self::SourceResize,
    ];
}

/// A set of kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls(u32);

impl Calls {
    /// Every kind.
    pub const ALL: Self = Self(u32::MAX);

    /// One kind.
    #[must_use]
    pub fn only(call: Call) -> Self {
        Self(1 << call as u8)
    }

    fn has(self, call: Call) -> bool {
        self.0 >> call as u8 & 1 == 1
    }
}

/// How long a refusal lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// One call is refused.
    Once,
    /// That call and all later ones are.
    FromThenOn,
}

/// When a call of the set is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Never; calls are counted all the same.
    Never,
    /// At the n-th call of the set, counted from 0.
    Nth(u64, Lasting),
    /// Each with this probability, in 65,536ths.
    Chance(u32),
}

/// Which calls are refused, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The kinds of calls that the plan is about.
    pub calls: Calls,
    /// When one of them is refused.
    pub when: When,
}

impl Plan {
    /// Nothing fails.
    pub const NONE: Self = Self {
        calls: Calls::ALL,
        when: When::Never,
    };

    /// Everything fails that can.
    pub const ALL: Self = Self {
        calls: Calls::ALL,
        when: When::Nth(0, Lasting::FromThenOn),
    };

    /// The n-th call of all kinds, counted from 0.
    #[must_use]
    pub fn nth(n: u64, lasting: Lasting) -> Self {
        Self {
            calls: Calls::ALL,
            when: When::Nth(n, lasting),
        }
    }

    /// Each call with a probability, in 65,536ths.
    #[must_use]
    pub fn chance(per_65536: u32) -> Self {
        Self {
            calls: Calls::ALL,
            when: When::Chance(per_65536),
        }
    }
}

/// A plan under way.
#[derive(Debug)]
pub(crate) struct Planner {
    plan: Plan,
    rng: Rng,
    seen: u64,
    refused: u64,
}

impl Planner {
    pub fn new(seed: u64) -> Self {
        Self {
            plan: Plan::NONE,
            rng: Rng::new(seed),
            seen: 0,
            refused: 0,
        }
    }

    /// Counts from 0 again, under another plan.
    pub fn set(&mut self, plan: Plan) {
        self.plan = plan;
        self.seen = 0;
        self.refused = 0;
    }

    /// Another plan for a while; counts go on. Returns the plan under way.
    pub fn exchange(&mut self, plan: Plan) -> Plan {
        std::mem::replace(&mut self.plan, plan)
    }

    /// Calls of the plan's set that were made under it, and how many were refused.
    pub fn counts(&self) -> (u64, u64) {
        (self.seen, self.refused)
    }

    /// Whether this call is refused.
    pub fn refuses(&mut self, call: Call) -> bool {
        if !self.plan.calls.has(call) {
            return false;
        }
        let n = self.seen;
        self.seen += 1;
        let refused = match self.plan.when {
            When::Never => false,
            When::Nth(at, Lasting::Once) => n == at,
            When::Nth(at, Lasting::FromThenOn) => n >= at,
            When::Chance(per_65536) => self.rng.chance(per_65536),
        };
        self.refused += u64::from(refused);
        refused
    }

    /// A choice that a refused call has, such as where in a run it stops.
    pub fn below(&mut self, end: u32) -> u32 {
        self.rng.below(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(plan: Plan, calls: &[Call]) -> Vec<bool> {
        let mut planner = Planner::new(1);
        planner.set(plan);
        calls.iter().map(|&c| planner.refuses(c)).collect()
    }

    /// Goal: the n-th call and no other, or that and all later ones; kinds outside the set do not
    /// count.
    #[test]
    fn nth() {
        let calls = [Call::Show, Call::Fill, Call::Show, Call::Show];
        assert_eq!(
            refused(Plan::nth(1, Lasting::Once), &calls),
            [false, true, false, false]
        );
        assert_eq!(
            refused(Plan::nth(2, Lasting::FromThenOn), &calls),
            [false, false, true, true]
        );
        let shows = Plan {
            calls: Calls::only(Call::Show),
            when: When::Nth(1, Lasting::Once),
        };
        assert_eq!(refused(shows, &calls), [false, false, true, false]);
    }

    /// Goal: another plan for a while changes what is refused meanwhile, and no count.
    #[test]
    fn plans_are_exchanged() {
        let mut planner = Planner::new(1);
        planner.set(Plan::nth(2, Lasting::Once));
        let next = |planner: &mut Planner| planner.refuses(Call::Show);
        assert!(!next(&mut planner));
        let before = planner.exchange(Plan::ALL);
        assert!(next(&mut planner));
        assert_eq!(planner.exchange(before), Plan::ALL);
        assert_eq!([next(&mut planner), next(&mut planner)], [true, false]);
        assert_eq!(planner.counts(), (4, 2));
    }

    /// Goal: chance refuses some and not all, the same each time.
    #[test]
    fn chance_is_seeded() {
        let calls = [Call::Put; 100];
        let once = refused(Plan::chance(1 << 15), &calls);
        assert_eq!(once, refused(Plan::chance(1 << 15), &calls));
        assert!(once.contains(&true) && once.contains(&false));
    }
}
