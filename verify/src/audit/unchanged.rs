//! What a failed call has left behind: nothing. The digest before it and after it, but for what the
//! call may have changed.
//!
//! Three things may differ, and no more. Reclaim that ran in between puts pages into the store. A
//! pin or a fork that fails part of the way may leave pages that are as good as before to programs,
//! and differ in whose they are: [`May`] says which. Spaces that were waiting for their end may
//! have come to it.

use crate::oracle::Oracle;
use crate::stores::Built;
use memfold_host::addr::{Run, SpaceNo};
use memfold_mm::table::FANOUT;
use memfold_mm::{Digest, Mm, Ownership, SpaceDigest};
use memfold_sim::SimHost;
use std::collections::BTreeMap;

/// What a call that fails may change, whatever it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Nothing.
    Nothing,
    /// Pages of this run may be their space's own now, and neighbours that the store had may have
    /// come back with them: a pin failed.
    Own(SpaceNo, Run),
    /// Pages of this space, but not pinned ones, may be down as shared though nobody shares them: a
    /// fork failed.
    Export(SpaceNo),
}

/// How everything was before a call.
#[derive(Clone, Debug)]
pub struct Before {
    digest: Digest,
    reclaims: u64,
}

impl Before {
    /// Takes it down. In time proportional to all spaces.
    #[must_use]
    pub fn of<S: Built>(mm: &Mm<SimHost, S>) -> Self {
        Self {
            digest: super::digest(mm),
            reclaims: mm.stats().direct_reclaims,
        }
    }
}

/// A call failed: everything is as it was. The oracle says which spaces live; the others waited for
/// their end before the call.
///
/// # Panics
/// When something is not.
pub fn unchanged<S: Built>(mm: &Mm<SimHost, S>, oracle: &Oracle, before: &Before, may: May) {
    let now = super::digest(mm);
    let then = &before.digest;
    for no in now.spaces.keys() {
        assert!(then.spaces.contains_key(no), "a failed operation left space {no}");
    }
    let reclaimed = mm.stats().direct_reclaims != before.reclaims;
    let [told_now, told_then] = [&now, then].map(|digest| told(digest, oracle, may));
    for (no, space) in &told_then {
        let found = told_now
            .get(no)
            .unwrap_or_else(|| panic!("a failed operation ended space {no}"));
        let mut allowed = space.clone();
        allow(&mut allowed, found, SpaceNo(*no), may, reclaimed);
        assert_eq!(
            found, &allowed,
            "a failed operation changed what programs can tell of space {no}"
        );
    }
    let none_waited = then.spaces.len() == told_then.len();
    if !matches!(may, May::Own(..)) && !reclaimed && none_waited {
        assert_eq!(now.totals, then.totals, "a failed operation changed what is held");
    }
}

/// Makes of a space as it was one as it may be now, given what was found.
fn allow(space: &mut SpaceDigest, found: &SpaceDigest, no: SpaceNo, may: May, reclaimed: bool) {
    let pinned = |page: usize| space.pins.iter().any(|&(pin, _)| pin.0 as usize == page);
    for (n, (page, now)) in space.pages.iter_mut().zip(&found.pages).enumerate() {
        let (Some(page), Some(now)) = (page, now) else {
            continue;
        };
        let stored = reclaimed && now.ownership == Ownership::Stored;
        let change = (page.ownership, now.ownership);
        let passes = match may {
            May::Nothing => false,
            May::Own(whose, run) => {
                let beside = run.pages().any(|pinned| pinned.0 as usize / FANOUT == n / FANOUT);
                // What reclaim stored meanwhile may be back as well.
                let was_stored = reclaimed || page.ownership == Ownership::Stored;
                whose == no && beside && was_stored && now.ownership == Ownership::Exclusive
            }
            May::Export(whose) => whose == no && change == (Ownership::Exclusive, Ownership::Shared),
        };
        if (stored || passes) && !pinned(n) {
            page.ownership = now.ownership;
        }
    }
}

/// What programs can tell of the spaces that they use, without the pages that may be others now.
fn told(digest: &Digest, oracle: &Oracle, may: May) -> BTreeMap<u32, SpaceDigest> {
    let mut spaces = digest.spaces.clone();
    spaces.retain(|&no, _| oracle.lives(SpaceNo(no)));
    if let May::Own(no, run) = may {
        let pages = &mut spaces.get_mut(&no.0).expect("it lives").pages;
        // A write fault may make the pages that follow as well, up to the end of the table.
        let end = (run.end().0 as usize).next_multiple_of(FANOUT).min(pages.len());
        pages[run.first.0 as usize..end].fill(None);
    }
    // Numbers are given in the order in which pages are met.
    let mut known = BTreeMap::new();
    for page in spaces
        .values_mut()
        .flat_map(|space| space.pages.iter_mut().flatten())
    {
        let next = known.len() as u32;
        page.content = *known.entry(page.content).or_insert(next);
    }
    spaces
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use memfold_host::Domain;
    use memfold_host::addr::PageNo;
    use memfold_mm::{Merging, PageDigest};

    const S: SpaceNo = SpaceNo(3);

    /// One page of each kind, the first of which is pinned.
    fn space(kinds: [Ownership; 4]) -> SpaceDigest {
        let page = |(n, ownership)| {
            Some(PageDigest {
                content: n as u32,
                ownership,
            })
        };
        SpaceDigest {
            len: 4,
            reserve: 4,
            domain: Domain(0),
            merging: Merging::Off,
            areas: vec![],
            pins: vec![(PageNo(0), 1)],
            pages: kinds.into_iter().enumerate().map(page).collect(),
        }
    }

    /// Goal: of whose a page is, exactly what reclaim and a failed fork may change is let pass.
    /// Method: each change alone.
    #[test]
    fn what_may_change() {
        use Ownership::{Exclusive, Shared, Stored};
        let before = [Exclusive, Exclusive, Shared, Stored];
        let passes = |page: usize, to: Ownership, may: May, reclaimed: bool| {
            let mut after = before;
            after[page] = to;
            let (found, mut allowed) = (space(after), space(before));
            allow(&mut allowed, &found, S, may, reclaimed);
            allowed == found
        };
        for (page, to) in [(1, Shared), (1, Stored), (2, Exclusive), (2, Stored), (3, Shared)] {
            assert!(!passes(page, to, May::Nothing, false), "page {page} is {to:?}");
            assert_eq!(passes(page, to, May::Nothing, true), to == Stored);
            let exported = (page, to) == (1, Shared);
            assert_eq!(
                passes(page, to, May::Export(S), false),
                exported,
                "page {page} is {to:?}"
            );
            assert!(!passes(page, to, May::Export(SpaceNo(4)), false));
        }
        let pinned = |first| {
            May::Own(
                S,
                Run {
                    first: PageNo(first),
                    len: 2,
                },
            )
        };
        assert!(passes(3, Exclusive, pinned(1), false), "it was read ahead");
        assert!(
            !passes(3, Exclusive, pinned(FANOUT as u32), false),
            "it is in another leaf"
        );
        assert!(!passes(2, Exclusive, pinned(0), false), "it was shared");
        assert!(
            passes(2, Exclusive, pinned(0), true),
            "it was stored meanwhile, and read ahead"
        );
        // A pinned page stays where it is and whose it is.
        assert!(!passes(0, Shared, May::Export(S), false));
        assert!(!passes(0, Stored, May::Nothing, true));
    }
}
