//! Boxed slices that the system may refuse.
//!
//! What grows while a fault is served must not end the process when memory is short: `collect` and
//! `Box::new` do. A [`Reserved`] is got first, which may fail; filling it cannot. Nothing shared,
//! no lock.

/// Memory for a slice of so many items, which is not touched before it is filled.
#[derive(Debug)]
#[must_use]
pub struct Reserved<T>(Vec<T>);

impl<T> Reserved<T> {
    /// Memory for `len` items; `None` when the system has none.
    pub fn new(len: usize) -> Option<Self> {
        let mut items = Vec::new();
        items.try_reserve_exact(len).ok()?;
        Some(Self(items))
    }

    /// The slice: an item for each key. Allocates nothing.
    ///
    /// # Panics
    /// When there are fewer keys than it was reserved for.
    pub fn fill<K>(self, keys: impl Iterator<Item = K>, make: impl FnMut(K) -> T) -> Box<[T]> {
        let Self(mut items) = self;
        let len = items.capacity();
        items.extend(keys.map(make).take(len));
        assert!(items.len() == len, "{} items for room for {len}", items.len());
        items.into_boxed_slice()
    }
}

/// A slice with an item for each key; `None` when the system has no memory for it.
pub fn boxed<K, T>(keys: impl ExactSizeIterator<Item = K>, make: impl FnMut(K) -> T) -> Option<Box<[T]>> {
    Some(Reserved::new(keys.len())?.fill(keys, make))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: a slice is what its keys make it, and what no system has is refused.
    #[test]
    fn made_or_refused() {
        assert_eq!(boxed(3..6u32, u64::from).as_deref(), Some(&[3, 4, 5][..]));
        assert_eq!(boxed(0..0u32, u64::from).as_deref(), Some(&[][..]));
        assert!(Reserved::<u64>::new(usize::MAX / 16).is_none());
    }

    /// Goal: reserved memory is filled as it was meant to be, or not at all.
    #[test]
    #[should_panic(expected = "1 items for room for 2")]
    fn filled_as_meant() {
        let _ = Reserved::new(2).expect("room").fill(0..1, |n| n);
    }
}
