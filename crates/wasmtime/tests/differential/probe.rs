//! Modules that tell what another one's memories, tables and globals hold, from inside of the
//! component in which both are.

use wasmtime::{ExternType, HeapType, Module, Mutability, ValType};

/// A module that imports what such a module exports, and its functions, which tell what that holds.
pub fn probe(module: &Module) -> (Vec<u8>, Vec<(String, ValType)>) {
    let (mut imports, mut bodies, mut probes) = (String::new(), String::new(), Vec::new());
    for (export, index) in module.exports().zip(0..) {
        let int = |is_64: bool| if is_64 { "i64" } else { "i32" };
        let (item, result, body) = match export.ty() {
            ExternType::Memory(ty) => {
                let int = int(ty.is_64());
                let item = format!("(memory $m{index} {int} 0)");
                (item, ValType::I64, memory_sum(index, int))
            }
            ExternType::Global(ty) if ty.mutability() == Mutability::Var => {
                let Some(name) = number(ty.content()) else {
                    continue;
                };
                let item = format!("(global $g{index} (mut {name}))");
                (item, ty.content().clone(), format!("(global.get $g{index})"))
            }
            ExternType::Table(ty) if ty.element().is_nullable() => {
                let slot = match ty.element().heap_type() {
                    HeapType::Func => "funcref",
                    HeapType::Extern => "externref",
                    _ => continue,
                };
                let int = int(ty.is_64());
                let item = format!("(table $t{index} {int} 0 {slot})");
                (item, ValType::I64, table_sum(index, int))
            }
            _ => continue,
        };
        imports += &format!("(import \"m\" {} {item})", quoted(export.name()));
        let ty = number(&result).unwrap_or("i64");
        bodies += &format!("(func (export \"p{index}\") (result {ty}) {body})");
        probes.push((format!("p{index}"), result));
    }
    let text = format!("(module {imports} {bodies})");
    let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
    (wasm, probes)
}

/// A name of any letters, as the text format has it.
fn quoted(name: &str) -> String {
    let bytes: String = name.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!("\"{bytes}\"")
}

/// A sum of all words of a memory, and its length.
fn memory_sum(index: usize, int: &str) -> String {
    let (size, shift) = match int {
        "i64" => (format!("(memory.size $m{index})"), "(i64.const 65536)"),
        _ => (format!("(memory.size $m{index})"), "(i32.const 65536)"),
    };
    format!(
        "(local $i {int}) (local $end {int}) (local $sum i64)
         (local.set $end ({int}.mul {size} {shift}))
         (block $done (loop $next
            (br_if $done ({int}.ge_u (local.get $i) (local.get $end)))
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load $m{index} (local.get $i))))
            (local.set $i ({int}.add (local.get $i) ({int}.const 8))) (br $next)))
         (i64.add (local.get $sum) {})",
        match int {
            "i64" => "(local.get $end)",
            _ => "(i64.extend_i32_u (local.get $end))",
        }
    )
}

/// Which slots of a table are null, and how many there are.
fn table_sum(index: usize, int: &str) -> String {
    format!(
        "(local $i {int}) (local $sum i64)
         (local.set $sum (i64.const 1))
         (block $done (loop $next
            (br_if $done ({int}.ge_u (local.get $i) (table.size $t{index})))
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
                (i64.extend_i32_u (ref.is_null (table.get $t{index} (local.get $i))))))
            (local.set $i ({int}.add (local.get $i) ({int}.const 1))) (br $next)))
         (local.get $sum)"
    )
}

/// A number's name.
pub fn number(ty: &ValType) -> Option<&'static str> {
    Some(match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        _ => return None,
    })
}
