//! Showing zeros: the one step in the middle of which a program's store may come.

use super::SimHost;
use crate::machine::Shown;
use crate::plan::Call;
use crate::race::Moment;
use crate::requests::Request;
use memfold_host::HostError;
use memfold_host::addr::{Run, SpaceNo};

impl SimHost {
    /// See `Host::show_zero`.
    pub(super) fn zeros_shown(&self, space: SpaceNo, run: Run) -> Result<u64, HostError> {
        assert!(run.len <= 64, "zeros are shown on {} pages at once", run.len);
        let (_, result) = self.enter_run(Call::ShowZero, space, run, 0);
        self.lock().log.add(Request::ShowZero(space, run));
        result?;
        self.each(run, run.len, |m, page| {
            m.populate(space, page);
            let piece = m.window(space).pieces.at(page);
            assert!(
                piece.is_none(),
                "zeros are shown at page {page} of space {space}, in a piece"
            );
            let shown = m.window_mut(space).page_mut(page);
            match shown {
                Shown::Empty => *shown = Shown::Zero { protected: false },
                Shown::Zero { .. } => (),
                other => panic!("zeros are shown at page {page} of space {space}, but it is {other}"),
            }
        });
        let mut written = 0;
        for page in run.pages() {
            let mut state = self.lock();
            if matches!(
                state.machine.window(space).page(page),
                Shown::Zero { protected: false }
            ) {
                state.run_races(Moment::ZerosShown, space, page);
            }
            let stored = state.machine.window_mut(space).protect_zero(page);
            written |= u64::from(stored) << (page.0 - run.first.0);
        }
        Ok(written)
    }
}
