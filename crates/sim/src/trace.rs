//! The trace: one number that stands for everything that was done, in order.

use crate::rng::mix;
use memfold_host::addr::{PAGE_SIZE, PageBytes};

/// A running hash of calls, their arguments and their outcomes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    calls: u64,
}

impl Trace {
    /// Adds one call.
    pub fn add(&mut self, words: &[u64]) {
        self.calls += 1;
        for &word in words {
            self.hash = mix(self.hash.rotate_left(5) ^ word);
        }
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

/// A few words of a page, for the trace.
pub(crate) fn sample(bytes: &PageBytes) -> u64 {
    let word = |at: usize| u64::from(bytes[at]);
    bytes
        .iter()
        .step_by(61)
        .fold(word(0) << 8 | word(PAGE_SIZE - 1), |sum, &b| {
            sum.rotate_left(7) ^ u64::from(b)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: order and arguments matter.
    #[test]
    fn order_matters() {
        let hash = |calls: &[[u64; 2]]| {
            let mut trace = Trace::default();
            calls.iter().for_each(|c| trace.add(c));
            trace.hash()
        };
        assert_eq!(hash(&[[1, 2], [3, 4]]), hash(&[[1, 2], [3, 4]]));
        assert_ne!(hash(&[[1, 2], [3, 4]]), hash(&[[3, 4], [1, 2]]));
        assert_ne!(hash(&[[1, 2]]), hash(&[[1, 3]]));
    }
}
