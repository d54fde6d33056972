//! Who a space is among all that ever lived, and what it is a copy of: plain data, under the
//! space's lock. No decision hangs on it.

/// How a space came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Of zeros.
    Created,
    /// As a copy of its parent.
    Forked,
    /// As a copy of its parent for others to be forked from.
    Frozen,
}

/// Who a space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kin {
    /// A number from 1 on that no other space of the manager has or had.
    pub birth: u64,
    /// The birth of the space that it is a copy of, which may have ended.
    pub parent: Option<u64>,
    /// How it came to be.
    pub made: Made,
}

impl Kin {
    /// Of a space of zeros.
    pub(crate) fn created(birth: u64) -> Self {
        let (parent, made) = (None, Made::Created);
        Self { birth, parent, made }
    }

    /// Of a copy of this one.
    pub(crate) fn forked(self, birth: u64) -> Self {
        let (parent, made) = (Some(self.birth), Made::Forked);
        Self { birth, parent, made }
    }
}
