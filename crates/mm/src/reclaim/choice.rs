//! The policies that there are: a public name for each, and one type that stands for any of them
//! without an indirect call.
//!
//! A new policy is a file beside this one and a line at the end. Called by `replacer.rs`.

use super::policy::{Arrival, Census, Finding, Policy};
use super::queue::{Isolated, Tag};
use super::s3_fifo::S3Fifo;
use super::two_lists::TwoLists;
use crate::addr::FrameNo;
use crate::frame::Frame;
use memfold_sync::Slots;

/// What follows from the list.
macro_rules! policies {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Which pages go first when room is needed. Cost: the same for all, a few loads and stores
        /// under one lock.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Replacement {
            $($(#[$doc])* $name,)*
        }

        impl Replacement {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }

        /// The policy that was chosen.
        #[derive(Debug)]
        pub(super) enum Chosen {
            $($name($name),)*
        }

        impl Chosen {
            pub fn new(replacement: Replacement) -> Self {
                match replacement {
                    $(Replacement::$name => Self::$name($name::new()),)*
                }
            }
        }

        impl Policy for Chosen {
            fn arrived(&mut self, frames: &Slots<Frame>, no: FrameNo, how: Arrival) {
                match self { $(Self::$name(p) => p.arrived(frames, no, how),)* }
            }
            fn settled(&mut self, frames: &Slots<Frame>, isolated: &Isolated, found: Finding) {
                match self { $(Self::$name(p) => p.settled(frames, isolated, found),)* }
            }
            fn removed(&mut self, frames: &Slots<Frame>, no: FrameNo, from: Tag) {
                match self { $(Self::$name(p) => p.removed(frames, no, from),)* }
            }
            fn isolate_to_age(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
                match self { $(Self::$name(p) => p.isolate_to_age(frames, out),)* }
            }
            fn isolate_victims(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
                match self { $(Self::$name(p) => p.isolate_victims(frames, out),)* }
            }
            fn is_candidate(&self, on: Tag) -> bool {
                match self { $(Self::$name(p) => p.is_candidate(on),)* }
            }
            fn census(&self) -> Census {
                match self { $(Self::$name(p) => p.census(),)* }
            }
            fn numbers(&self, frames: &Slots<Frame>) -> Vec<FrameNo> {
                match self { $(Self::$name(p) => p.numbers(frames),)* }
            }
            fn is_early(&self, distance: u32, frames: u32) -> bool {
                match self { $(Self::$name(p) => p.is_early(distance, frames),)* }
            }
        }
    };
}

policies! {
    /// Two lists and a second chance, as in Linux. Good where what was used lately is used again.
    #[default]
    TwoLists,
    /// Three queues (S3-FIFO): new pages have a tenth of the memory to prove themselves in. Meant
    /// for passes over many pages that are used once, such as a scan or a collection of garbage,
    /// which are to push out little that is used often; where it wins has not been measured yet.
    S3Fifo,
}
