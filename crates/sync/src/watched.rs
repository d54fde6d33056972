//! Loom's atomics, each access of which is written into the log of the execution.
//!
//! Only under loom, where `imp` chooses them for the facade. They have the operations that memfold
//! uses; one more is one more line here. Each tells the log where it was called, and what it did,
//! after it did it.

use crate::imp::unwatched;
use crate::trace::{What, event};
use std::ops::{BitAnd, BitOr, BitXor};
pub use std::sync::atomic::Ordering;

macro_rules! watched {
    ($name:ident, $value:ty) => {
        /// The atomic of that name.
        #[derive(Debug)]
        pub struct $name(unwatched::$name);

        impl Default for $name {
            fn default() -> Self {
                Self::new(<$value>::default())
            }
        }

        #[allow(missing_docs, reason = "the operations of std's atomic of that name")]
        impl $name {
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self(unwatched::$name::new(value))
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                let value = self.0.load(order);
                event(self, What::Load(value.into()), Some(order));
                value
            }

            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, order);
                event(self, What::Store(value.into()), Some(order));
            }

            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                let before = self.0.swap(value, order);
                event(self, What::Change(before.into(), value.into()), Some(order));
                before
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                expected: $value,
                value: $value,
                order: Ordering,
                refused: Ordering,
            ) -> Result<$value, $value> {
                let outcome = self.0.compare_exchange(expected, value, order, refused);
                match outcome {
                    Ok(before) => event(self, What::Change(before.into(), value.into()), Some(order)),
                    Err(found) => event(
                        self,
                        What::Refused(expected.into(), found.into()),
                        Some(refused),
                    ),
                }
                outcome
            }
        }
    };
}

/// Operations that change the word by a value: what each is called, and what it makes of before and
/// value.
macro_rules! changed_by {
    ($name:ident, $value:ty, $($operation:ident: $after:expr,)*) => {
        #[allow(missing_docs, reason = "the operations of std's atomic of that name")]
        impl $name {
            $(#[track_caller]
            pub fn $operation(&self, by: $value, order: Ordering) -> $value {
                let before = self.0.$operation(by, order);
                let after: fn($value, $value) -> $value = $after;
                event(self, What::Change(before.into(), after(before, by).into()), Some(order));
                before
            })*
        }
    };
}

macro_rules! watched_number {
    ($name:ident, $value:ty) => {
        watched!($name, $value);
        changed_by!($name, $value,
            fetch_add: <$value>::wrapping_add,
            fetch_sub: <$value>::wrapping_sub,
            fetch_max: Ord::max,
            fetch_min: Ord::min,
            fetch_and: BitAnd::bitand,
            fetch_or: BitOr::bitor,
            fetch_xor: BitXor::bitxor,
        );

        #[allow(missing_docs, reason = "the operations of std's atomic of that name")]
        impl $name {
            #[track_caller]
            pub fn fetch_update(
                &self,
                order: Ordering,
                refused: Ordering,
                mut change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut after = None;
                let outcome = self.0.fetch_update(order, refused, |value| {
                    after = change(value);
                    after
                });
                match (outcome, after) {
                    (Ok(before), Some(after)) => {
                        event(self, What::Change(before.into(), after.into()), Some(order));
                    }
                    (Ok(found) | Err(found), _) => event(self, What::Load(found.into()), Some(refused)),
                }
                outcome
            }
        }
    };
}

watched!(AtomicBool, bool);
changed_by!(AtomicBool, bool,
    fetch_and: BitAnd::bitand,
    fetch_or: BitOr::bitor,
    fetch_xor: BitXor::bitxor,
);
watched_number!(AtomicU16, u16);
watched_number!(AtomicU32, u32);
watched_number!(AtomicU64, u64);
