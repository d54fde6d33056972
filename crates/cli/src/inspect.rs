//! `memfold inspect`: whether a module or a component can be forked, what its state is, and every
//! reason against it with what would help.
//!
//! Nothing is compiled and nothing runs. Pure but for reading the file.

use crate::args::InspectOptions;
use crate::error::{Error, Exit};
use crate::output;
use crate::run::{Outline, named, read_module};
use memfold_wasmtime::{
    Addresses, Cell, Given, MemoryPlan, NotForkable, Prepared, PreparedComponent, Reason, prepare_component,
    prepare_with,
};
use serde::Serialize;
use std::fmt::Write;
use wasmparser::{BinaryReaderError, ComponentExternalKind, Parser, Payload};

/// What there is to say of a module.
#[derive(Debug, Default, Serialize)]
struct Report {
    module: String,
    forkable: bool,
    /// Whether it can be when its imported globals are given values, and not before.
    forkable_with_values: bool,
    /// In the order in which they were found; none if it can be forked.
    reasons: Vec<Why>,
    state: Option<State>,
    /// What a host must provide.
    imports: Vec<String>,
    /// What each instance has for itself, although it is imported.
    own_imports: Vec<String>,
    /// The functions that can be called.
    functions: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Why {
    reason: String,
    help: &'static str,
}

/// What a fork copies.
#[derive(Debug, Serialize)]
struct State {
    /// In the order of their indices.
    memories: Vec<Space>,
    mutable_globals: usize,
    /// Tables that the program may change.
    changing_tables: usize,
    /// Functions that references in them can be to.
    referable_functions: usize,
    /// Segments that the program may drop.
    dropped_segments: usize,
    start_function: bool,
}

/// One memory.
#[derive(Debug, Serialize)]
struct Space {
    pages: u64,
    most_pages: Option<u64>,
    page_bytes: u64,
    address_bits: u32,
    /// Of the segments that it begins with; those of a component are not told apart by memories.
    data_bytes: Option<usize>,
}

/// Reads the module and prints the report.
pub(crate) fn inspect(options: &InspectOptions) -> Result<Exit, Error> {
    let bytes = read_module(&options.module)?;
    let report = if Parser::is_component(&bytes) {
        of_component(&bytes, prepare_component(&bytes))
    } else {
        // A module that lacks nothing but values can be forked when it is given some.
        let prepared = prepare_with(&bytes, &Given::new());
        let values = prepared.is_err() && prepare_with(&bytes, &Given::new().zeros()).is_ok();
        Report {
            forkable_with_values: values,
            ..report(&bytes, prepared)
        }
    };
    let report = Report {
        module: options.module.display().to_string(),
        ..report
    };
    output::print(&if options.json {
        serde_json::to_string(&report).expect("the report has no map with other keys than text") + "\n"
    } else {
        text(&report)
    })?;
    Ok(if report.forkable { Exit::Fine } else { Exit::Input })
}

fn report(bytes: &[u8], prepared: Result<Prepared, NotForkable>) -> Report {
    let mut report = Report::default();
    if let Ok(outline) = Outline::read(bytes) {
        report.functions = outline.functions();
        let imports = outline.imports.iter();
        report.imports = imports
            .map(|import| named(&import.module, &import.name))
            .collect();
    }
    match prepared {
        Ok(prepared) => {
            report.forkable = true;
            report.own_imports = prepared
                .own()
                .iter()
                .map(|own| named(&own.module, &own.name))
                .collect();
            let own = &report.own_imports;
            report.imports.retain(|import| !own.contains(import));
            report.state = Some(State::new(&prepared));
        }
        Err(refused) => report.reasons = reasons(refused),
    }
    report
}

fn reasons(NotForkable { reasons }: NotForkable) -> Vec<Why> {
    let why = |reason: Reason| Why {
        reason: reason.to_string(),
        help: reason.help(),
    };
    reasons.into_iter().map(why).collect()
}

fn of_component(bytes: &[u8], prepared: Result<PreparedComponent, NotForkable>) -> Report {
    let mut report = Report::default();
    // Whatever is wrong with it stands among the reasons.
    let _ = report.read_names(bytes);
    match prepared {
        Ok(prepared) => {
            report.forkable = true;
            report.state = Some(State::of_component(&prepared));
        }
        Err(refused) => report.reasons = reasons(refused),
    }
    report
}

impl Report {
    /// What a component imports and exports.
    fn read_names(&mut self, bytes: &[u8]) -> Result<(), BinaryReaderError> {
        // How many modules and components inside of it we are in.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        self.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        let export = export?;
                        if matches!(
                            export.kind,
                            ComponentExternalKind::Func | ComponentExternalKind::Instance
                        ) {
                            self.functions.push(export.name.name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl State {
    fn new(prepared: &Prepared) -> Self {
        let dropped_segments = prepared.drops().map_or(0, |drops| drops.flags.len());
        State {
            memories: prepared
                .memories()
                .iter()
                .map(|memory| {
                    let own = prepared.segments().iter();
                    let own = own.filter(|segment| segment.memory == memory.index);
                    Space::new(memory, Some(own.map(|segment| segment.bytes.len()).sum()))
                })
                .collect(),
            // Flags are ours.
            mutable_globals: prepared.globals().len() - prepared.tables().len() - dropped_segments,
            changing_tables: prepared.tables().len(),
            referable_functions: prepared.functions().len(),
            dropped_segments,
            start_function: prepared.start().is_some(),
        }
    }

    /// Of all core instances.
    fn of_component(prepared: &PreparedComponent) -> Self {
        let copied = prepared.cells().iter().filter(|cell| **cell == Cell::Copied);
        let copied = copied.count();
        let memories = prepared.memories().iter();
        State {
            memories: memories.map(|memory| Space::new(memory, None)).collect(),
            // A vector counts as two.
            mutable_globals: copied - prepared.drops().len(),
            changing_tables: prepared.cells().len() - copied,
            referable_functions: 0,
            dropped_segments: prepared.drops().len(),
            start_function: prepared.starts(),
        }
    }
}

impl Space {
    fn new(memory: &MemoryPlan, data_bytes: Option<usize>) -> Self {
        Space {
            pages: memory.minimum_pages,
            most_pages: memory.maximum_pages,
            page_bytes: memory.page_bytes,
            address_bits: match memory.addresses {
                Addresses::Bits32 => 32,
                Addresses::Bits64 => 64,
            },
            data_bytes,
        }
    }

    fn text(&self) -> String {
        let page = match self.page_bytes {
            1 => "1 byte".to_owned(),
            bytes => format!("{} KiB", bytes >> 10),
        };
        let most = self.most_pages;
        let most = most.map_or("no limit".to_owned(), |most| format!("at most {most}"));
        let wide = match self.address_bits {
            32 => "",
            _ => "64-bit addresses, ",
        };
        let pages = self.pages;
        let data = self.data_bytes;
        let data = data.map_or(String::new(), |data| format!("{data} bytes of data"));
        let more = format!("{wide}{data}");
        let more = more.trim_end_matches([',', ' ']);
        let more = if more.is_empty() {
            String::new()
        } else {
            format!("; {more}")
        };
        format!("{pages} pages of {page} at first, {most}{more}")
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let can = match (report.forkable, report.forkable_with_values) {
        (true, _) => "can be forked",
        (false, true) => "can be forked when its imported globals are given values",
        (false, false) => "cannot be forked",
    };
    let mut line = |line: String| writeln!(text, "{line}").expect("text takes any more text");
    line(format!("{} {can}", report.module));
    for why in &report.reasons {
        line(format!("  - {}", why.reason));
        line(format!("    -> {}", why.help));
    }
    if let Some(state) = &report.state {
        for (index, memory) in state.memories.iter().enumerate() {
            let title = match state.memories.len() {
                1 => "memory".to_owned(),
                _ => format!("memory {index}"),
            };
            line(format!("  {title:<10} {}", memory.text()));
        }
        line(format!("  globals    {} mutable", state.mutable_globals));
        line(format!(
            "  tables     {} that the program may change; {} functions that a reference can be to",
            state.changing_tables, state.referable_functions
        ));
        line(format!(
            "  segments   {} that the program may drop",
            state.dropped_segments
        ));
        let start = if state.start_function {
            "there is one; forks do not run it"
        } else {
            "none"
        };
        line(format!("  start      {start}"));
    }
    for (title, names) in [
        ("own       ", &report.own_imports),
        ("imports   ", &report.imports),
        ("functions ", &report.functions),
    ] {
        if !names.is_empty() {
            line(format!("  {title} {}", names.join(", ")));
        }
    }
    text
}
