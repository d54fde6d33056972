//! The way into a component's state: a core module that is put behind all others, instantiated with
//! what they export, and lifted as functions of numbers ([`Accessor`]).
//!
//! | function | does |
//! | --- | --- |
//! | `get: func(cell: u32) -> u64` | reads a cell of the state |
//! | `set: func(row: u32, values: u64 × 15)` | writes the cells from 15 times that number on; what stands for none is ignored |
//! | `grow: func(memory: u32, pages: u64) -> u64` | grows a memory; all ones when that is refused |
//! | `start: func()` | does what instantiation left out, in the order of the instances |
//! | `drop: func()` | drops the segments whose flags are set |
//!
//! Called by `component.rs`. Pure.

use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentInstanceSection,
    ComponentTypeSection, ComponentValType, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, InstanceSection, InstructionSink, Module, ModuleArg, ModuleSection, PrimitiveValType,
    TypeSection, ValType,
};
use wasmparser::MemoryType;

/// Where the items of a component end that stand there already, and those of the accessor begin.
pub(crate) struct Ends {
    pub(crate) modules: u32,
    pub(crate) core_instances: u32,
    pub(crate) core_functions: u32,
    pub(crate) types: u32,
    pub(crate) functions: u32,
    pub(crate) instances: u32,
}

/// What a core instance exports.
#[derive(Clone)]
pub(crate) struct Item {
    /// The core instance's index.
    pub(crate) instance: u32,
    pub(crate) export: String,
}

/// What it can get at.
#[derive(Default)]
pub(crate) struct Accessor {
    /// The globals, each with one cell, or two for a vector.
    pub(crate) globals: Vec<(Item, wasmparser::ValType)>,
    /// In the order in which they are made.
    pub(crate) memories: Vec<(Item, MemoryType)>,
    /// What is called by `start`.
    pub(crate) starts: Vec<Item>,
    /// What is called by `drop`.
    pub(crate) drops: Vec<Item>,
}

/// How many cells `set` writes at once: with their number, as many values as the canonical ABI
/// passes without a memory.
pub(crate) const ROW: usize = 15;

/// The functions by their names, how many parameters of 64 bits follow the one of 32 bits (`None`
/// where there is not even that), and whether there is a result, of 64 bits.
const FUNCTIONS: [(&str, Option<usize>, bool); 5] = [
    ("get", Some(0), true),
    ("set", Some(ROW), false),
    ("grow", Some(1), true),
    ("start", None, false),
    ("drop", None, false),
];

/// The types of a function's parameters.
fn parameters(values: Option<usize>) -> Vec<ValType> {
    let which = values.map(|_| ValType::I32);
    let values = (0..values.unwrap_or(0)).map(|_| ValType::I64);
    which.into_iter().chain(values).collect()
}

impl Accessor {
    /// Puts it behind everything else in the component, exported as an instance of this name.
    pub(crate) fn add(&self, name: &str, ends: &Ends, out: &mut Component) {
        out.section(&ModuleSection(&self.module()));
        let names: Vec<(u32, String)> = self.instances();
        let mut instances = InstanceSection::new();
        let arguments = names
            .iter()
            .map(|(instance, name)| (name.as_str(), ModuleArg::Instance(*instance)));
        instances.instantiate(ends.modules, arguments);
        out.section(&instances);
        let mut aliases = ComponentAliasSection::new();
        let mut types = ComponentTypeSection::new();
        let mut lifted = CanonicalFunctionSection::new();
        let mut items = Vec::new();
        for ((name, values, result), place) in FUNCTIONS.iter().zip(0..) {
            aliases.alias(Alias::CoreInstanceExport {
                instance: ends.core_instances,
                kind: ExportKind::Func,
                name,
            });
            let primitive = |ty| match ty {
                ValType::I32 => PrimitiveValType::U32,
                _ => PrimitiveValType::U64,
            };
            let called: Vec<String> = (0..=ROW).map(|place| format!("value{place}")).collect();
            let primitives = parameters(*values).into_iter().map(primitive);
            types
                .function()
                .params(
                    called
                        .iter()
                        .map(String::as_str)
                        .zip(primitives.map(ComponentValType::Primitive)),
                )
                .result(result.then_some(ComponentValType::Primitive(PrimitiveValType::U64)));
            let none: [CanonicalOption; 0] = [];
            lifted.lift(ends.core_functions + place, ends.types + place, none);
            items.push((*name, ComponentExportKind::Func, ends.functions + place));
        }
        out.section(&aliases);
        out.section(&types);
        out.section(&lifted);
        let mut exported = ComponentInstanceSection::new();
        exported.export_items(items);
        out.section(&exported);
        let mut exports = ComponentExportSection::new();
        exports.export(name, ComponentExportKind::Instance, ends.instances, None);
        out.section(&exports);
    }

    /// The core instances that something is imported from, and what they are called there.
    fn instances(&self) -> Vec<(u32, String)> {
        let globals = self.globals.iter().map(|(item, _)| item.instance);
        let memories = self.memories.iter().map(|(item, _)| item.instance);
        let functions = self.starts.iter().chain(&self.drops).map(|item| item.instance);
        let mut all: Vec<u32> = globals.chain(memories).chain(functions).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
            .map(|instance| (instance, instance.to_string()))
            .collect()
    }

    fn module(&self) -> Module {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        let mut exports = ExportSection::new();
        let first = self.starts.len() + self.drops.len();
        for ((name, values, result), place) in FUNCTIONS.iter().zip(0..) {
            let result = result.then_some(ValType::I64);
            types.ty().function(parameters(*values), result);
            functions.function(place + 1);
            exports.export(name, ExportKind::Func, index(first) + place);
        }
        let mut code = CodeSection::new();
        for body in [self.get(), self.set(), self.grow()] {
            code.function(&body);
        }
        code.function(&calls(0..index(self.starts.len())));
        code.function(&calls(index(self.starts.len())..index(first)));
        let mut module = Module::new();
        module
            .section(&types)
            .section(&self.imports())
            .section(&functions)
            .section(&exports)
            .section(&code);
        module
    }

    fn imports(&self) -> ImportSection {
        let mut imports = ImportSection::new();
        let mut import = |item: &Item, ty: EntityType| {
            imports.import(&item.instance.to_string(), &item.export, ty);
        };
        for item in self.starts.iter().chain(&self.drops) {
            import(item, EntityType::Function(0));
        }
        for (item, memory) in &self.memories {
            let ty = wasm_encoder::MemoryType {
                minimum: memory.initial,
                maximum: memory.maximum,
                memory64: memory.memory64,
                shared: memory.shared,
                page_size_log2: memory.page_size_log2,
            };
            import(item, EntityType::Memory(ty));
        }
        for (item, ty) in &self.globals {
            let ty = wasm_encoder::GlobalType {
                val_type: encoded(*ty),
                mutable: true,
                shared: false,
            };
            import(item, EntityType::Global(ty));
        }
        imports
    }

    /// The cells: a global's index, its type, and which half of it.
    fn cells(&self) -> Vec<(u32, wasmparser::ValType, u8)> {
        let mut cells = Vec::new();
        for ((_, ty), global) in self.globals.iter().zip(0..) {
            cells.extend((0..cells_of(*ty)).map(|half| (global, *ty, half)));
        }
        cells
    }

    fn get(&self) -> Function {
        choice(&self.cells(), |&(global, ty, half), code| {
            code.global_get(global);
            match ty {
                wasmparser::ValType::I32 => code.i64_extend_i32_u(),
                wasmparser::ValType::F32 => code.i32_reinterpret_f32().i64_extend_i32_u(),
                wasmparser::ValType::F64 => code.i64_reinterpret_f64(),
                wasmparser::ValType::V128 => code.i64x2_extract_lane(half),
                _ => code,
            };
        })
    }

    fn set(&self) -> Function {
        let cells = self.cells();
        let rows: Vec<_> = cells.chunks(ROW).collect();
        choice(&rows, |row, code| {
            for (&(global, ty, half), value) in row.iter().zip(1..) {
                match ty {
                    wasmparser::ValType::I32 => code.local_get(value).i32_wrap_i64(),
                    wasmparser::ValType::F32 => code.local_get(value).i32_wrap_i64().f32_reinterpret_i32(),
                    wasmparser::ValType::F64 => code.local_get(value).f64_reinterpret_i64(),
                    wasmparser::ValType::V128 => {
                        code.global_get(global).local_get(value).i64x2_replace_lane(half)
                    }
                    _ => code.local_get(value),
                };
                code.global_set(global);
            }
        })
    }

    fn grow(&self) -> Function {
        let memories: Vec<_> = self.memories.iter().zip(0..).collect();
        choice(&memories, |&((_, memory), index), code| {
            code.local_get(1);
            if memory.memory64 {
                code.memory_grow(index);
            } else {
                code.i32_wrap_i64().memory_grow(index).i64_extend_i32_s();
            }
        })
    }
}

/// How many cells a global of this type has.
pub(crate) fn cells_of(ty: wasmparser::ValType) -> u8 {
    if ty == wasmparser::ValType::V128 { 2 } else { 1 }
}

/// A function that does one of these, by the number that is its first parameter. Another number
/// traps.
fn choice<A>(arms: &[A], mut arm: impl FnMut(&A, &mut InstructionSink<'_>)) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    for _ in 0..=arms.len() {
        code.block(BlockType::Empty);
    }
    let count = index(arms.len());
    code.local_get(0).br_table(0..count, count);
    for one in arms {
        code.end();
        arm(one, &mut code);
        code.return_();
    }
    code.end().unreachable().end();
    function
}

/// A function that calls these, one after the other.
fn calls(functions: std::ops::Range<u32>) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    for called in functions {
        code.call(called);
    }
    code.end();
    function
}

fn encoded(ty: wasmparser::ValType) -> ValType {
    match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(_) => unreachable!("globals that hold references are refused"),
    }
}

fn index(number: usize) -> u32 {
    u32::try_from(number).expect("a valid component has fewer items")
}
