//! Which pages were shown since somebody last asked. Under the host's lock, page by page.

use super::SimHost;
use crate::machine::Shown;
use crate::requests::Request;
use memfold_host::addr::{Run, SpaceNo};

/// What the trace calls it.
const YOUNG: u64 = 103;

impl SimHost {
    /// The pages of the run that were shown; they are hidden.
    pub(super) fn ask_young(&self, space: SpaceNo, run: Run) -> u64 {
        assert!(run.len <= 64, "{} pages are asked about at once", run.len);
        let words = [u64::from(space.0), u64::from(run.first.0), u64::from(run.len)];
        self.witnesses.concerns(space, run);
        {
            let mut state = self.lock();
            state.note(YOUNG, &words);
            state.log.add(Request::AskYoung(space, run));
        }
        let mut young = 0;
        self.each(run, run.len, |m, page| {
            let shown = m.window_mut(space).page_mut(page);
            match shown {
                // Who looks at a standby page faults again, and finds another.
                Shown::Empty | Shown::Standby { .. } => (),
                Shown::Pool { .. } => {
                    young |= 1 << (page.0 - run.first.0);
                    *shown = Shown::Empty;
                }
                other => {
                    panic!("page {page} of space {space} is asked whether it was shown, but it is {other}")
                }
            }
        });
        let mut state = self.lock();
        let young = match state.says_young {
            None => young,
            Some(says) => {
                if says {
                    u64::MAX >> (64 - run.len)
                } else {
                    0
                }
            }
        };
        state.trace.add(&[young]);
        young
    }
}
