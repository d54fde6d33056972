//! What initializers make in the garbage-collected heap, which forbids a fork: [`Objects`]. (What
//! only code makes is seen when an instance is forked.)
//!
//! Filled by `scan.rs` and `component/core.rs`, expression by expression.

use crate::reason::{Reason, Site};
use std::collections::BTreeMap;
use wasmparser::{BinaryReaderError, ConstExpr, Operator};

/// The instructions that make some, by their names.
#[derive(Default)]
pub(crate) struct Objects(BTreeMap<&'static str, Site>);

impl Objects {
    /// Reads an expression that instantiation evaluates, and shows each of its instructions to
    /// `visit`.
    pub(crate) fn read(
        &mut self,
        expression: &ConstExpr<'_>,
        mut visit: impl FnMut(&Operator<'_>),
    ) -> Result<(), BinaryReaderError> {
        let mut operators = expression.get_operators_reader();
        // Ends: each turn reads at least one byte.
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            visit(&operator);
            if let Some(operator) = makes_an_object(&operator) {
                let site = Site {
                    operator,
                    offset,
                    count: 0,
                };
                self.0.entry(operator).or_insert(site).count += 1;
            }
        }
        Ok(())
    }

    /// Why there is no fork then.
    pub(crate) fn reasons(self) -> impl Iterator<Item = Reason> {
        self.0.into_values().map(|site| Reason::Gc { site })
    }
}

fn makes_an_object(operator: &Operator<'_>) -> Option<&'static str> {
    Some(match operator {
        Operator::StructNew { .. } => "struct.new",
        Operator::StructNewDefault { .. } => "struct.new_default",
        Operator::ArrayNew { .. } => "array.new",
        Operator::ArrayNewDefault { .. } => "array.new_default",
        Operator::ArrayNewFixed { .. } => "array.new_fixed",
        _ => return None,
    })
}
