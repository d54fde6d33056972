//! In which order the clones of a round are called. Pure; the same seed gives the same orders.

use super::digest::mix;

/// The orders of all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// By their numbers.
    Numbers,
    /// Another one for each round, drawn from this number.
    Drawn(u64),
}

impl Order {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        seed.map_or(Order::Numbers, Order::Drawn)
    }

    /// Puts `places` into the order of this round (Fisher and Yates).
    pub(crate) fn arrange(self, places: &mut [usize], round: u32) {
        let Order::Drawn(seed) = self else { return };
        let mut state = mix(seed ^ mix(u64::from(round)));
        for last in (1..places.len()).rev() {
            state = mix(state);
            let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
            places.swap(last, usize::try_from(state % bound).unwrap_or(last));
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: an order is a permutation, the same for the same seed, another for another. Method: by
    //! example.
    use super::*;

    fn arranged(order: Order, round: u32) -> Vec<usize> {
        let mut places: Vec<usize> = (0..50).collect();
        order.arrange(&mut places, round);
        places
    }

    #[test]
    fn orders_are_permutations() {
        let first = arranged(Order::new(Some(7)), 0);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, arranged(Order::new(None), 0));
        assert_eq!(first, arranged(Order::new(Some(7)), 0));
        assert_ne!(first, arranged(Order::new(Some(7)), 1));
        assert_ne!(first, arranged(Order::new(Some(8)), 0));
        arranged(Order::Drawn(1), 1);
        Order::Drawn(1).arrange(&mut [], 0);
    }
}
