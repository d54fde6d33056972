//! `memfold inspect`: whether a module can be forked, what its state is, and every reason against
//! it with what would help.
//!
//! Nothing is compiled and nothing runs. Pure but for reading the file.

use crate::args::InspectOptions;
use crate::error::{Error, Exit};
use crate::output;
use crate::run::{Outline, named, read_module};
use memfold_wasmtime::{Given, NotForkable, Prepared, Reason, prepare_with};
use serde::Serialize;
use std::fmt::Write;

/// What there is to say of a module.
#[derive(Debug, Default, Serialize)]
struct Report {
    module: String,
    forkable: bool,
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
    /// Of 64 KiB.
    memory_pages: u64,
    most_memory_pages: Option<u64>,
    data_bytes: usize,
    mutable_globals: usize,
    /// Tables that the program may change.
    changing_tables: usize,
    /// Functions that references in them can be to.
    referable_functions: usize,
    /// Segments that the program may drop.
    dropped_segments: usize,
    start_function: bool,
}

/// Reads the module and prints the report.
pub(crate) fn inspect(options: &InspectOptions) -> Result<Exit, Error> {
    let bytes = read_module(&options.module)?;
    // A module that lacks nothing but values can be forked when it is given some.
    let prepared = prepare_with(&bytes, &Given::new());
    let report = Report {
        module: options.module.display().to_string(),
        ..report(&bytes, prepared)
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
        Err(NotForkable { reasons }) => {
            let why = |reason: Reason| Why {
                reason: reason.to_string(),
                help: reason.help(),
            };
            report.reasons = reasons.into_iter().map(why).collect();
        }
    }
    report
}

impl State {
    fn new(prepared: &Prepared) -> Self {
        let dropped_segments = prepared.drops().map_or(0, |drops| drops.flags.len());
        State {
            memory_pages: prepared.memory().minimum_pages,
            most_memory_pages: prepared.memory().maximum_pages,
            data_bytes: prepared
                .segments()
                .iter()
                .map(|segment| segment.bytes.len())
                .sum(),
            // Flags are ours.
            mutable_globals: prepared.globals().len() - prepared.tables().len() - dropped_segments,
            changing_tables: prepared.tables().len(),
            referable_functions: prepared.functions().len(),
            dropped_segments,
            start_function: prepared.start().is_some(),
        }
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let can = if report.forkable { "can" } else { "cannot" };
    let mut line = |line: String| writeln!(text, "{line}").expect("text takes any more text");
    line(format!("{} {can} be forked", report.module));
    for why in &report.reasons {
        line(format!("  - {}", why.reason));
        line(format!("    -> {}", why.help));
    }
    if let Some(state) = &report.state {
        let most = state
            .most_memory_pages
            .map_or("no limit".to_owned(), |most| format!("at most {most}"));
        line(format!(
            "  memory     {} pages of 64 KiB at first, {most}; {} bytes of data",
            state.memory_pages, state.data_bytes
        ));
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
