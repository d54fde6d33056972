//! How long many similar steps took: the middle one and the slow ones. Plain numbers.

use std::time::Duration;

/// The times of many similar steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    nanoseconds: Vec<u64>,
}

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.nanoseconds
            .push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Microseconds that `percent` of the steps did not exceed (nearest rank), if there were any.
    pub(crate) fn percentile_us(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        let nanoseconds = *sorted.get(rank - 1)?;
        Some(nanoseconds as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    //! Goal: ranks are counted right. Method: by example.
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut times = Times::default();
        assert_eq!(times.percentile_us(50), None);
        for us in (1..=200).rev() {
            times.push(Duration::from_micros(us));
        }
        let of = |percent| times.percentile_us(percent);
        assert_eq!(
            (of(0), of(50), of(99), of(100)),
            (Some(1.0), Some(100.0), Some(198.0), Some(200.0))
        );
    }
}
