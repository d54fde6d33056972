//! What a module exports and imports, read from its bytes before it is compiled: [`Outline`].
//!
//! Nothing is validated: whatever is wrong with the module, the compiler says. Pure.

use std::collections::BTreeMap;
use wasmparser::{
    BinaryReaderError, CompositeInnerType, ExternalKind, FuncType, MemoryType, Parser, Payload, TypeRef,
};

/// Names, and the types of functions.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// In the order of the module; `None` for what is no function.
    exports: Vec<(String, Option<FuncType>)>,
    pub(crate) imports: Vec<Import>,
    /// Bytes that its first memory begins with.
    pub(crate) memory_bytes: Option<u64>,
}

/// Something that the module needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) is: Is,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    Function,
    Other,
}

/// An import as people are told of it.
pub(crate) fn named(module: &str, name: &str) -> String {
    format!("{module:?} {name:?}")
}

/// The index spaces that exports of functions lead through.
#[derive(Default)]
struct Indices {
    types: BTreeMap<u32, FuncType>,
    type_count: u32,
    /// The type of each function.
    functions: Vec<u32>,
}

impl Outline {
    /// Reads a module. Its code is passed over.
    pub(crate) fn read(wasm: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut outline = Outline::default();
        let mut indices = Indices::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(groups) => {
                    for group in groups {
                        group?
                            .into_types()
                            .for_each(|ty| indices.add(&ty.composite_type.inner));
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        outline.import(&mut indices, &import?);
                    }
                }
                Payload::FunctionSection(functions) => {
                    for ty in functions {
                        indices.functions.push(ty?);
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        outline.memory(&memory?);
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        let ty = match export.kind {
                            ExternalKind::Func | ExternalKind::FuncExact => indices.function(export.index),
                            _ => None,
                        };
                        outline.exports.push((export.name.to_owned(), ty));
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    fn memory(&mut self, ty: &MemoryType) {
        let page = 1u64 << ty.page_size_log2.unwrap_or(16).min(16);
        self.memory_bytes.get_or_insert(ty.initial.saturating_mul(page));
    }

    fn import(&mut self, indices: &mut Indices, import: &wasmparser::Import<'_>) {
        let is = match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                indices.functions.push(ty);
                Is::Function
            }
            TypeRef::Memory(ty) => {
                self.memory(&ty);
                Is::Other
            }
            _ => Is::Other,
        };
        self.imports.push(Import {
            module: import.module.to_owned(),
            name: import.name.to_owned(),
            is,
        });
    }

    /// What has this name: a function, something else, or nothing.
    pub(crate) fn export(&self, name: &str) -> Option<Option<&FuncType>> {
        let found = self.exports.iter().find(|(export, _)| export == name);
        found.map(|(_, ty)| ty.as_ref())
    }

    /// The names of the functions that are exported.
    pub(crate) fn functions(&self) -> Vec<String> {
        let functions = self.exports.iter().filter(|(_, ty)| ty.is_some());
        functions.map(|(name, _)| name.clone()).collect()
    }
}

impl Indices {
    fn add(&mut self, ty: &CompositeInnerType) {
        if let CompositeInnerType::Func(ty) = ty {
            self.types.insert(self.type_count, ty.clone());
        }
        self.type_count += 1;
    }

    fn function(&self, index: u32) -> Option<FuncType> {
        let ty = self.functions.get(usize::try_from(index).ok()?)?;
        self.types.get(ty).cloned()
    }
}

#[cfg(test)]
mod tests {
    //! Goal: names and types are those of the module, whatever stands before them. Method: a module
    //! in the text format.
    use super::*;
    use wasmparser::ValType;

    #[test]
    fn names_and_types() {
        let wasm = wat::parse_str(
            r#"(module (type (struct)) (rec (type (func (param i64))) (type (func (result f32))))
              (import "a" "b" (func (type 1))) (import "a" "c" (memory 1))
              (func (export "f") (type 2) (f32.const 1)) (global (export "g") i32 (i32.const 1))
              (export "again" (func 0)))"#,
        )
        .unwrap();
        let outline = Outline::read(&wasm).unwrap();
        let f = outline.export("f").unwrap().unwrap();
        assert_eq!((f.params(), f.results()), (&[][..], &[ValType::F32][..]));
        assert_eq!(outline.export("again").unwrap().unwrap().params(), [ValType::I64]);
        assert_eq!((outline.export("g"), outline.export("h")), (Some(None), None));
        assert_eq!(outline.functions(), ["f", "again"]);
        let imports: Vec<_> = outline
            .imports
            .iter()
            .map(|import| (import.name.as_str(), import.is))
            .collect();
        assert_eq!(imports, [("b", Is::Function), ("c", Is::Other)]);
        assert_eq!(outline.memory_bytes, Some(65536));
    }

    #[test]
    fn any_bytes_end() {
        let wasm = wat::parse_str("(module (func (export \"f\") (result i32) (i32.const 1)))").unwrap();
        for length in 0..wasm.len() {
            let _ = Outline::read(&wasm[..length]);
        }
        assert!(Outline::read(&wasm[..wasm.len() - 1]).is_err());
    }
}
