//! What the fields of a module's sections mean for a fork: imports, memories, globals, tables,
//! segments.
//!
//! A part of the scan; `scan.rs` hands each field to one method.

use super::{Imported, Result, Scan, each, note_memory, page_bytes};
use crate::given::Number;
use crate::imports::{Globals, Own};
use crate::plan::Segment;
use crate::reason::Reason;
use crate::tables::{self, Contents, Slot};
use std::collections::BTreeMap;
use wasmparser::{
    ConstExpr, Data, DataKind, Element, ElementItems, ElementKind, GlobalType, Import, Operator, Table,
    TableInit, TypeRef, ValType,
};

impl<'a> Scan<'a> {
    pub(super) fn import(&mut self, import: Import<'a>) -> Result<()> {
        let names = Own {
            module: import.module.to_owned(),
            name: import.name.to_owned(),
        };
        match import.ty {
            TypeRef::Memory(memory) => {
                self.imports_memory = true;
                self.becomes_own(names);
                note_memory(&mut self.memories, memory, &mut self.reasons);
            }
            TypeRef::Table(table) if table.element_type.is_nullable() => {
                self.becomes_own(names);
                let index = u32::try_from(self.tables.len()).unwrap_or(u32::MAX);
                self.names.tables.insert(index, import.name);
                self.tables.push(Contents {
                    size: table.initial,
                    rest: Slot::Null,
                    named: BTreeMap::new(),
                });
            }
            TypeRef::Table(_) => {
                let Own { module, name } = names;
                self.reasons.push(Reason::ImportedTable { module, name });
            }
            TypeRef::Global(global) => {
                self.names.globals.insert(self.counts.globals, import.name);
                self.counts.globals += 1;
                let value = self.given.value(import.module, import.name, global.content_type);
                if global.mutable {
                    self.globals.push(self.counts.globals - 1);
                }
                if global.mutable || value.is_some() {
                    self.own_globals = Globals::Own;
                }
                self.imported_globals.push(Imported {
                    names,
                    mutable: global.mutable,
                    value,
                });
            }
            TypeRef::Func(_) | TypeRef::FuncExact(_) => self.counts.functions += 1,
            TypeRef::Tag(_) => {}
        }
        Ok(())
    }

    /// An import that each instance has for itself.
    fn becomes_own(&mut self, names: Own) {
        if self.own.contains(&names) {
            let Own { module, name } = names;
            self.reasons.push(Reason::ImportedTwice { module, name });
        } else {
            self.own.push(names);
        }
    }

    pub(super) fn defined_global(&mut self, ty: GlobalType) {
        let global = self.counts.globals;
        self.counts.globals += 1;
        if ty.mutable {
            self.globals.push(global);
            self.holds_references |= matches!(ty.content_type, ValType::Ref(_));
        }
    }

    pub(super) fn table(&mut self, table: &Table<'_>) -> Result<()> {
        let rest = match &table.init {
            TableInit::RefNull => Slot::Null,
            TableInit::Expr(expression) => {
                self.expression(expression)?;
                if tables::takes_a_global(expression)? {
                    let index = u32::try_from(self.tables.len()).unwrap_or(u32::MAX);
                    self.tables_of_globals.push(index);
                }
                tables::slot(expression)?
            }
        };
        self.tables.push(Contents {
            size: table.ty.initial,
            rest,
            named: BTreeMap::new(),
        });
        Ok(())
    }

    pub(super) fn element(&mut self, element: &Element<'_>) -> Result<()> {
        let mut slots = Vec::new();
        match &element.items {
            ElementItems::Functions(items) => each(items.clone(), |function| {
                slots.push(Slot::Function(function));
                Ok(())
            })?,
            ElementItems::Expressions(_, items) => each(items.clone(), |item| {
                slots.push(tables::slot(&item)?);
                self.expression(&item)
            })?,
        }
        let functions = slots.iter().filter_map(|slot| match slot {
            Slot::Function(function) => Some(*function),
            Slot::Null | Slot::Unknown => None,
        });
        self.referable.extend(functions);
        if let ElementKind::Active {
            table_index,
            offset_expr,
        } = &element.kind
        {
            let offset = self.constant(offset_expr)?;
            let table = usize::try_from(table_index.unwrap_or(0)).unwrap_or(usize::MAX);
            // An imported table is refused.
            if let Some(contents) = self.tables.get_mut(table) {
                contents.write(offset, &slots);
            }
        }
        Ok(())
    }

    pub(super) fn data(&mut self, data: &Data<'_>) -> Result<()> {
        let segment = self.segment_count;
        self.segment_count += 1;
        let DataKind::Active {
            memory_index,
            offset_expr,
        } = &data.kind
        else {
            // Passive ones stay as they are.
            return Ok(());
        };
        let Some(offset) = self.constant(offset_expr)? else {
            self.reasons.push(Reason::NonConstantOffset { segment });
            return Ok(());
        };
        let memory = *memory_index;
        let found = usize::try_from(memory).ok().and_then(|at| self.memories.get(at));
        let size = found.map_or(0, |memory| memory.initial.saturating_mul(page_bytes(memory)));
        if offset.saturating_add(data.data.len() as u64) > size {
            self.reasons.push(Reason::SegmentOutOfBounds { segment });
        } else if !data.data.is_empty() {
            self.segments.push(Segment {
                memory,
                offset,
                bytes: data.data.to_vec(),
            });
        }
        Ok(())
    }

    /// The values of imported globals, all or none: they become the instance's own together, since
    /// indices must not change.
    pub(super) fn values(&mut self) -> Vec<Number> {
        if self.own_globals == Globals::Imported {
            return Vec::new();
        }
        for table in std::mem::take(&mut self.tables_of_globals) {
            self.reasons.push(Reason::TableOfGlobal { table });
        }
        let mut values = Vec::new();
        for Imported {
            names,
            mutable,
            value,
        } in std::mem::take(&mut self.imported_globals)
        {
            let Own { module, name } = names.clone();
            match value {
                Some(value) => values.push(value),
                None if mutable => self.reasons.push(Reason::ImportedMutableGlobal { module, name }),
                None => self.reasons.push(Reason::ImportedGlobal { module, name }),
            }
            if mutable || !self.own.contains(&names) {
                self.becomes_own(names);
            }
        }
        values
    }

    /// The value of an expression of constants, globals that are given, sums, differences and
    /// products; `None` when it depends on anything else.
    pub(super) fn constant(&self, expression: &ConstExpr<'_>) -> Result<Option<u64>> {
        let mut stack: Vec<u64> = Vec::new();
        for operator in expression.get_operators_reader() {
            let operator = operator?;
            let operation: fn(u64, u64) -> u64 = match operator {
                Operator::I32Const { value } => {
                    stack.push(u64::from(value.cast_unsigned()));
                    continue;
                }
                Operator::I64Const { value } => {
                    stack.push(value.cast_unsigned());
                    continue;
                }
                Operator::GlobalGet { global_index } => {
                    let global = usize::try_from(global_index).ok();
                    let global = global.and_then(|index| self.imported_globals.get(index));
                    match global.and_then(|global| global.value?.address()) {
                        Some(value) => stack.push(value),
                        None => return Ok(None),
                    }
                    continue;
                }
                Operator::I32Add | Operator::I64Add => u64::wrapping_add,
                Operator::I32Sub | Operator::I64Sub => u64::wrapping_sub,
                Operator::I32Mul | Operator::I64Mul => u64::wrapping_mul,
                Operator::End => break,
                _ => return Ok(None),
            };
            let narrow = matches!(operator, Operator::I32Add | Operator::I32Sub | Operator::I32Mul);
            let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else {
                return Ok(None);
            };
            let value = operation(left, right);
            stack.push(if narrow {
                value & u64::from(u32::MAX)
            } else {
                value
            });
        }
        Ok(stack.pop())
    }
}
