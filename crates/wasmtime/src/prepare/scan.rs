//! Reads a validated module once: collects what a fork must carry ([`Found`])
//! and every reason against it.
//!
//! Called by `prepare`; the next to read is `rewrite.rs`. A reader's error is
//! passed on although validation came first: no input may panic.

use super::{NotForkable, Reason, Segment, Site};
use std::collections::BTreeMap;
use wasmparser::{
    BinaryReaderError, ConstExpr, Data, DataKind, ElementItems, FunctionBody, Import, MemoryType, Operator,
    Parser, Payload, TableInit, TypeRef, ValType,
};

type Result<T, E = BinaryReaderError> = std::result::Result<T, E>;

const WASM_PAGE: u64 = 1 << 16;

/// What `rewrite.rs` needs of a module that can be forked.
pub(super) struct Found<'a> {
    pub memory: MemoryType,
    /// The indices of the mutable globals.
    pub globals: Vec<u32>,
    pub segments: Vec<Segment>,
    pub start: Option<u32>,
    pub export_names: Vec<&'a str>,
}

/// What was seen so far.
#[derive(Default)]
pub(super) struct Scan<'a> {
    reasons: Vec<Reason>,
    /// Instructions that forbid a fork, by their name.
    sites: BTreeMap<&'static str, (Class, Site)>,
    memory: Option<MemoryType>,
    memory_count: u32,
    global_count: u32,
    globals: Vec<u32>,
    segment_count: u32,
    segments: Vec<Segment>,
    start: Option<u32>,
    export_names: Vec<&'a str>,
}

/// Reads the module.
pub(super) fn scan(wasm: &[u8]) -> Result<Scan<'_>> {
    let mut scan = Scan::default();
    for payload in Parser::new(0).parse_all(wasm) {
        scan.payload(payload?)?;
    }
    Ok(scan)
}

impl<'a> Scan<'a> {
    /// The facts, if there is no reason against a fork.
    pub(super) fn finish(mut self) -> std::result::Result<Found<'a>, NotForkable> {
        if self.memory_count > 1 {
            self.reasons.push(Reason::SeveralMemories {
                count: self.memory_count,
            });
        }
        self.reasons
            .extend(self.sites.into_values().map(|(class, site)| class.reason(site)));
        let memory = match self.memory {
            Some(memory) if self.reasons.is_empty() => memory,
            Some(_) => {
                return Err(NotForkable {
                    reasons: self.reasons,
                });
            }
            None => {
                if self.memory_count == 0 {
                    self.reasons.push(Reason::NoMemory);
                }
                return Err(NotForkable {
                    reasons: self.reasons,
                });
            }
        };
        Ok(Found {
            memory,
            globals: self.globals,
            segments: self.segments,
            start: self.start,
            export_names: self.export_names,
        })
    }

    fn payload(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::ImportSection(section) => each(section.into_imports(), |import| self.import(import)),
            Payload::MemorySection(section) => each(section, |memory| {
                self.memory_type(memory);
                self.memory = self.memory.or(Some(memory));
                Ok(())
            }),
            Payload::TableSection(section) => each(section, |table| match table.init {
                TableInit::RefNull => Ok(()),
                TableInit::Expr(expression) => self.expression(&expression),
            }),
            Payload::GlobalSection(section) => each(section, |global| {
                self.defined_global(global.ty);
                self.expression(&global.init_expr)
            }),
            Payload::ExportSection(section) => each(section, |export| {
                self.export_names.push(export.name);
                Ok(())
            }),
            Payload::ElementSection(section) => each(section, |element| match element.items {
                ElementItems::Functions(_) => Ok(()),
                ElementItems::Expressions(_, items) => each(items, |item| self.expression(&item)),
            }),
            Payload::StartSection { func, .. } => {
                self.start = Some(func);
                Ok(())
            }
            Payload::DataSection(section) => each(section, |data| self.data(&data)),
            Payload::CodeSectionEntry(body) => self.body(&body),
            _ => Ok(()),
        }
    }

    fn import(&mut self, import: Import<'_>) -> Result<()> {
        let module = import.module.to_owned();
        let name = import.name.to_owned();
        match import.ty {
            TypeRef::Memory(memory) => {
                self.reasons.push(Reason::ImportedMemory { module, name });
                self.memory_type(memory);
            }
            TypeRef::Table(_) => self.reasons.push(Reason::ImportedTable { module, name }),
            TypeRef::Global(global) => {
                self.global_count += 1;
                if global.mutable {
                    self.reasons.push(Reason::ImportedMutableGlobal { module, name });
                }
            }
            TypeRef::Func(_) | TypeRef::FuncExact(_) | TypeRef::Tag(_) => {}
        }
        Ok(())
    }

    /// What imported and defined memories have in common.
    fn memory_type(&mut self, memory: MemoryType) {
        self.memory_count += 1;
        let mut refuse = |reason: Reason| {
            // One memory of a kind is enough to know of the kind.
            if !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        };
        if memory.shared {
            refuse(Reason::SharedMemory);
        }
        if memory.memory64 {
            refuse(Reason::Memory64);
        }
        if let Some(log2) = memory.page_size_log2.filter(|&log2| 1 << log2 != WASM_PAGE) {
            refuse(Reason::CustomPageSize { log2 });
        }
    }

    fn defined_global(&mut self, ty: wasmparser::GlobalType) {
        let global = self.global_count;
        self.global_count += 1;
        if !ty.mutable {
            return;
        }
        if matches!(ty.content_type, ValType::Ref(_)) {
            self.reasons.push(Reason::MutableReferenceGlobal { global });
        } else {
            self.globals.push(global);
        }
    }

    fn data(&mut self, data: &Data<'_>) -> Result<()> {
        let segment = self.segment_count;
        self.segment_count += 1;
        let DataKind::Active {
            memory_index: 0,
            offset_expr,
        } = &data.kind
        else {
            // Passive ones stay as they are; a second memory is refused anyway.
            return Ok(());
        };
        // An offset is as wide as an address; ours are 32 bits wide.
        let Some(offset) = constant(offset_expr)? else {
            self.reasons.push(Reason::NonConstantOffset { segment });
            return Ok(());
        };
        let offset = u64::from(offset);
        let size = self
            .memory
            .map_or(0, |memory| memory.initial.saturating_mul(WASM_PAGE));
        if self.memory_count == 1 && self.memory.is_some_and(|memory| !memory.memory64) {
            if offset + data.data.len() as u64 > size {
                self.reasons.push(Reason::SegmentOutOfBounds { segment });
            } else if !data.data.is_empty() {
                self.segments.push(Segment {
                    offset,
                    bytes: data.data.to_vec(),
                });
            }
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<()> {
        let mut operators = body.get_operators_reader()?;
        // Ends: each turn reads at least one byte.
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            self.operator(&operator, offset);
        }
        Ok(())
    }

    fn expression(&mut self, expression: &ConstExpr<'_>) -> Result<()> {
        let mut operators = expression.get_operators_reader();
        // Ends: each turn reads at least one byte.
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            self.operator(&operator, offset);
        }
        Ok(())
    }

    fn operator(&mut self, operator: &Operator<'_>, offset: usize) {
        if let Some((class, name)) = Class::of(operator) {
            let site = Site {
                operator: name,
                offset,
                count: 0,
            };
            self.sites.entry(name).or_insert((class, site)).1.count += 1;
        }
    }
}

/// What an instruction does that forbids a fork.
#[derive(Clone, Copy)]
enum Class {
    Table,
    Drop,
    Gc,
}

impl Class {
    fn of(operator: &Operator<'_>) -> Option<(Class, &'static str)> {
        use Operator as O;
        Some(match operator {
            O::TableSet { .. } => (Class::Table, "table.set"),
            O::TableGrow { .. } => (Class::Table, "table.grow"),
            O::TableFill { .. } => (Class::Table, "table.fill"),
            O::TableCopy { .. } => (Class::Table, "table.copy"),
            O::TableInit { .. } => (Class::Table, "table.init"),
            O::ElemDrop { .. } => (Class::Drop, "elem.drop"),
            O::DataDrop { .. } => (Class::Drop, "data.drop"),
            O::StructNew { .. } => (Class::Gc, "struct.new"),
            O::StructNewDefault { .. } => (Class::Gc, "struct.new_default"),
            O::StructSet { .. } => (Class::Gc, "struct.set"),
            O::ArrayNew { .. } => (Class::Gc, "array.new"),
            O::ArrayNewDefault { .. } => (Class::Gc, "array.new_default"),
            O::ArrayNewFixed { .. } => (Class::Gc, "array.new_fixed"),
            O::ArrayNewData { .. } => (Class::Gc, "array.new_data"),
            O::ArrayNewElem { .. } => (Class::Gc, "array.new_elem"),
            O::ArraySet { .. } => (Class::Gc, "array.set"),
            O::ArrayFill { .. } => (Class::Gc, "array.fill"),
            O::ArrayCopy { .. } => (Class::Gc, "array.copy"),
            O::ArrayInitData { .. } => (Class::Gc, "array.init_data"),
            O::ArrayInitElem { .. } => (Class::Gc, "array.init_elem"),
            _ => return None,
        })
    }

    fn reason(self, site: Site) -> Reason {
        match self {
            Class::Table => Reason::TableMutation { site },
            Class::Drop => Reason::SegmentDrop { site },
            Class::Gc => Reason::Gc { site },
        }
    }
}

/// Calls `visit` for each item of a section.
fn each<T>(items: impl IntoIterator<Item = Result<T>>, mut visit: impl FnMut(T) -> Result<()>) -> Result<()> {
    items.into_iter().try_for_each(|item| visit(item?))
}

/// The value of an expression of 32-bit constants, sums, differences and
/// products; `None` when it depends on anything else.
fn constant(expression: &ConstExpr<'_>) -> Result<Option<u32>> {
    let mut stack: Vec<u32> = Vec::new();
    for operator in expression.get_operators_reader() {
        let operation = match operator? {
            Operator::I32Const { value } => {
                stack.push(value.cast_unsigned());
                continue;
            }
            Operator::I32Add => u32::wrapping_add,
            Operator::I32Sub => u32::wrapping_sub,
            Operator::I32Mul => u32::wrapping_mul,
            Operator::End => break,
            _ => return Ok(None),
        };
        let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else {
            return Ok(None);
        };
        stack.push(operation(left, right));
    }
    Ok(stack.pop())
}
