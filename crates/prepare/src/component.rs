//! Makes a component forkable, or says every reason why it cannot be: [`prepare_component`].
//!
//! The state of a component instance is that of its core instances, and its handles: a fork is made
//! only where there are none, so those need no copying. Each core module is rewritten (`core.rs`)
//! so that instantiation does nothing but make it, and its mutable globals, flags and memories are
//! exported; a module behind all others (`accessor.rs`) gets at them, and is lifted as functions
//! that the component exports. Nothing else changes, and no index does: what is new stands at the
//! end.
//!
//! Pure; no state.

mod accessor;
mod core;
mod plan;
mod start;
#[cfg(test)]
mod tests;

pub use plan::{Cell, ComponentTable, PreparedComponent};

use crate::reason::{NotForkable, Reason};
use accessor::{Accessor, Ends, Item, cells_of};
use core::Core;
use twox_hash::XxHash3_128;
use wasm_encoder::{Component, ComponentSectionId, RawSection};
use wasmparser::types::Types;
use wasmparser::{
    BinaryReader, BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentExternalKind,
    ComponentTypeRef, Instance, Parser, Payload, Validator, WasmFeatures,
};

type Result<T, E = BinaryReaderError> = std::result::Result<T, E>;

/// Rewrites a component of the binary format so that its instances can be forked.
///
/// Its core modules stand in the component itself, not in components inside of it, and define at
/// least one memory, of at most [`MOST_BYTES`](crate::MOST_BYTES). It keeps its imports, exports
/// and all indices; one export is new, an instance whose name begins with `memfold-` and ends with
/// a fingerprint.
///
/// A fresh instance does nothing of itself: the accessor's `start` writes its data and calls the
/// start functions of its core modules, in the order of the core instances, when all are there. (In
/// the original each would run before the next instance is made, so one that calls what a later one
/// puts into a table traps there, and not here.)
///
/// The cost is that of [`prepare`](crate::prepare) for each core module.
///
/// # Errors
/// [`NotForkable`] lists every reason at once; an invalid component and a core module have just
/// that one.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let component = wat::parse_str(
///     r#"(component (core module $m (memory (export "m") 1) (global (mut i32) (i32.const 7)))
///         (core instance (instantiate $m)))"#,
/// )?;
/// let prepared = memfold_prepare::prepare_component(&component)?;
/// assert_eq!((prepared.memories().len(), prepared.cells().len()), (1, 1));
/// # Ok(())
/// # }
/// ```
pub fn prepare_component(wasm: &[u8]) -> Result<PreparedComponent, NotForkable> {
    if Parser::is_core_wasm(wasm) {
        return Err(Reason::CoreModule.into());
    }
    let types = Validator::new_with_features(features())
        .validate_all(wasm)
        .map_err(crate::invalid)?;
    let parts = Parts::read(wasm).map_err(crate::invalid)?;
    let cores = parts.cores().map_err(crate::invalid)??;
    Ok(rewritten(wasm, &parts, &cores, &types))
}

/// What a component may use and still be valid here. More than can be forked, so that it is refused
/// by its name.
fn features() -> WasmFeatures {
    crate::features()
        | WasmFeatures::COMPONENT_MODEL
        | WasmFeatures::CM_ASYNC
        | WasmFeatures::CM_ASYNC_STACKFUL
        | WasmFeatures::CM_MORE_ASYNC_BUILTINS
        | WasmFeatures::CM_THREADING
        | WasmFeatures::CM_ERROR_CONTEXT
}

/// A section of the component itself.
enum Section<'a> {
    Raw(u8, &'a [u8]),
    /// The core module of this index.
    Module(usize),
}

/// What a component consists of.
#[derive(Default)]
struct Parts<'a> {
    sections: Vec<Section<'a>>,
    modules: Vec<&'a [u8]>,
    /// Which module each core instance is of; `None` for those that only have other instances'
    /// exports.
    instances: Vec<Option<usize>>,
    reasons: Vec<Reason>,
}

impl<'a> Parts<'a> {
    fn read(wasm: &'a [u8]) -> Result<Self> {
        let mut parts = Parts::default();
        // How many modules and components we are in, and whether the innermost is a component.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if depth == 0
                && let Some((id, range)) = payload.as_section()
            {
                // Validation leaves open whether a module that is cut short ends in the file.
                let mut rest = BinaryReader::new(wasm.get(range.start..).unwrap_or_default(), range.start);
                parts.section(id, rest.read_bytes(range.len())?);
            }
            match payload {
                Payload::ModuleSection { .. } => {
                    if depth > 0 {
                        parts.refuse(Reason::NestedModule);
                    }
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::InstanceSection(section) if depth == 0 => {
                    for instance in section {
                        parts.instances.push(match instance? {
                            Instance::Instantiate { module_index, .. } => usize::try_from(module_index).ok(),
                            Instance::FromExports(_) => None,
                        });
                    }
                }
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        parts.import(import?.ty);
                    }
                }
                Payload::ComponentAliasSection(section) => {
                    for alias in section {
                        parts.alias(alias?);
                    }
                }
                Payload::ComponentCanonicalSection(section) => {
                    for function in section {
                        parts.canonical(&function?);
                    }
                }
                _ => {}
            }
        }
        Ok(parts)
    }

    fn section(&mut self, id: u8, bytes: &'a [u8]) {
        if id == ComponentSectionId::CoreModule as u8 {
            self.sections.push(Section::Module(self.modules.len()));
            self.modules.push(bytes);
        } else {
            self.sections.push(Section::Raw(id, bytes));
        }
    }

    /// One of each kind is enough to know of.
    fn refuse(&mut self, reason: Reason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn import(&mut self, ty: ComponentTypeRef) {
        if matches!(
            ty.kind(),
            ComponentExternalKind::Module | ComponentExternalKind::Component
        ) {
            self.refuse(Reason::ForeignModule);
        }
    }

    fn alias(&mut self, alias: wasmparser::ComponentAlias<'_>) {
        use wasmparser::{ComponentAlias, ComponentOuterAliasKind};
        let of_module = match alias {
            ComponentAlias::InstanceExport { kind, .. } => {
                matches!(
                    kind,
                    ComponentExternalKind::Module | ComponentExternalKind::Component
                )
            }
            ComponentAlias::Outer { kind, .. } => kind == ComponentOuterAliasKind::CoreModule,
            ComponentAlias::CoreInstanceExport { .. } => false,
        };
        if of_module {
            self.refuse(Reason::ForeignModule);
        }
    }

    fn canonical(&mut self, function: &CanonicalFunction) {
        let what = match function {
            CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => options
                .contains(&CanonicalOption::Async)
                .then(|| "async".to_owned()),
            CanonicalFunction::ResourceNew { .. }
            | CanonicalFunction::ResourceDrop { .. }
            | CanonicalFunction::ResourceRep { .. } => None,
            other => Some(kebab(&format!("{other:?}"))),
        };
        if let Some(what) = what {
            self.refuse(Reason::Asynchronous { what });
        }
    }

    /// The modules that are instantiated, rewritten; `None` for others, which have no state.
    fn cores(&self) -> Result<Result<Vec<Option<Core>>, NotForkable>> {
        let mut reasons = self.reasons.clone();
        let mut cores = Vec::new();
        for (wasm, module) in self.modules.iter().zip(0..) {
            let instantiated = self.instances.contains(&usize::try_from(module).ok());
            let core = instantiated.then(|| Core::new(wasm)).transpose()?.transpose();
            cores.push(core.unwrap_or_else(|found| {
                reasons.extend(found.into_iter().map(|reason| Reason::InModule {
                    module,
                    reason: Box::new(reason),
                }));
                None
            }));
        }
        let memory = |core: &Core| !core.memories.is_empty();
        if reasons.is_empty() && !cores.iter().flatten().any(memory) {
            reasons.push(Reason::NoMemory);
        }
        Ok(if reasons.is_empty() {
            Ok(cores)
        } else {
            Err(NotForkable { reasons })
        })
    }
}

/// The name of an enum's variant, in the way of the text format.
fn kebab(debugged: &str) -> String {
    let name = debugged.split(|letter: char| !letter.is_alphanumeric()).next();
    let mut kebab = String::new();
    for letter in name.unwrap_or_default().chars() {
        if letter.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}

/// Changes whenever what is made of one and the same component does, so that one that was compiled
/// from an earlier form is not taken for this one.
const FORM: u64 = 2;

fn rewritten(wasm: &[u8], parts: &Parts<'_>, cores: &[Option<Core>], types: &Types) -> PreparedComponent {
    let mut out = Component::new();
    for section in &parts.sections {
        let (id, data) = match *section {
            Section::Raw(id, data) => (id, data),
            Section::Module(index) => {
                let core = cores[index].as_ref();
                let data = core.map_or(parts.modules[index], |core| &core.wasm);
                (ComponentSectionId::CoreModule as u8, data)
            }
        };
        out.section(&RawSection { id, data });
    }
    let mut made = Made::default();
    for (module, instance) in parts.instances.iter().zip(0..) {
        if let Some((index, module)) = module.and_then(|module| Some((module, cores[module].as_ref()?))) {
            made.instance(instance, index, module);
        }
    }
    let types = types.as_ref();
    let ends = Ends {
        modules: types.module_count(),
        core_instances: types.core_instance_count(),
        core_functions: types.function_count(),
        types: types.component_type_count(),
        functions: types.component_function_count(),
        instances: types.component_instance_count(),
    };
    let mut hash = XxHash3_128::with_seed(FORM);
    hash.write(wasm);
    let accessor = format!("memfold-x{:032x}", hash.finish_128());
    made.finish(out, accessor, &ends)
}

/// What the instances have, put together.
#[derive(Default)]
struct Made {
    accessor: Accessor,
    memories: Vec<crate::MemoryPlan>,
    cells: Vec<Cell>,
    /// The flags of tables and of segments, whose cells come last.
    tables: Vec<(Item, ComponentTable)>,
    dropped: Vec<Item>,
}

impl Made {
    /// One more core instance, of this module.
    fn instance(&mut self, instance: u32, module: usize, core: &Core) {
        let item = |export: &String| Item {
            instance,
            export: export.clone(),
        };
        for (plan, ty) in &core.memories {
            self.accessor.memories.push((item(&plan.export), *ty));
            self.memories.push(plan.clone());
        }
        for (export, ty) in &core.globals {
            self.accessor.globals.push((item(export), *ty));
            self.cells.extend((0..cells_of(*ty)).map(|_| Cell::Copied));
        }
        for table in &core.tables {
            let place = ComponentTable {
                module: u32::try_from(module).unwrap_or(u32::MAX),
                table: table.index,
                name: table.name.clone(),
            };
            self.tables.push((item(&table.flag), place));
        }
        self.dropped.extend(core.dropped.iter().map(item));
        self.accessor.drops.extend(core.drops.as_ref().map(item));
        self.accessor.starts.extend(core.start.as_ref().map(item));
    }

    fn finish(mut self, mut out: Component, accessor: String, ends: &Ends) -> PreparedComponent {
        for (item, table) in self.tables {
            self.accessor.globals.push((item, wasmparser::ValType::I32));
            self.cells.push(Cell::ChangedTable(table));
        }
        let first = self.cells.len();
        for item in self.dropped {
            self.accessor.globals.push((item, wasmparser::ValType::I32));
            self.cells.push(Cell::Copied);
        }
        self.accessor.add(&accessor, ends, &mut out);
        PreparedComponent {
            wasm: out.finish(),
            accessor,
            memories: self.memories,
            drops: first..self.cells.len(),
            cells: self.cells,
            starts: !self.accessor.starts.is_empty(),
        }
    }
}
