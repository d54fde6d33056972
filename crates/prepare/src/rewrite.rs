//! Writes the forkable form of a module: new exports, no start section, empty passive segments for
//! active ones, flags for what changes tables and drops segments. All other sections are copied as
//! they are, so no index changes, and code offsets stay those of the input's code section where no
//! flag is set.
//!
//! Called by `prepare` after `scan.rs` found nothing against it.

use crate::given::Number;
use crate::imports;
use crate::marks::{self, Flags, Mark};
use crate::plan::{Addresses, DropPlan, FunctionPlan, GlobalPlan, MemoryPlan, Prepared, TablePlan};
use crate::scan::{self, Found};
use crate::sections::{self, To, Writer, number};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use twox_hash::XxHash3_128;
use wasm_encoder::{DataSection, Encode, ExportKind, SectionId};
use wasmparser::{
    BinaryReader, BinaryReaderError, DataKind, DataSectionReader, FunctionBody, MemoryType, Parser, Payload,
};

type Result<T> = std::result::Result<T, BinaryReaderError>;

/// The rewritten module, and what its first instance still needs.
pub(crate) fn rewrite(wasm: &[u8], found: Found<'_>) -> Result<Prepared> {
    let added = Added::new(&found, fingerprint(wasm, &found.values));
    let wasm = rewritten(wasm, &found, &added)?;
    Ok(Prepared {
        wasm,
        memories: added.memories,
        globals: added.globals,
        segments: found.segments,
        start: added.start.map(|(name, _)| name),
        tables: added.tables,
        functions: added.functions,
        drops: added.drops,
        own: found.own,
    })
}

/// Changes whenever what is made of one and the same module does, so that a module that was
/// compiled from an earlier form is not taken for this one.
const FORM: u64 = 3;

/// Tells a module from every other. It stands in the name of an export, because that, unlike a
/// custom section, can be read from a compiled module. No protection against forgers: who makes
/// compiled modules can make any.
fn fingerprint(wasm: &[u8], values: &[Number]) -> u128 {
    let mut hash = XxHash3_128::with_seed(FORM);
    hash.write(wasm);
    for value in values {
        hash.write(&value.expression());
    }
    hash.finish_128()
}

/// Under this name WASI looks for the memory. Whoever imports one need not export it: its host has
/// it.
const WASI_MEMORY: &str = "memory";

/// What the module gets.
struct Added {
    memories: Vec<MemoryPlan>,
    globals: Vec<GlobalPlan>,
    /// Name and function.
    start: Option<(String, u32)>,
    tables: Vec<TablePlan>,
    functions: Vec<FunctionPlan>,
    drops: Option<DropPlan>,
    flags: Flags,
}

impl Added {
    fn new(found: &Found<'_>, fingerprint: u128) -> Self {
        let prefix = unused_prefix(&found.export_names);
        // Tables come first, so that the flags of drops stand together.
        let flags: Flags = found.marks.iter().copied().zip(found.counts.globals..).collect();
        let own = found.globals.len();
        let place = |flag: u32| own + usize::try_from(flag - found.counts.globals).unwrap_or(usize::MAX);
        let tables = flags.iter().filter_map(|(mark, flag)| match *mark {
            Mark::Table(index) => Some(TablePlan {
                index,
                name: name(&found.names.tables, index),
                export: format!("{prefix}table{index}"),
                flag: place(*flag),
                contents: found.tables.get(usize::try_from(index).ok()?)?.clone(),
            }),
            Mark::Data(_) | Mark::Element(_) => None,
        });
        let tables: Vec<_> = tables.collect();
        let drops = own + tables.len()..own + flags.len();
        let global = |index: u32| GlobalPlan {
            index,
            name: name(&found.names.globals, index),
            export: format!("{prefix}global{index}"),
        };
        let function = |&index: &u32| FunctionPlan {
            index,
            export: format!("{prefix}function{index}"),
        };
        Added {
            memories: (0..)
                .zip(&found.memories)
                .map(|(index, memory)| {
                    let export = format!("{prefix}memory{index}:{fingerprint:032x}");
                    memory_plan(index, memory, export)
                })
                .collect(),
            globals: found
                .globals
                .iter()
                .chain(flags.values())
                .copied()
                .map(global)
                .collect(),
            start: found.start.map(|function| (format!("{prefix}start"), function)),
            tables,
            functions: found.referable.iter().map(function).collect(),
            drops: (!drops.is_empty()).then(|| DropPlan {
                export: format!("{prefix}drop"),
                flags: drops,
            }),
            flags,
        }
    }

    /// Says what goes behind the module's own items.
    fn announce(&self, found: &Found<'_>, out: &mut Writer) {
        let mut export = |name: &str, kind: ExportKind, index: u32| {
            let mut item = sections::sized(name.as_bytes());
            item.push(kind as u8);
            item.extend(number(index));
            out.add(To::Exports, &item);
        };
        for memory in &self.memories {
            export(&memory.export, ExportKind::Memory, memory.index);
        }
        if found.imports_memory && !found.export_names.contains(&WASI_MEMORY) {
            export(WASI_MEMORY, ExportKind::Memory, 0);
        }
        for global in &self.globals {
            export(&global.export, ExportKind::Global, global.index);
        }
        if let Some((name, function)) = &self.start {
            export(name, ExportKind::Func, *function);
        }
        for table in &self.tables {
            export(&table.export, ExportKind::Table, table.index);
        }
        for function in &self.functions {
            export(&function.export, ExportKind::Func, function.index);
        }
        if let Some(drops) = &self.drops {
            export(&drops.export, ExportKind::Func, found.counts.functions);
            out.add(To::Types, &marks::DROPPER_TYPE);
            out.add(To::Functions, &number(found.counts.types));
            out.add(To::Code, &marks::dropper(&self.flags));
        }
        for _ in self.flags.values() {
            out.add(To::Globals, &marks::FLAG);
        }
    }
}

/// What the module calls it.
fn name(names: &BTreeMap<u32, &str>, index: u32) -> Option<String> {
    names.get(&index).map(|&name| name.to_owned())
}

/// A memory of this type, exported by this name.
pub(crate) fn memory_plan(index: u32, memory: &MemoryType, export: String) -> MemoryPlan {
    MemoryPlan {
        index,
        export,
        minimum_pages: memory.initial,
        maximum_pages: memory.maximum,
        page_bytes: scan::page_bytes(memory),
        addresses: if memory.memory64 {
            Addresses::Bits64
        } else {
            Addresses::Bits32
        },
    }
}

fn rewritten(wasm: &[u8], found: &Found<'_>, added: &Added) -> Result<Vec<u8>> {
    let mut out = Writer::default();
    added.announce(found, &mut out);
    let mut code = Code::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::StartSection { .. } => {}
            Payload::ImportSection(section) if !found.own.is_empty() => {
                let values: Vec<_> = found.values.iter().map(|value| value.expression()).collect();
                let kept = imports::own(section, wasm, found.own_globals, &values, &mut out)?;
                out.section(SectionId::Import as u8, &kept)?;
            }
            Payload::DataSection(section) => {
                let mut data = Vec::new();
                emptied(section)?.encode(&mut data);
                // Without the length in front, which the writer puts there.
                let mut reader = BinaryReader::new(&data, 0);
                reader.read_var_u32()?;
                out.section(SectionId::Data as u8, &data[reader.original_position()..])?;
            }
            Payload::CodeSectionStart { count, .. } if !found.marked_bodies.is_empty() => {
                code.begin(count);
            }
            Payload::CodeSectionEntry(body) => {
                if code.body(&body, &found.marked_bodies, &added.flags)? == Bodies::All {
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
    Ok(out.finish())
}

/// The code section, when it is written anew.
#[derive(Default)]
pub(crate) struct Code {
    section: Vec<u8>,
    left: u32,
    next: u32,
}

/// Whether more bodies follow.
#[derive(PartialEq, Eq)]
pub(crate) enum Bodies {
    More,
    All,
}

impl Code {
    pub(crate) fn begin(&mut self, count: u32) {
        self.section = number(count);
        self.left = count;
    }

    /// The next body. Those of these places, counted from 0, have flags to set.
    pub(crate) fn body(
        &mut self,
        body: &FunctionBody<'_>,
        marked: &BTreeSet<u32>,
        flags: &Flags,
    ) -> Result<Bodies> {
        if self.left == 0 {
            // The section was copied as a whole.
            return Ok(Bodies::More);
        }
        let bytes = if marked.contains(&self.next) {
            marks::marked(body, flags)?
        } else {
            sections::sized(body.as_bytes())
        };
        self.section.extend(bytes);
        self.next += 1;
        self.left -= 1;
        Ok(if self.left == 0 { Bodies::All } else { Bodies::More })
    }

    /// What was written.
    pub(crate) fn section(&self) -> &[u8] {
        &self.section
    }
}

/// A beginning that no export of the module has.
pub(crate) fn unused_prefix(names: &[&str]) -> String {
    let number = |name: &&str| {
        name.strip_prefix("memfold:")?
            .split_once(':')?
            .0
            .parse::<u64>()
            .ok()
    };
    let used: HashSet<u64> = names.iter().filter_map(number).collect();
    // Ends: each name rules out at most one number.
    let number = (0..)
        .find(|number| !used.contains(number))
        .expect("there are more numbers than names");
    format!("memfold:{number}:")
}

/// The data section as it is after instantiation: active segments are empty.
pub(crate) fn emptied(section: DataSectionReader<'_>) -> Result<DataSection> {
    let mut segments = DataSection::new();
    for data in section {
        let data = data?;
        match data.kind {
            DataKind::Passive => segments.passive(data.data.iter().copied()),
            DataKind::Active { .. } => segments.passive([]),
        };
    }
    Ok(segments)
}
