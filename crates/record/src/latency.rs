//! How long many steps took, as counts by duration. A bucket ends at most an eighth of its value
//! after it begins, so that a percentile is off by no more than that.

/// Buckets of a [`Latency`]: eight for each doubling, from 1 ns to 18 minutes and more.
pub const BUCKETS: usize = 304;

/// Steps by how long they took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// How many steps fell into each bucket; [`BUCKETS`] of them.
    pub counts: Vec<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        let counts = vec![0; BUCKETS];
        Self { counts }
    }
}

/// The bucket of a duration in nanoseconds; the last one has all that take longer.
#[must_use]
pub fn bucket_of(ns: u64) -> usize {
    if ns < 8 {
        return ns as usize;
    }
    let octave = ns.ilog2();
    let eighth = ns >> (octave - 3) & 7;
    ((octave as usize - 2) * 8 + eighth as usize).min(BUCKETS - 1)
}

/// The longest duration of a bucket, in nanoseconds.
#[must_use]
pub fn bucket_end_ns(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let (octave, eighth) = (bucket / 8 + 2, bucket as u64 % 8);
    ((9 + eighth) << (octave - 3)) - 1
}

impl Latency {
    /// Steps in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum: u64, &n| sum.saturating_add(n))
    }

    /// Nanoseconds that `percent` of the steps did not exceed (nearest rank), to the end of the
    /// bucket; `None` when there was no step.
    #[must_use]
    pub fn percentile_ns(&self, percent: f64) -> Option<u64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = ((total as f64 * percent / 100.0).ceil() as u64).clamp(1, total);
        let mut seen: u64 = 0;
        let reaches = |&n: &u64| {
            seen = seen.saturating_add(n);
            seen >= rank
        };
        self.counts.iter().position(reaches).map(bucket_end_ns)
    }

    /// The steps since an earlier reading.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let pairs = self.counts.iter().zip(&before.counts);
        let counts = pairs.map(|(now, then)| now.saturating_sub(*then)).collect();
        Self { counts }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: each duration falls into the bucket that it is in, and percentiles are of the nearest
    //! rank. Method: the edges of all buckets; by example.
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        for bucket in 0..BUCKETS - 1 {
            let end = bucket_end_ns(bucket);
            assert_eq!(
                (bucket_of(end), bucket_of(end + 1)),
                (bucket, bucket + 1),
                "{end}"
            );
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        for bucket in 8..BUCKETS {
            let (begin, end) = (bucket_end_ns(bucket - 1) + 1, bucket_end_ns(bucket));
            assert!((end - begin) * 8 <= begin, "{begin}..={end}");
        }
        assert!(bucket_end_ns(BUCKETS - 1) > 18 * 60 * 1_000_000_000);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentile_ns(50.0), None);
        for ns in 1..=7 {
            latency.counts[bucket_of(ns)] += 1;
        }
        let of = |percent| latency.percentile_ns(percent);
        assert_eq!(
            (of(0.0), of(50.0), of(99.0), of(100.0)),
            (Some(1), Some(4), Some(7), Some(7))
        );
        let mut later = latency.clone();
        later.counts[3] += 5;
        assert_eq!(later.since(&latency).percentile_ns(50.0), Some(3));
    }
}
