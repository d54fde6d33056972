//! A module on both sides: [`Sides`].

use crate::Verdict;
use crate::draw::Draw;
use memfold::Memory;
use memfold_wasmtime::{Error, ForkInstance, Given, Template, configure, prepare_with};
use std::hash::{DefaultHasher, Hasher};
use wasmtime::{
    Caller, Config, Engine, Extern, ExternType, Func, FuncType, Global, Instance, Linker, Module, Ref,
    Result, Store, StoreLimits, StoreLimitsBuilder, Table, Trap, Val, ValType,
};

/// What a call may take on stock Wasmtime. A prepared module may run some instructions more.
const FUEL: u64 = 1_000_000;
const CALLS: usize = 12;

/// The two engines.
pub struct Sides {
    pub memory: Memory,
    pub engine: Engine,
    pub stock: Engine,
    memory_bytes: usize,
}

/// A call: an export, and what it is given.
type Call = (String, Vec<Val>);

impl Sides {
    /// Memories may grow to so many bytes.
    pub fn new(memory_bytes: usize) -> Self {
        let mut config = Config::new();
        config.consume_fuel(true);
        // What a NaN looks like is open otherwise.
        config.cranelift_nan_canonicalization(true);
        let stock = Engine::new(&config).expect("the configuration is valid");
        let memory = Memory::builder()
            .build()
            .expect("this machine lets us manage memory");
        let engine = Engine::new(configure(&mut config, &memory)).expect("the configuration is valid");
        Sides {
            memory,
            engine,
            stock,
            memory_bytes,
        }
    }

    pub fn store(&self, engine: &Engine) -> Store<StoreLimits> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(self.memory_bytes)
            .table_elements(1000);
        let mut store = Store::new(engine, limits.build());
        store.limiter(|limits| limits);
        store.set_fuel(u64::MAX / 2).expect("fuel is counted");
        store
    }

    /// What calls of a new stock instance come to. Those of which that is open (fuel and stack are
    /// not the same on both sides) are left out.
    fn right(&self, module: &Module, mut calls: Vec<Call>, names: &[String]) -> (Vec<Call>, Vec<Told>) {
        // Ends: each turn leaves one out.
        loop {
            let mut store = self.store(&self.stock);
            let original = instance(module, &mut store).expect("it was made a moment ago");
            let told = |call| told(&mut store, &original, call, names, FUEL);
            let right: Vec<Told> = calls.iter().map_while(told).collect();
            if right.len() == calls.len() {
                return (calls, right);
            }
            calls.remove(right.len());
        }
    }

    /// Runs it on both, with calls that are drawn.
    pub fn compare(&self, wasm: &[u8], draw: &mut Draw) -> Verdict {
        let Ok(module) = Module::new(&self.stock, wasm) else {
            return Verdict::NeverRan;
        };
        let mut store = self.store(&self.stock);
        store.set_fuel(FUEL).expect("fuel is counted");
        let original = instance(&module, &mut store);
        let prepared = match prepare_with(wasm, &Given::new().zeros()) {
            Ok(prepared) => prepared,
            Err(_) if original.is_err() => return Verdict::NeverRan,
            Err(refused) => return Verdict::Refused(refused.to_string()),
        };
        let ours = Module::new(&self.engine, prepared.wasm()).expect("what was prepared compiles");
        let linker = linker(&ours, &self.engine).expect("functions can be defined");
        let template = match Template::from_module(&self.memory, &linker, &prepared, &ours) {
            Ok(template) => template,
            // Such as a global that holds a reference: what it is, only a store can say.
            Err(Error::Link(error)) => return Verdict::Refused(error.to_string()),
            Err(error) => panic!("{error}"),
        };
        let mut parent_store = self.store(&self.engine);
        parent_store.set_fuel(2 * FUEL).expect("fuel is counted");
        let parent = template.instantiate(&mut parent_store);
        let (original, parent) = match (original, parent) {
            (Ok(original), Ok(parent)) => (original, parent),
            (Err(error), _) if is_open(&error) => return Verdict::NeverRan,
            (Err(_), Err(_)) => return Verdict::NeverRan,
            (Ok(_), Err(error)) => panic!("memfold does not instantiate it: {error}"),
            (Err(error), Ok(_)) => panic!("only memfold instantiates it: {error:#}"),
        };
        let names: Vec<String> = module.exports().map(|export| export.name().to_owned()).collect();
        let begin = seen(&mut store, &original, &names);
        let (calls, right) = self.right(&module, calls(&module, draw), &names);
        let (before, after) = right.split_at(right.len() / 2);
        let calls = calls.split_at(before.len());
        let ours = seen(&mut parent_store, parent.instance(), &names);
        assert_eq!(ours, begin, "at first");
        check(&mut parent_store, &parent, (calls.0, before), &names);
        let half = Half {
            state: before.last().map_or(&begin, |told| &told.1),
            rest: (calls.1, after),
            names: &names,
        };
        match half.copies(self, &mut parent_store, &parent) {
            Ok(()) => Verdict::Equal(right.len()),
            Err(refused) => Verdict::Refused(refused.to_string()),
        }
    }
}

/// Where the copies begin, and what follows.
struct Half<'a> {
    state: &'a Vec<String>,
    rest: (&'a [Call], &'a [Told]),
    names: &'a [String],
}

impl Half<'_> {
    /// The parent and its copies go on from the same state.
    fn copies(
        &self,
        sides: &Sides,
        store: &mut Store<StoreLimits>,
        parent: &ForkInstance<StoreLimits>,
    ) -> Result<(), Error> {
        let mut stores = [(); 3].map(|()| sides.store(&sides.engine));
        let [child_store, grandchild_store, clone_store] = &mut stores;
        let child = refused(parent.fork(store, child_store))?;
        let snapshot = refused(parent.freeze(store))?;
        let grandchild = refused(child.fork(child_store, grandchild_store))?;
        let clone = snapshot.instantiate(clone_store).expect("there is room");
        self.goes_on("the fork", child_store, &child);
        self.goes_on("the fork's fork", grandchild_store, &grandchild);
        self.goes_on("the parent", store, parent);
        self.goes_on("the snapshot's instance", clone_store, &clone);
        match clone.reset(clone_store, &snapshot) {
            Ok(()) => self.goes_on("reset", clone_store, &clone),
            Err(Error::Irreversible(_) | Error::Held { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let checked = sides.memory.check();
        assert!(checked.is_ok(), "{checked:?}");
        Ok(())
    }

    fn goes_on(&self, which: &str, store: &mut Store<StoreLimits>, copy: &ForkInstance<StoreLimits>) {
        eprintln!("  {which}");
        assert_eq!(&seen(store, copy.instance(), self.names), self.state);
        check(store, copy, self.rest, self.names);
    }
}

/// A state that cannot be copied is no failure; anything else is.
fn refused<T>(made: Result<T, Error>) -> Result<T, Error> {
    match made {
        Err(error) if !matches!(error, Error::Held { .. }) => panic!("{error}"),
        made => made,
    }
}

/// What a call came to, and the state after it.
type Told = (String, Vec<String>);

/// The calls come to what is right, each with all pages in the store.
fn check(
    store: &mut Store<StoreLimits>,
    fork: &ForkInstance<StoreLimits>,
    (calls, right): (&[Call], &[Told]),
    names: &[String],
) {
    for (call, right) in calls.iter().zip(right) {
        for space in fork.spaces() {
            space.evict().expect("nothing is pinned");
        }
        let told = told(store, fork.instance(), call, names, 2 * FUEL);
        fork.check().expect("no memory was lost");
        assert_eq!(told.as_ref(), Some(right), "{call:?}");
    }
}

/// Calls an export; nothing where what comes of it is open.
fn told(
    store: &mut Store<StoreLimits>,
    instance: &Instance,
    (name, values): &Call,
    names: &[String],
    fuel: u64,
) -> Option<Told> {
    store.set_fuel(fuel).expect("fuel is counted");
    let function = instance.get_func(&mut *store, name).expect("the export is there");
    let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
    let text = match function.call(&mut *store, values, &mut results) {
        Ok(()) => results.iter().map(written).collect::<Vec<_>>().join(", "),
        Err(error) if is_open(&error) => return None,
        Err(error) => match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None if error.is::<wasmtime::ThrownException>() => "thrown".to_owned(),
            None => error.to_string(),
        },
    };
    let state = seen(store, instance, names);
    Some((text, state))
}

/// Whether it ended for want of fuel or stack, of which the two sides need more or less.
fn is_open(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(Trap::OutOfFuel | Trap::StackOverflow))
}

/// What can be seen of an instance, by the names of the original's exports.
fn seen(store: &mut Store<StoreLimits>, instance: &Instance, names: &[String]) -> Vec<String> {
    let of = |name: &String| match instance.get_export(&mut *store, name) {
        None => format!("{name}: gone"),
        Some(Extern::Memory(memory)) => {
            let bytes = memory.data(&*store);
            let mut hash = DefaultHasher::new();
            hash.write(bytes);
            format!("{name}: {} bytes, {:x}", bytes.len(), hash.finish())
        }
        Some(Extern::Global(global)) => format!("{name}: {}", written(&global.get(&mut *store))),
        Some(Extern::Table(table)) => {
            let slots = 0..table.size(&*store);
            let slots = slots.map(|slot| match table.get(&mut *store, slot) {
                Some(Ref::Func(Some(function))) => function.ty(&*store).to_string(),
                Some(other) => other.is_null().to_string(),
                None => "gone".to_owned(),
            });
            format!("{name}: {:?}", slots.collect::<Vec<_>>())
        }
        Some(_) => name.clone(),
    };
    names.iter().map(of).collect()
}

/// A value, of a reference whether it is null.
fn written(value: &Val) -> String {
    match value.ref_() {
        Some(reference) => format!("null: {}", reference.is_null()),
        None => format!("{value:?}"),
    }
}

/// Calls that are drawn.
fn calls(module: &Module, draw: &mut Draw) -> Vec<Call> {
    let functions: Vec<_> = module
        .exports()
        .filter_map(|export| Some((export.name().to_owned(), export.ty().func()?.clone())))
        .collect();
    if functions.is_empty() {
        return Vec::new();
    }
    let call = |draw: &mut Draw| {
        let (name, ty) = &functions[draw.below(functions.len())];
        Some((name.clone(), draw.values(ty)?))
    };
    (0..CALLS).filter_map(|_| call(draw)).collect()
}

/// A linker in which every function that is imported answers with zeros.
fn linker(module: &Module, engine: &Engine) -> Result<Linker<StoreLimits>> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    for import in module.imports() {
        if let ExternType::Func(ty) = import.ty() {
            let of = ty.clone();
            let zeros = move |_: Caller<'_, _>, _: &[Val], results: &mut [Val]| zeros(&of, results);
            linker.func_new(import.module(), import.name(), ty, zeros)?;
        }
    }
    Ok(linker)
}

fn zeros(ty: &FuncType, results: &mut [Val]) -> Result<()> {
    for (result, ty) in results.iter_mut().zip(ty.results()) {
        *result = zero(&ty)?;
    }
    Ok(())
}

fn zero(ty: &ValType) -> Result<Val> {
    Val::default_for_ty(ty).ok_or_else(|| wasmtime::Error::msg("it has no zero"))
}

/// A stock instance; all that it imports is made for it alone, as memfold does.
fn instance(module: &Module, store: &mut Store<StoreLimits>) -> Result<Instance> {
    let mut imports = Vec::new();
    for import in module.imports() {
        imports.push(match import.ty() {
            ExternType::Func(ty) => {
                let of = ty.clone();
                let zeros = move |_: Caller<'_, _>, _: &[Val], results: &mut [Val]| zeros(&of, results);
                Extern::Func(Func::new(&mut *store, ty, zeros))
            }
            ExternType::Memory(ty) => wasmtime::Memory::new(&mut *store, ty)?.into(),
            ExternType::Table(ty) => {
                let null = Ref::null(ty.element().heap_type());
                Table::new(&mut *store, ty, null)?.into()
            }
            ExternType::Global(ty) => {
                let zero = zero(ty.content())?;
                Global::new(&mut *store, ty, zero)?.into()
            }
            other => return Err(wasmtime::Error::msg(format!("nobody has a {other:?}"))),
        });
    }
    Instance::new(store, module, &imports)
}
