//! Data of the host that a program refers to, and how the embedder has it copied into forks:
//! [`Template::with_host_data`].
//!
//! An external reference is to data in one store. When an instance is forked or frozen, the data is
//! copied by the embedder's function into a value that belongs to no store ([`Copies`]), once for
//! all places that refer to it; each store that goes on from there gets a copy of that copy
//! ([`Placed`]). Immutable once made; called with a store exclusively; no lock.

use crate::template::Template;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;
use wasmtime::{
    AsContext, AsContextMut, ExternRef, OwnedRooted, Result, RootScope, Rooted, Store, StoreContextMut,
};

impl<T> Template<T> {
    /// The same template, in whose forks and snapshots host data of the type `D` is copied by
    /// `copy`, where an [`ExternRef`] of the program is to such data: in its tables and mutable
    /// globals. Of several for one type the first counts.
    ///
    /// Without it, an instance that holds a reference to host data cannot be forked
    /// ([`Error::Held`](crate::Error::Held)). For data that is shared, `D` is an [`Arc`] and `copy`
    /// clones it. References to one and the same data are to one and the same copy in the fork.
    ///
    /// `copy` is called when the instance is forked, frozen or reset, once or twice for each data;
    /// when it refuses, there is no fork ([`Error::HostData`](crate::Error::HostData)). It may be
    /// called from several threads at once, and must not make instances.
    ///
    /// ```
    /// # use memfold_wasmtime::{Template, configure, prepare};
    /// # use wasmtime::{Config, Engine, ExternRef, Linker, Store};
    /// use std::sync::Arc;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
    /// # let mut config = Config::new();
    /// # configure(&mut config, &memory);
    /// # let engine = Engine::new(&config)?;
    /// struct Connection(&'static str);
    ///
    /// let wasm = wat::parse_str(
    ///     r#"(module (memory 1) (global $to (export "to") (mut externref) (ref.null extern))
    ///         (func (export "keep") (param externref) (global.set $to (local.get 0))))"#,
    /// )?;
    /// let template = Template::new(&memory, &Linker::new(&engine), &prepare(&wasm)?)?
    ///     .with_host_data(|connection: &Arc<Connection>| Ok(Arc::clone(connection)));
    /// let mut parent_store = Store::new(&engine, ());
    /// let parent = template.instantiate(&mut parent_store)?;
    /// let data = ExternRef::new(&mut parent_store, Arc::new(Connection("database")))?;
    /// parent.instance().get_func(&mut parent_store, "keep").expect("it is exported")
    ///     .call(&mut parent_store, &[data.into()], &mut [])?;
    ///
    /// let mut store = Store::new(&engine, ());
    /// let fork = parent.fork(&mut parent_store, &mut store)?;
    /// let to = fork.instance().get_global(&mut store, "to").expect("it is exported");
    /// let to = to.get(&mut store).externref().flatten().copied().expect("not null");
    /// let data = to.data(&store)?.expect("data of the host");
    /// let connection = data.downcast_ref::<Arc<Connection>>().expect("of this type");
    /// assert_eq!(connection.0, "database");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_host_data<D: Any + Send + Sync>(
        mut self,
        copy: impl Fn(&D) -> Result<D> + Send + Sync + 'static,
    ) -> Self {
        let copy: CopyOf<D> = Arc::new(copy);
        self.hooks.0.push(Arc::new(copy));
        self
    }
}

/// What `copy` is for one type.
type CopyOf<D> = Arc<dyn Fn(&D) -> Result<D> + Send + Sync>;

/// What the embedder gave for each type.
pub(crate) struct Hooks<T: 'static>(Vec<Arc<dyn Hook<T>>>);

trait Hook<T: 'static>: Send + Sync {
    /// A copy, when the data is of the type that this is for.
    fn copy(&self, data: &(dyn Any + Send + Sync)) -> Option<Result<Arc<dyn Copied<T>>>>;
}

/// A copy that belongs to no store.
trait Copied<T: 'static>: Send + Sync {
    /// Copies it into a store.
    fn place(&self, store: StoreContextMut<'_, T>) -> Result<Rooted<ExternRef>>;
}

struct Kept<D> {
    data: D,
    copy: CopyOf<D>,
}

impl<T: 'static, D: Any + Send + Sync> Hook<T> for CopyOf<D> {
    fn copy(&self, data: &(dyn Any + Send + Sync)) -> Option<Result<Arc<dyn Copied<T>>>> {
        let data = data.downcast_ref::<D>()?;
        let keep = |data| -> Arc<dyn Copied<T>> {
            Arc::new(Kept {
                data,
                copy: Arc::clone(self),
            })
        };
        Some(self(data).map(keep))
    }
}

impl<T: 'static, D: Any + Send + Sync> Copied<T> for Kept<D> {
    fn place(&self, store: StoreContextMut<'_, T>) -> Result<Rooted<ExternRef>> {
        ExternRef::new(store, (self.copy)(&self.data)?)
    }
}

/// The copies of one state.
pub(crate) struct Copies<T: 'static> {
    copies: Vec<Arc<dyn Copied<T>>>,
    /// Which of them is of the data at this address, of this type. Empty when all were made.
    known: HashMap<(usize, TypeId), usize>,
}

/// Why there is no copy.
pub(crate) enum Uncopied {
    /// Nobody said how.
    Unknown,
    /// The embedder's function refused.
    Refused(wasmtime::Error),
}

impl<T> Copies<T> {
    /// The place of the copy of what a reference is to.
    pub(crate) fn copy(
        &mut self,
        store: impl AsContext<Data = T>,
        hooks: &Hooks<T>,
        reference: Rooted<ExternRef>,
    ) -> std::result::Result<usize, Uncopied> {
        let data = reference.data(store.as_context()).map_err(Uncopied::Refused)?;
        // An object of the heap that goes by as an external reference.
        let data = data.ok_or(Uncopied::Unknown)?;
        let key = (std::ptr::from_ref(data).addr(), data.type_id());
        if let Some(&known) = self.known.get(&key) {
            return Ok(known);
        }
        let copy = hooks.0.iter().find_map(|hook| hook.copy(data));
        let copy = copy.ok_or(Uncopied::Unknown)?.map_err(Uncopied::Refused)?;
        let place = self.copies.len();
        self.copies.push(copy);
        self.known.insert(key, place);
        Ok(place)
    }

    /// All were made: addresses may mean something else from now on.
    pub(crate) fn close(&mut self) {
        self.known = HashMap::new();
    }

    /// A copy of each in a store.
    pub(crate) fn place(&self, store: &mut Store<T>) -> Result<Placed> {
        let mut scope = scope(store);
        let place = |copy: &Arc<dyn Copied<T>>| {
            let placed = copy.place(scope.as_context_mut())?;
            placed.to_owned_rooted(&mut scope)
        };
        self.copies.iter().map(place).collect::<Result<_>>().map(Placed)
    }
}

/// What a state's references are to in one store.
pub(crate) struct Placed(Box<[OwnedRooted<ExternRef>]>);

impl Placed {
    /// The reference at this place, until the store's scope ends.
    pub(crate) fn reference(&self, store: impl AsContextMut, place: usize) -> Option<Rooted<ExternRef>> {
        Some(self.0[place].to_rooted(store))
    }
}

/// The store until what is returned is dropped; references that were met meanwhile keep nothing
/// alive any longer then.
pub(crate) fn scope<T>(store: &mut Store<T>) -> RootScope<&mut Store<T>> {
    RootScope::new(store)
}

impl<T> Clone for Hooks<T> {
    fn clone(&self) -> Self {
        Hooks(self.0.clone())
    }
}

impl<T> Default for Hooks<T> {
    fn default() -> Self {
        Hooks(Vec::new())
    }
}

impl<T> Clone for Copies<T> {
    fn clone(&self) -> Self {
        Copies {
            copies: self.copies.clone(),
            known: HashMap::new(),
        }
    }
}

impl<T> Default for Copies<T> {
    fn default() -> Self {
        Copies {
            copies: Vec::new(),
            known: HashMap::new(),
        }
    }
}
