//! Cells and tenths that add up: [`apportion`]. Pure.

/// Divides so many units among parts in proportion to their sizes, so that the units add up (by
/// the largest remainders). A part that is not nothing gets one where there are enough.
pub(crate) fn apportion(sizes: &[u64], units: u64) -> Vec<u64> {
    let whole: u128 = sizes.iter().map(|&size| u128::from(size)).sum();
    if whole == 0 {
        return vec![0; sizes.len()];
    }
    let exact = |size: u64| u128::from(size) * u128::from(units);
    let mut shares: Vec<u64> = sizes.iter().map(|&size| (exact(size) / whole) as u64).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(exact(sizes[at]) % whole));
    let left = units.saturating_sub(shares.iter().sum());
    for &at in order.iter().take(left as usize) {
        shares[at] += 1;
    }
    if units >= sizes.len() as u64 {
        for at in 0..sizes.len() {
            if sizes[at] > 0 && shares[at] == 0 {
                let largest = (0..sizes.len()).max_by_key(|&at| shares[at]).unwrap_or(at);
                shares[largest] -= 1;
                shares[at] = 1;
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    //! Goal: units add up, and follow the sizes. Method: by example, and all small cases.
    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(apportion(&[1, 1, 1], 10).iter().sum::<u64>(), 10);
        assert_eq!(apportion(&[0, 0], 7), [0, 0]);
        assert_eq!(apportion(&[1, 1_000_000, 0], 20), [1, 19, 0]);
        assert_eq!(apportion(&[u64::MAX, u64::MAX], 9).iter().sum::<u64>(), 9);
        for a in 0..12 {
            for b in 0..12 {
                for c in 1..12u64 {
                    for units in 0..30 {
                        let shares = apportion(&[a, b, c], units);
                        assert_eq!(shares.iter().sum::<u64>(), units, "{a} {b} {c} {units}");
                        let seen = |size, share| size == 0 || share > 0 || units < 3;
                        assert!(seen(a, shares[0]) && seen(b, shares[1]) && seen(c, shares[2]));
                    }
                }
            }
        }
    }
}
