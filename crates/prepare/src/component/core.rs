//! A core module inside a component, rewritten so that the component can be forked: [`Core`].
//!
//! Unlike a module by itself, it shares what it imports with other instances of the component, and
//! where its data goes may be known only when it is instantiated. So its imports stay, and what
//! instantiation would have done (its active data segments, its start function) is done by a new
//! function of its own, which a cold start calls and a fork does not. The data of active segments
//! stands in new passive ones behind all others; the old ones are empty, as instantiation would
//! have left them. Mutable globals, flags and memories that the module defines get exports.
//!
//! Called by `component.rs`, after validation. A reader's error is passed on all the same: no input
//! may panic.

use super::start::{self, Active};
use crate::marks::{self, Flags, Mark, Marks};
use crate::objects::Objects;
use crate::plan::MemoryPlan;
use crate::reason::Reason;
use crate::rewrite::{Bodies, Code, emptied, memory_plan, unused_prefix};
use crate::scan::{each, note_memory};
use crate::sections::{self, To, Writer, number};
use std::collections::BTreeMap;
use wasm_encoder::{Encode, ExportKind, SectionId};
use wasmparser::{
    BinaryReader, BinaryReaderError, ConstExpr, Data, ElementItems, ExternalKind, GlobalType, MemoryType,
    Parser, Payload, TableInit, TypeRef, ValType,
};

type Result<T> = std::result::Result<T, BinaryReaderError>;

/// What a component's rewriting needs of one of its core modules.
pub(crate) struct Core {
    pub(crate) wasm: Vec<u8>,
    /// Those that it defines.
    pub(crate) memories: Vec<(MemoryPlan, MemoryType)>,
    /// The mutable globals that it defines: what they are exported as, and their types.
    pub(crate) globals: Vec<(String, ValType)>,
    /// The flags of tables that its code changes.
    pub(crate) tables: Vec<ChangedTable>,
    /// What the flags of dropped segments are exported as.
    pub(crate) dropped: Vec<String>,
    /// The function that drops all segments whose flags are set.
    pub(crate) drops: Option<String>,
    /// The function that does what instantiation would have done.
    pub(crate) start: Option<String>,
}

/// A table that the code of a module changes, whoever defines it.
pub(crate) struct ChangedTable {
    pub(crate) index: u32,
    pub(crate) name: Option<String>,
    /// What the flag is exported as.
    pub(crate) flag: String,
}

/// What was read.
#[derive(Default)]
struct Scan<'a> {
    reasons: Vec<Reason>,
    objects: Objects,
    memories: Vec<MemoryType>,
    imported_memories: u32,
    /// Those that are mutable, by their indices.
    globals: Vec<(u32, ValType)>,
    tables: u32,
    table_names: BTreeMap<u32, &'a str>,
    export_names: Vec<&'a str>,
    marks: Marks,
    types: u32,
    functions: u32,
    all_globals: u32,
    start: Option<u32>,
    segments: u32,
    active: Vec<Active<'a>>,
}

impl Core {
    /// Rewrites a valid module, or says every reason why that cannot be.
    pub(crate) fn new(wasm: &[u8]) -> Result<std::result::Result<Core, Vec<Reason>>> {
        let mut scan = Scan::default();
        for payload in Parser::new(0).parse_all(wasm) {
            scan.payload(payload?)?;
        }
        let objects = std::mem::take(&mut scan.objects);
        scan.reasons.extend(objects.reasons());
        if scan.reasons.is_empty() {
            scan.rewritten(wasm).map(Ok)
        } else {
            Ok(Err(scan.reasons))
        }
    }
}

impl<'a> Scan<'a> {
    fn payload(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::TypeSection(section) => each(section, |group| {
                self.types += u32::try_from(group.types().len()).unwrap_or(u32::MAX);
                Ok(())
            }),
            Payload::ImportSection(section) => each(section.into_imports(), |import| {
                self.import(import.name, import.ty);
                Ok(())
            }),
            Payload::FunctionSection(section) => {
                self.functions += section.count();
                Ok(())
            }
            Payload::TableSection(section) => each(section, |table| {
                self.tables += 1;
                match &table.init {
                    TableInit::RefNull => Ok(()),
                    TableInit::Expr(expression) => self.expression(expression),
                }
            }),
            Payload::MemorySection(section) => each(section, |memory| {
                note_memory(&mut self.memories, memory, &mut self.reasons);
                Ok(())
            }),
            Payload::GlobalSection(section) => each(section, |global| {
                self.global(global.ty);
                self.expression(&global.init_expr)
            }),
            Payload::ExportSection(section) => each(section, |export| {
                self.export_names.push(export.name);
                if export.kind == ExternalKind::Table {
                    self.table_names.insert(export.index, export.name);
                }
                Ok(())
            }),
            Payload::StartSection { func, .. } => {
                self.start = Some(func);
                Ok(())
            }
            Payload::ElementSection(section) => each(section, |element| match element.items {
                ElementItems::Functions(_) => Ok(()),
                ElementItems::Expressions(_, items) => each(items, |item| self.expression(&item)),
            }),
            Payload::CodeSectionEntry(body) => self.marks.read(&body),
            Payload::DataSection(section) => each(section, |data| {
                self.data(&data);
                Ok(())
            }),
            _ => Ok(()),
        }
    }

    fn import(&mut self, name: &'a str, ty: TypeRef) {
        match ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => self.functions += 1,
            TypeRef::Table(_) => {
                self.table_names.insert(self.tables, name);
                self.tables += 1;
            }
            TypeRef::Memory(memory) => {
                self.imported_memories += 1;
                self.memories.push(memory);
            }
            TypeRef::Global(_) => self.all_globals += 1,
            TypeRef::Tag(_) => {}
        }
    }

    fn global(&mut self, ty: GlobalType) {
        let global = self.all_globals;
        self.all_globals += 1;
        if !ty.mutable {
            return;
        }
        if let ValType::Ref(_) = ty.content_type {
            self.reasons.push(Reason::ReferenceGlobal { global });
        }
        self.globals.push((global, ty.content_type));
    }

    /// An expression that instantiation evaluates.
    fn expression(&mut self, expression: &ConstExpr<'_>) -> Result<()> {
        self.objects.read(expression, |_| ())
    }

    fn data(&mut self, data: &Data<'a>) {
        self.segments += 1;
        self.active.extend(Active::of(data));
    }

    fn rewritten(self, wasm: &[u8]) -> Result<Core> {
        let flags: Flags = self.marks.all.iter().copied().zip(self.all_globals..).collect();
        let prefix = unused_prefix(&self.export_names);
        let mut out = Writer::default();
        let core = self.announce(&flags, &prefix, &mut out);
        let mut code = Code::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::StartSection { .. } | Payload::DataCountSection { .. } => {}
                Payload::DataSection(section) => {
                    let mut segments = emptied(section)?;
                    for active in &self.active {
                        segments.passive(active.bytes.iter().copied());
                    }
                    let mut data = Vec::new();
                    segments.encode(&mut data);
                    // Without the length in front, which the writer puts there.
                    let mut reader = BinaryReader::new(&data, 0);
                    reader.read_var_u32()?;
                    out.section(SectionId::Data as u8, &data[reader.original_position()..])?;
                }
                Payload::CodeSectionStart { count, .. } if !self.marks.bodies.is_empty() => {
                    code.begin(count);
                }
                Payload::CodeSectionEntry(body) => {
                    if code.body(&body, &self.marks.bodies, &flags)? == Bodies::All {
                        out.section(sections::CODE, code.section())?;
                    }
                }
                other => {
                    if let Some((id, range)) = other.as_section() {
                        out.section(id, &wasm[range])?;
                    }
                }
            }
        }
        Ok(Core {
            wasm: out.finish(),
            ..core
        })
    }

    /// Says what goes behind the module's own items.
    fn announce(&self, flags: &Flags, prefix: &str, out: &mut Writer) -> Core {
        let mut core = self.core(flags, prefix);
        let mut export = |name: &str, kind: ExportKind, index: u32| {
            let mut item = sections::sized(name.as_bytes());
            item.push(kind as u8);
            item.extend(number(index));
            out.add(To::Exports, &item);
        };
        for (memory, _) in &core.memories {
            export(&memory.export, ExportKind::Memory, memory.index);
        }
        for (name, (index, _)) in core.globals.iter().zip(&self.globals) {
            export(&name.0, ExportKind::Global, *index);
        }
        for (mark, index) in flags {
            export(&flag_name(prefix, *mark), ExportKind::Global, *index);
        }
        let mut function = self.functions;
        let mut bodies = Vec::new();
        if self.start.is_some() || !self.active.is_empty() {
            let name = format!("{prefix}start");
            export(&name, ExportKind::Func, function);
            bodies.push(start::starter(&self.active, self.segments, self.start));
            core.start = Some(name);
            function += 1;
        }
        if !core.dropped.is_empty() {
            let name = format!("{prefix}drop");
            export(&name, ExportKind::Func, function);
            bodies.push(marks::dropper(flags));
            core.drops = Some(name);
        }
        if !bodies.is_empty() {
            out.add(To::Types, &marks::DROPPER_TYPE);
        }
        for body in bodies {
            out.add(To::Functions, &number(self.types));
            out.add(To::Code, &body);
        }
        for _ in flags {
            out.add(To::Globals, &marks::FLAG);
        }
        if self.segments > 0 {
            let active = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
            out.count_data(self.segments.saturating_add(active));
        }
        core
    }

    /// What is exported, functions left out.
    fn core(&self, flags: &Flags, prefix: &str) -> Core {
        let defined = self
            .memories
            .iter()
            .zip(0..)
            .skip(self.imported_memories as usize);
        let table = |mark: &Mark| match *mark {
            Mark::Table(index) => Some(ChangedTable {
                index,
                name: self.table_names.get(&index).map(|&name| name.to_owned()),
                flag: flag_name(prefix, *mark),
            }),
            Mark::Data(_) | Mark::Element(_) => None,
        };
        let drops = flags.keys().filter(|mark| !matches!(mark, Mark::Table(_)));
        Core {
            wasm: Vec::new(),
            memories: defined
                .map(|(memory, index)| {
                    let export = format!("{prefix}memory{index}");
                    (memory_plan(index, memory, export), *memory)
                })
                .collect(),
            globals: self
                .globals
                .iter()
                .map(|(index, ty)| (format!("{prefix}global{index}"), *ty))
                .collect(),
            tables: flags.keys().filter_map(table).collect(),
            dropped: drops.map(|mark| flag_name(prefix, *mark)).collect(),
            drops: None,
            start: None,
        }
    }
}

/// What the flag of a mark is exported as.
fn flag_name(prefix: &str, mark: Mark) -> String {
    match mark {
        Mark::Table(index) => format!("{prefix}table{index}-changed"),
        Mark::Data(index) => format!("{prefix}data{index}-dropped"),
        Mark::Element(index) => format!("{prefix}element{index}-dropped"),
    }
}
