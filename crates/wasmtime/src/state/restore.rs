//! A running instance is brought back into a [`State`]: what keeps it from that, and how it is
//! done.
//!
//! Called by `reset.rs`, with the store exclusively.

use super::value::{Target, Value};
use super::{State, TableState, item};
use crate::host_data::{self, Placed};
use crate::layout::{Layout, Table};
use crate::reset::Irreversible;
use memfold_prepare::Slot;
use wasmtime::{Extern, Instance, Ref, Store};

impl<T> State<T> {
    /// Why an instance that runs already cannot be brought into this state: what it did since, and
    /// nobody can undo.
    pub(crate) fn obstacle(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        layout: &Layout,
    ) -> Option<Irreversible> {
        for (table, state) in layout.tables.iter().zip(&self.tables) {
            let handle = item(store, instance, &table.export, Extern::into_table);
            let (from, to) = (table.size(state.as_ref()), handle.size(&*store));
            let table_index = table.index;
            if to > from {
                return Some(Irreversible::GrownTable {
                    table: table_index,
                    from,
                    to,
                });
            }
            let unknown = |slot| table.contents.slot(slot) == Some(Slot::Unknown);
            if state.is_none() && is_set(store, instance, layout, table.flag) && (0..from).any(unknown) {
                return Some(Irreversible::UnknownTable { table: table_index });
            }
        }
        let (_, mut flags) = layout.drops.clone()?;
        flags
            .any(|flag| self.globals[flag] == Value::I32(0) && is_set(store, instance, layout, flag))
            .then_some(Irreversible::DroppedSegment)
    }

    /// Brings an instance that runs already, and that has no [`obstacle`](Self::obstacle), into
    /// this state.
    pub(crate) fn restore(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        layout: &Layout,
        placed: &Placed,
    ) {
        let target = Target {
            instance,
            layout,
            placed,
        };
        for (table, state) in layout.tables.iter().zip(&self.tables) {
            if is_set(store, instance, layout, table.flag) {
                TableState::restore(state.as_ref(), store, target, table);
            }
        }
        self.write_globals(store, target);
    }
}

/// Whether a flag of ours is set in a store.
fn is_set<T>(store: &mut Store<T>, instance: &Instance, layout: &Layout, flag: usize) -> bool {
    let flag = item(store, instance, &layout.globals[flag].export, Extern::into_global);
    flag.get(&mut *store).i32() != Some(0)
}

impl Table {
    /// Its slots in this state, `None` for that in which it was first.
    fn size(&self, state: Option<&TableState>) -> u64 {
        state.map_or(self.contents.size, |state| state.size)
    }
}

impl TableState {
    /// Sets each slot of a table of this size (`None`: of the first one) to what it was.
    fn restore<T>(state: Option<&Self>, store: &mut Store<T>, target: Target<'_>, table: &Table) {
        let store = &mut host_data::scope(store);
        let handle = item(store, target.instance, &table.export, Extern::into_table);
        let null = Ref::null(handle.ty(&*store).element().heap_type());
        let mut changed = state.map_or(&[][..], |state| &state.changed).iter().peekable();
        for slot in 0..table.size(state) {
            let value = match changed.next_if(|(at, _)| *at == slot) {
                Some((_, value)) => value.as_reference(store, target),
                None => match table.contents.slot(slot) {
                    Some(Slot::Function(index)) => Value::Function(index).as_reference(store, target),
                    _ => null.clone(),
                },
            };
            let set = handle.set(&mut *store, slot, value);
            set.expect("the slot is there, and of the value's type");
        }
    }
}
