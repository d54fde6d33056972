//! Reads a validated module once: collects what a fork must carry ([`Found`])
//! and every reason against it.
//!
//! Called by `prepare`; the next to read is `rewrite.rs`. A reader's error is
//! passed on although validation came first: no input may panic.

mod fields;

use crate::given::{Given, Number};
use crate::imports::{Globals, Own};
use crate::marks::{Mark, Marks};
use crate::objects::Objects;
use crate::plan::{MOST_BYTES, Segment};
use crate::reason::{NotForkable, Reason};
use crate::tables::Contents;
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{BinaryReaderError, ConstExpr, Export, ExternalKind, MemoryType, Operator, Parser, Payload};

type Result<T, E = BinaryReaderError> = std::result::Result<T, E>;

/// The binary logarithm of a page's bytes, where a memory says nothing else.
const PAGE_LOG2: u32 = 16;

/// Bytes of one page of a memory of this type.
pub(crate) fn page_bytes(memory: &MemoryType) -> u64 {
    // The validator takes 0 and 16, and no other.
    1_u64
        .checked_shl(memory.page_size_log2.unwrap_or(PAGE_LOG2))
        .unwrap_or(u64::MAX)
}

/// What `rewrite.rs` needs of a module that can be forked.
pub(crate) struct Found<'a> {
    /// At least one, in the order of their indices.
    pub memories: Vec<MemoryType>,
    /// The indices of the mutable globals.
    pub globals: Vec<u32>,
    pub segments: Vec<Segment>,
    pub start: Option<u32>,
    pub export_names: Vec<&'a str>,
    /// What globals and tables are called outside.
    pub names: Names<'a>,
    /// What instructions do that is to be remembered.
    pub marks: BTreeSet<Mark>,
    /// The bodies, by their places in the code section, in which such instructions stand.
    pub marked_bodies: BTreeSet<u32>,
    /// The tables, in the order of their indices.
    pub tables: Vec<Contents>,
    /// Functions that a reference can be to; empty when nothing that changes can hold one.
    pub referable: BTreeSet<u32>,
    pub counts: Counts,
    /// Imports that become the instance's own.
    pub own: Vec<Own>,
    pub own_globals: Globals,
    /// Whether the first memory is imported.
    pub imports_memory: bool,
    /// The values of imported globals, if they become the instance's own.
    pub values: Vec<Number>,
}

/// How many there are of what gets more by rewriting.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub types: u32,
    pub functions: u32,
    pub globals: u32,
}

/// What was seen so far.
pub(crate) struct Scan<'a> {
    given: &'a Given,
    own: Vec<Own>,
    own_globals: Globals,
    imports_memory: bool,
    imported_globals: Vec<Imported>,
    reasons: Vec<Reason>,
    objects: Objects,
    memories: Vec<MemoryType>,
    globals: Vec<u32>,
    /// Whether one of these holds a reference.
    holds_references: bool,
    marks: Marks,
    tables: Vec<Contents>,
    /// Those whose slots begin with what a global gives.
    tables_of_globals: Vec<u32>,
    referable: BTreeSet<u32>,
    counts: Counts,
    segment_count: u32,
    segments: Vec<Segment>,
    start: Option<u32>,
    export_names: Vec<&'a str>,
    names: Names<'a>,
}

/// What globals and tables are exported as, or else imported as, by their indices.
#[derive(Default)]
pub(crate) struct Names<'a> {
    pub globals: BTreeMap<u32, &'a str>,
    pub tables: BTreeMap<u32, &'a str>,
}

/// A global that is imported.
struct Imported {
    names: Own,
    mutable: bool,
    value: Option<Number>,
}

/// Reads the module.
pub(crate) fn scan<'a>(wasm: &'a [u8], given: &'a Given) -> Result<Scan<'a>> {
    let mut scan = Scan::new(given);
    for payload in Parser::new(0).parse_all(wasm) {
        scan.payload(payload?)?;
    }
    Ok(scan)
}

impl<'a> Scan<'a> {
    fn new(given: &'a Given) -> Self {
        Scan {
            given,
            own: Vec::new(),
            own_globals: Globals::default(),
            imports_memory: false,
            imported_globals: Vec::new(),
            reasons: Vec::new(),
            objects: Objects::default(),
            memories: Vec::new(),
            globals: Vec::new(),
            holds_references: false,
            marks: Marks::default(),
            tables: Vec::new(),
            tables_of_globals: Vec::new(),
            referable: BTreeSet::new(),
            counts: Counts::default(),
            segment_count: 0,
            segments: Vec::new(),
            start: None,
            export_names: Vec::new(),
            names: Names::default(),
        }
    }

    /// The facts, if there is no reason against a fork.
    pub(crate) fn finish(mut self) -> std::result::Result<Found<'a>, NotForkable> {
        let values = self.values();
        self.reasons.extend(self.objects.reasons());
        if self.memories.is_empty() {
            self.reasons.push(Reason::NoMemory);
        }
        if !self.reasons.is_empty() {
            return Err(NotForkable {
                reasons: self.reasons,
            });
        }
        let changes = |mark: &Mark| matches!(mark, Mark::Table(_));
        if !self.holds_references && !self.marks.all.iter().any(changes) {
            self.referable.clear();
        }
        Ok(Found {
            memories: self.memories,
            globals: self.globals,
            segments: self.segments,
            start: self.start,
            export_names: self.export_names,
            names: self.names,
            marks: self.marks.all,
            marked_bodies: self.marks.bodies,
            tables: self.tables,
            referable: self.referable,
            counts: self.counts,
            own: self.own,
            own_globals: self.own_globals,
            imports_memory: self.imports_memory,
            values,
        })
    }

    fn payload(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::TypeSection(section) => each(section, |group| {
                let types = u32::try_from(group.types().len()).unwrap_or(u32::MAX);
                self.counts.types = self.counts.types.saturating_add(types);
                Ok(())
            }),
            Payload::FunctionSection(section) => {
                self.counts.functions = self.counts.functions.saturating_add(section.count());
                Ok(())
            }
            Payload::ImportSection(section) => each(section.into_imports(), |import| self.import(import)),
            Payload::MemorySection(section) => each(section, |memory| {
                note_memory(&mut self.memories, memory, &mut self.reasons);
                Ok(())
            }),
            Payload::TableSection(section) => each(section, |table| self.table(&table)),
            Payload::GlobalSection(section) => each(section, |global| {
                self.defined_global(global.ty);
                self.expression(&global.init_expr)
            }),
            Payload::ExportSection(section) => each(section, |export| {
                self.export(export);
                Ok(())
            }),
            Payload::ElementSection(section) => each(section, |element| self.element(&element)),
            Payload::StartSection { func, .. } => {
                self.start = Some(func);
                Ok(())
            }
            Payload::DataSection(section) => each(section, |data| self.data(&data)),
            Payload::CodeSectionEntry(body) => self.marks.read(&body),
            _ => Ok(()),
        }
    }

    fn export(&mut self, export: Export<'a>) {
        self.export_names.push(export.name);
        match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                self.referable.insert(export.index);
            }
            ExternalKind::Global => {
                self.names.globals.insert(export.index, export.name);
            }
            ExternalKind::Table => {
                self.names.tables.insert(export.index, export.name);
            }
            ExternalKind::Memory | ExternalKind::Tag => {}
        }
    }

    /// An expression that instantiation evaluates.
    fn expression(&mut self, expression: &ConstExpr<'_>) -> Result<()> {
        let Self {
            objects, referable, ..
        } = self;
        objects.read(expression, |operator| {
            if let Operator::RefFunc { function_index } = operator {
                referable.insert(*function_index);
            }
        })
    }
}

/// What imported and defined memories have in common: they are numbered together, and some are
/// refused.
pub(crate) fn note_memory(memories: &mut Vec<MemoryType>, memory: MemoryType, reasons: &mut Vec<Reason>) {
    let index = u32::try_from(memories.len()).unwrap_or(u32::MAX);
    memories.push(memory);
    // One shared memory is enough to know of the kind.
    if memory.shared && !reasons.contains(&Reason::SharedMemory) {
        reasons.push(Reason::SharedMemory);
    }
    let bytes = u128::from(memory.initial) * u128::from(page_bytes(&memory));
    if bytes > u128::from(MOST_BYTES) {
        reasons.push(Reason::LargeMemory { memory: index, bytes });
    }
}

/// Calls `visit` for each item of a section.
pub(crate) fn each<T>(
    items: impl IntoIterator<Item = Result<T>>,
    mut visit: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    items.into_iter().try_for_each(|item| visit(item?))
}
