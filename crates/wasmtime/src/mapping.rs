//! Files in the first memory of an instance: [`ForkInstance::map`]. No lock; the store is held
//! exclusively. With `creator.rs` the only file of this crate with `unsafe`: that nobody else
//! changes what a program's memory shows, no type can hold.

use crate::error::Error;
use crate::held::{InstanceSpace, check};
use crate::instance::ForkInstance;
use memfold::{Area, MappedFile, Rights, Through};
use std::ops::Range;
use wasmtime::{Memory, Store};

impl<T> ForkInstance<T> {
    /// Wasmtime's handle of the first memory, whether the module exports it or not.
    ///
    /// # Panics
    /// When `store` is not the store of this instance.
    pub fn memory(&self, store: &mut Store<T>) -> Memory {
        self.demand_own(store);
        self.template.memory(store, &self.instance, 0)
    }

    /// From now on the first memory shows a range of a file from its byte `at` on; what was there
    /// is gone. Pages are read when they are touched, and held once for all instances that map
    /// them, inside the budget. Forks and snapshots map what the instance maps; of an instance that
    /// maps files there is no [`reset`](ForkInstance::reset).
    ///
    /// The memory must have these bytes: [`grow`](Memory::grow) it first. What a program allocates
    /// must not lie there, so grow it before the program does; what it grows later lies behind.
    ///
    /// A store that `rights` do not allow traps. A host function that stores there has failed as
    /// if a page were lost: the call ends with [`Error::MemoryLost`]. A host function that touches
    /// a page of a *shared* mapping which cannot be read (the budget is full, the file is gone)
    /// ends the process by a signal, as for memory that the kernel maps.
    ///
    /// # Errors
    /// [`Error::Memory`]: `OutOfRange` beyond the memory; as [`memfold::Space::map`].
    ///
    /// # Panics
    /// When `store` is not the store of this instance.
    ///
    /// # Safety
    /// While somebody holds a reference to these bytes ([`Memory::data`], host functions for as
    /// long as they run), they change by that reference alone: nobody else changes the file, and
    /// where it is mapped to be [shared](Through::Shared), no other instance that maps it runs on
    /// another thread.
    ///
    /// ```
    /// # use memfold_wasmtime::{Template, configure, prepare};
    /// # use wasmtime::{Config, Engine, Linker, Store};
    /// use memfold::{FileAccess, Rights, Through};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
    /// # let mut config = Config::new();
    /// # configure(&mut config, &memory);
    /// # let engine = Engine::new(&config)?;
    /// # let path = std::env::temp_dir().join(format!("memfold-doc-map-{}", std::process::id()));
    /// # std::fs::write(&path, vec![7; 8192])?;
    /// let reader = wat::parse_str(
    ///     r#"(module (memory 1)
    ///         (func (export "at") (param i32) (result i32) (i32.load8_u (local.get 0))))"#,
    /// )?;
    /// let template = Template::new(&memory, &Linker::new(&engine), &prepare(&reader)?)?;
    /// let file = memory.open(&path, FileAccess::ReadOnly)?;
    ///
    /// let mut store = Store::new(&engine, ());
    /// let instance = template.instantiate(&mut store)?;
    /// instance.memory(&mut store).grow(&mut store, 1)?;
    /// // SAFETY: nobody changes the file, and what is stored to the memory stays there.
    /// unsafe { instance.map(&mut store, 65536, &file, 0..8192, Through::Private, Rights::Read)? };
    /// let at = instance.instance().get_typed_func::<i32, i32>(&mut store, "at")?;
    /// assert_eq!(instance.call(&mut store, &at, 65536 + 5000)?, 7);
    /// # std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub unsafe fn map(
        &self,
        store: &mut Store<T>,
        at: u64,
        file: &MappedFile,
        range: Range<u64>,
        through: Through,
        rights: Rights,
    ) -> Result<(), Error> {
        self.demand_own(store);
        let len = range.end.saturating_sub(range.start);
        let ground = self.grounds.first();
        check(ground, at, at.saturating_add(len))?;
        let space = ground.space();
        space.map(ground.head() + at, file, range, through, rights)?;
        Ok(())
    }

    /// From now on a range of the first memory, whole pages, is zeros, which the program may store
    /// to.
    ///
    /// # Errors
    /// [`Error::Memory`]: `OutOfRange` beyond the memory; as [`memfold::Space::unmap`].
    ///
    /// # Panics
    /// When `store` is not the store of this instance.
    pub fn unmap(&self, store: &mut Store<T>, range: Range<u64>) -> Result<(), Error> {
        self.demand_own(store);
        let ground = self.grounds.first();
        let (head, end) = (ground.head(), range.start.max(range.end));
        check(ground, range.start, end)?;
        ground.space().unmap(range.start + head..end + head)?;
        Ok(())
    }
}

impl InstanceSpace<'_> {
    /// What of the memory is mapped, or does not allow everything, in order; counted from the
    /// memory's first byte.
    ///
    /// # Errors
    /// As [`memfold::Space::areas`].
    pub fn areas(self) -> Result<Vec<Area>, memfold::Error> {
        let mut areas = self.0.space().areas()?;
        for area in &mut areas {
            area.start -= self.0.head();
            area.end -= self.0.head();
        }
        Ok(areas)
    }
}
