//! What a program does to its state outside of memories and globals, and how it is remembered:
//! [`Mark`].
//!
//! The program changes tables and drops segments by instructions. Behind each of them the rewritten
//! module sets a flag, a global of its own: so a fork knows which tables to look at, and which
//! segments to drop. Called by `scan.rs`, `rewrite.rs` and `component/core.rs`.

use crate::sections::{number, sized};
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{BinaryReaderError, FunctionBody, Operator};

/// What one flag stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// The program has changed this table.
    Table(u32),
    /// The program has dropped this data segment.
    Data(u32),
    /// The program has dropped this element segment.
    Element(u32),
}

impl Mark {
    /// What an instruction does.
    pub(crate) fn of(operator: &Operator<'_>) -> Option<Mark> {
        match *operator {
            Operator::TableSet { table }
            | Operator::TableGrow { table }
            | Operator::TableFill { table }
            | Operator::TableInit { table, .. }
            | Operator::TableCopy { dst_table: table, .. } => Some(Mark::Table(table)),
            Operator::DataDrop { data_index } => Some(Mark::Data(data_index)),
            Operator::ElemDrop { elem_index } => Some(Mark::Element(elem_index)),
            _ => None,
        }
    }
}

/// What the code of a module does, body by body.
#[derive(Default)]
pub(crate) struct Marks {
    pub(crate) all: BTreeSet<Mark>,
    /// The bodies, by their places in the code section, in which such instructions stand.
    pub(crate) bodies: BTreeSet<u32>,
    read: u32,
}

impl Marks {
    /// Reads the next body.
    pub(crate) fn read(&mut self, body: &FunctionBody<'_>) -> Result<(), BinaryReaderError> {
        let mut operators = body.get_operators_reader()?;
        // Ends: each turn reads at least one byte.
        while !operators.eof() {
            if let Some(mark) = Mark::of(&operators.read()?) {
                self.all.insert(mark);
                self.bodies.insert(self.read);
            }
        }
        self.read += 1;
        Ok(())
    }
}

/// The global that is the flag of each mark.
pub(crate) type Flags = BTreeMap<Mark, u32>;

/// A function body in which each marked instruction is followed by setting its flag. An instruction
/// that traps has changed nothing, and sets no flag.
pub(crate) fn marked(body: &FunctionBody<'_>, flags: &Flags) -> Result<Vec<u8>, BinaryReaderError> {
    let range = body.range();
    let bytes = body.as_bytes();
    let mut marked = Vec::with_capacity(bytes.len() + 16);
    let mut copied = 0;
    let mut operators = body.get_operators_reader()?;
    // Ends: each turn reads at least one byte.
    while !operators.eof() {
        let operator = operators.read()?;
        if let Some(flag) = Mark::of(&operator).and_then(|mark| flags.get(&mark)) {
            let end = operators.original_position() - range.start;
            marked.extend_from_slice(&bytes[copied..end]);
            copied = end;
            // i32.const 1, global.set
            marked.extend([0x41, 1, 0x24]);
            marked.extend(number(*flag));
        }
    }
    marked.extend_from_slice(&bytes[copied..]);
    Ok(sized(&marked))
}

/// A function without parameters that drops every segment whose flag is set.
pub(crate) fn dropper(flags: &Flags) -> Vec<u8> {
    // No locals.
    let mut body = vec![0];
    for (mark, flag) in flags {
        let drop = match *mark {
            Mark::Table(_) => continue,
            Mark::Data(segment) => [vec![0xfc, 9], number(segment)],
            Mark::Element(segment) => [vec![0xfc, 13], number(segment)],
        };
        // global.get, if, the drop, end
        body.push(0x23);
        body.extend(number(*flag));
        body.extend([0x04, 0x40]);
        body.extend(drop.concat());
        body.push(0x0b);
    }
    body.push(0x0b);
    sized(&body)
}

/// A global for a flag that is not set: mutable, of the type i32, zero.
pub(crate) const FLAG: [u8; 5] = [0x7f, 1, 0x41, 0, 0x0b];
/// The type of [`dropper`].
pub(crate) const DROPPER_TYPE: [u8; 3] = [0x60, 0, 0];
