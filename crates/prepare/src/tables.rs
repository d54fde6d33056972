//! What a module's tables hold before it runs: [`Contents`], as far as it can be known without
//! running it.
//!
//! Collected by `scan.rs`; a fork writes only what differs from it. Pure.

use std::collections::BTreeMap;
use wasmparser::{BinaryReaderError, ConstExpr, Operator};

/// One slot of a table that no code has run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A null reference.
    Null,
    /// The function of this index.
    Function(u32),
    /// Something that only instantiation tells.
    Unknown,
}

/// The slots of a table as instantiation leaves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// How many there are.
    pub size: u64,
    /// What those hold that no element segment names.
    pub rest: Slot,
    /// What element segments put there, last ones last.
    pub named: BTreeMap<u64, Slot>,
}

impl Contents {
    /// What a slot holds, if there is such a slot.
    #[must_use]
    pub fn slot(&self, slot: u64) -> Option<Slot> {
        let named = || self.named.get(&slot).copied().unwrap_or(self.rest);
        (slot < self.size).then(named)
    }

    /// An element segment is written. Where it is written may not be known: then nothing is.
    pub(crate) fn write(&mut self, offset: Option<u64>, items: &[Slot]) {
        let Some(offset) = offset else {
            self.rest = Slot::Unknown;
            self.named.clear();
            return;
        };
        for (slot, item) in (offset..).zip(items) {
            self.named.insert(slot, *item);
        }
    }
}

/// What an expression of one reference gives.
pub(crate) fn slot(expression: &ConstExpr<'_>) -> Result<Slot, BinaryReaderError> {
    let mut operators = expression.get_operators_reader();
    let slot = match operators.read()? {
        Operator::RefNull { .. } => Slot::Null,
        Operator::RefFunc { function_index } => Slot::Function(function_index),
        _ => Slot::Unknown,
    };
    Ok(slot)
}

/// Whether an expression has what a global gives in it.
pub(crate) fn takes_a_global(expression: &ConstExpr<'_>) -> Result<bool, BinaryReaderError> {
    for operator in expression.get_operators_reader() {
        if matches!(operator?, Operator::GlobalGet { .. }) {
            return Ok(true);
        }
    }
    Ok(false)
}
