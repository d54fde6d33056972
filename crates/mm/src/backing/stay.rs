//! Who relies on frames standing at their places (`native.rs`): a count, under the backing's lock.

use super::{BackingNo, Backings};

impl Backings {
    /// Frames do not leave their places until somebody lets them, once for each time that this was
    /// asked: but who is under way, with the frame locked.
    pub fn stay(&self, backing: BackingNo) {
        self.backings.get(backing.0).0.lock().staying += 1;
    }

    /// One less relies on that.
    pub fn may_leave(&self, backing: BackingNo) {
        let mut state = self.backings.get(backing.0).0.lock();
        let left = state.staying.checked_sub(1);
        state.staying = left.expect("nobody relied on frames staying");
    }

    /// Whether frames are to stay. A frame of the backing is locked.
    pub fn stays(&self, backing: BackingNo) -> bool {
        self.backings.get(backing.0).0.lock().staying != 0
    }
}
