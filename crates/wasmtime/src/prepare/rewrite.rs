//! Writes the forkable form of a module: new exports, no start section, empty
//! passive segments for active ones. All other sections are copied as they
//! are, so no index changes and code offsets stay those of the input's code
//! section.
//!
//! Called by `prepare` after `scan.rs` found nothing against it.

use super::scan::Found;
use super::{GlobalPlan, MemoryPlan, Prepared};
use std::collections::HashSet;
use twox_hash::XxHash3_128;
use wasm_encoder::{DataSection, ExportKind, ExportSection, Module, RawSection};
use wasmparser::{
    BinaryReaderError, DataKind, DataSectionReader, ExportSectionReader, ExternalKind, Parser, Payload,
};

type Result<T> = std::result::Result<T, BinaryReaderError>;

/// The rewritten module, and what its first instance still needs.
pub(super) fn rewrite(wasm: &[u8], found: Found<'_>) -> Result<Prepared> {
    let added = Added::new(&found, fingerprint(wasm));
    let wasm = rewritten(wasm, &added)?;
    Ok(Prepared {
        wasm,
        memory: added.memory,
        globals: added.globals,
        segments: found.segments,
        start: added.start.map(|(name, _)| name),
    })
}

/// Changes whenever what is made of one and the same module does, so that a module that was compiled from an earlier form is
/// not taken for this one.
const FORM: u64 = 1;

/// Tells a module from every other. It stands in the name of an export, because that, unlike a custom section, can be
/// read from a compiled module. No protection against forgers: who makes compiled modules can make any.
fn fingerprint(wasm: &[u8]) -> u128 {
    XxHash3_128::oneshot_with_seed(FORM, wasm)
}

/// The exports that the module gets.
struct Added {
    memory: MemoryPlan,
    globals: Vec<GlobalPlan>,
    /// Name and function.
    start: Option<(String, u32)>,
}

impl Added {
    fn new(found: &Found<'_>, fingerprint: u128) -> Self {
        let prefix = unused_prefix(&found.export_names);
        let global = |&index: &u32| GlobalPlan {
            index,
            export: format!("{prefix}global{index}"),
        };
        Added {
            memory: MemoryPlan {
                export: format!("{prefix}memory:{fingerprint:032x}"),
                minimum_pages: found.memory.initial,
                maximum_pages: found.memory.maximum,
            },
            globals: found.globals.iter().map(global).collect(),
            start: found.start.map(|function| (format!("{prefix}start"), function)),
        }
    }

    /// Ours behind the module's own.
    fn behind(&self, mut exports: ExportSection) -> ExportSection {
        exports.export(&self.memory.export, ExportKind::Memory, 0);
        for global in &self.globals {
            exports.export(&global.export, ExportKind::Global, global.index);
        }
        if let Some((name, function)) = &self.start {
            exports.export(name, ExportKind::Func, *function);
        }
        exports
    }
}

fn rewritten(wasm: &[u8], added: &Added) -> Result<Vec<u8>> {
    let mut out = Module::new();
    let mut exported = false;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if !exported && comes_after_exports(&payload) {
            exported = true;
            out.section(&added.behind(ExportSection::new()));
        }
        match payload {
            Payload::ExportSection(section) => {
                exported = true;
                out.section(&added.behind(own_exports(section)?));
            }
            Payload::StartSection { .. } => {}
            Payload::DataSection(section) => {
                out.section(&emptied(section)?);
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    out.section(&RawSection {
                        id,
                        data: &wasm[range],
                    });
                }
            }
        }
    }
    Ok(out.finish())
}

/// A beginning that no export of the module has.
fn unused_prefix(names: &[&str]) -> String {
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

/// Whether the export section must stand before this payload.
fn comes_after_exports(payload: &Payload<'_>) -> bool {
    matches!(
        payload,
        Payload::StartSection { .. }
            | Payload::ElementSection(_)
            | Payload::DataCountSection { .. }
            | Payload::CodeSectionStart { .. }
            | Payload::DataSection(_)
            | Payload::End(_)
    )
}

fn own_exports(section: ExportSectionReader<'_>) -> Result<ExportSection> {
    let mut exports = ExportSection::new();
    for export in section {
        let export = export?;
        let kind = match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
            ExternalKind::Table => ExportKind::Table,
            ExternalKind::Memory => ExportKind::Memory,
            ExternalKind::Global => ExportKind::Global,
            ExternalKind::Tag => ExportKind::Tag,
        };
        exports.export(export.name, kind, export.index);
    }
    Ok(exports)
}

/// The data section as it is after instantiation: active segments are empty.
fn emptied(section: DataSectionReader<'_>) -> Result<DataSection> {
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
