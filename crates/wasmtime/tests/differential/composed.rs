//! Components out of random bytes: two instances of a module that wasm-smith makes, whose functions
//! are lifted, and beside each a module that tells what globals, memories and tables hold, which
//! nobody outside of a component could see.

use crate::draw::Draw;
use crate::modules::Sides;
use crate::probe::{number, probe};
use crate::{Tally, Verdict, generated, seeds};
use memfold_wasmtime::{ComponentTemplate, Error, ForkComponent, prepare_component};
use wasm_encoder::{
    CanonicalOption, ComponentBuilder, ComponentExportKind, ComponentValType, ExportKind, ModuleArg,
    PrimitiveValType,
};
use wasmtime::component::{Component, Instance, Linker, Val};
use wasmtime::{FuncType, Module, Store, StoreLimits, Trap, ValType};

const FUEL: u64 = 1_000_000;
const CALLS: usize = 10;

/// A component, and what it exports.
struct Composed {
    wasm: Vec<u8>,
    /// With the types of their parameters.
    functions: Vec<(String, Vec<ValType>)>,
    /// What tells the state.
    probes: Vec<String>,
}

#[test]
fn components_run_as_the_originals_do() {
    let sides = Sides::new(1 << 21);
    let mut tally = Tally::default();
    for seed in seeds(60) {
        eprintln!("component {seed}");
        let mut draw = Draw::new(seed ^ 0xc0_ffee);
        let module = generated::module(&mut draw, 0);
        let composed = module.and_then(|wasm| Composed::new(&wasm, &Module::new(&sides.stock, &wasm).ok()?));
        if let Some(composed) = composed {
            tally.note(compare(&sides, &composed, &mut draw));
        }
    }
    eprintln!("{tally:?}");
    // A comparison of nothing would always pass.
    assert!(tally.equal >= 5 && tally.calls >= 15, "{tally:?}");
}

impl Composed {
    fn new(wasm: &[u8], module: &Module) -> Option<Self> {
        if module.imports().len() > 0 {
            return None;
        }
        let (probe, probes) = probe(module);
        let mut component = ComponentBuilder::default();
        let module_index = component.core_module_raw(None, wasm);
        let probe = component.core_module_raw(None, &probe);
        let mut composed = Composed {
            wasm: Vec::new(),
            functions: Vec::new(),
            probes: Vec::new(),
        };
        for which in ["a", "b"] {
            let instance = component.core_instantiate(None, module_index, []);
            let asked = [("m", ModuleArg::Instance(instance))];
            let asked = component.core_instantiate(None, probe, asked);
            for (name, result) in &probes {
                let core = (asked, name.as_str());
                let of_instance = format!("{which}-{name}");
                lift(&mut component, core, &of_instance, &[], Some(result));
                composed.probes.push(of_instance);
            }
            for (export, index) in module.exports().zip(0..) {
                if let Some(ty) = export.ty().func()
                    && can_be_lifted(ty)
                {
                    let params: Vec<ValType> = ty.params().collect();
                    let name = format!("{which}-f{index}");
                    let core = (instance, export.name());
                    lift(&mut component, core, &name, &params, ty.results().next().as_ref());
                    composed.functions.push((name, params));
                }
            }
        }
        composed.wasm = component.finish();
        Some(composed)
    }
}

/// Lifts a function of a core instance, and exports it under this name.
fn lift(
    component: &mut ComponentBuilder,
    (instance, core_name): (u32, &str),
    name: &str,
    params: &[ValType],
    result: Option<&ValType>,
) {
    let core = component.core_alias_export(None, instance, core_name, ExportKind::Func);
    let (ty, mut function) = component.type_function(None);
    let names: Vec<String> = (0..params.len()).map(|place| format!("p{place}")).collect();
    let types = params.iter().map(lifted);
    function
        .params(names.iter().map(String::as_str).zip(types))
        .result(result.map(lifted));
    let none: [CanonicalOption; 0] = [];
    let function = component.lift_func(None, core, ty, none);
    component.export(name, ComponentExportKind::Func, function, None);
}

/// A number's type in components.
fn lifted(ty: &ValType) -> ComponentValType {
    ComponentValType::Primitive(match ty {
        ValType::I32 => PrimitiveValType::S32,
        ValType::F32 => PrimitiveValType::F32,
        ValType::F64 => PrimitiveValType::F64,
        _ => PrimitiveValType::S64,
    })
}

/// Whether it needs no memory for that.
fn can_be_lifted(ty: &FuncType) -> bool {
    let mut types = ty.params().chain(ty.results());
    ty.params().len() <= 16 && ty.results().len() <= 1 && types.all(|ty| number(&ty).is_some())
}

type Call = (String, Vec<Val>);
/// What a call came to, and the state after it; nobody can look into a component that has trapped.
type Told = (Result<String, String>, Vec<String>);

/// Runs it on both, with calls that are drawn, up to the first that traps.
fn compare(sides: &Sides, composed: &Composed, draw: &mut Draw) -> Verdict {
    let wasm = &composed.wasm;
    // Functions whose types stand in a group with others cannot be lifted.
    let Ok(component) = Component::new(&sides.stock, wasm) else {
        return Verdict::NeverRan;
    };
    let mut store = sides.store(&sides.stock);
    store.set_fuel(FUEL).expect("fuel is counted");
    let original = Linker::new(&sides.stock).instantiate(&mut store, &component);
    let prepared = match prepare_component(wasm) {
        Ok(prepared) => prepared,
        Err(_) if original.is_err() => return Verdict::NeverRan,
        Err(refused) => return Verdict::Refused(refused.to_string()),
    };
    let template = ComponentTemplate::new(&sides.memory, &Linker::new(&sides.engine), &prepared);
    let template = template.expect("what was prepared compiles");
    let mut parent_store = sides.store(&sides.engine);
    parent_store.set_fuel(2 * FUEL).expect("fuel is counted");
    let (original, parent) = match (original, template.instantiate(&mut parent_store)) {
        (Ok(original), Ok(parent)) => (original, parent),
        (Err(error), _) if open(&error) => return Verdict::NeverRan,
        (Err(_), Err(_)) => return Verdict::NeverRan,
        (Ok(_), Err(error)) => panic!("memfold does not instantiate it: {error}"),
        (Err(error), Ok(_)) => panic!("only memfold instantiates it: {error:#}"),
    };
    let begin = seen(&mut store, &original, &composed.probes);
    let (calls, right) = right(
        sides,
        &component,
        calls(&composed.functions, draw),
        &composed.probes,
    );
    let (before, after) = right.split_at(right.len() / 2);
    let calls = calls.split_at(before.len());
    let ours = seen(&mut parent_store, parent.instance(), &composed.probes);
    assert_eq!(ours, begin, "at first");
    check(&mut parent_store, &parent, (calls.0, before), &composed.probes);
    let half = Half {
        state: before.last().map_or(&begin, |told| &told.1),
        rest: (calls.1, after),
        probes: &composed.probes,
    };
    match half.copies(sides, &mut parent_store, &parent) {
        Ok(()) => Verdict::Equal(right.len()),
        Err(error) => Verdict::Refused(error.to_string()),
    }
}

/// What calls of a new stock instance come to. Those of which that is open are left out, and those
/// that trap, of which one comes last.
fn right(
    sides: &Sides,
    component: &Component,
    mut calls: Vec<Call>,
    probes: &[String],
) -> (Vec<Call>, Vec<Told>) {
    let mut last = None;
    // Ends: each turn leaves one out, or is the last.
    loop {
        let mut store = sides.store(&sides.stock);
        let original = Linker::new(&sides.stock).instantiate(&mut store, component);
        let original = original.expect("it was made a moment ago");
        let mut right: Vec<Told> = Vec::new();
        for call in &calls {
            match told(&mut store, &original, call, probes, FUEL) {
                Some(told) if told.0.is_ok() => right.push(told),
                Some(told) if right.len() + 1 == calls.len() => right.push(told),
                other => {
                    last = other.and(Some(call.clone())).or(last);
                    break;
                }
            }
        }
        if right.len() < calls.len() {
            calls.remove(right.len());
            continue;
        }
        match last.take() {
            Some(call) if right.last().is_none_or(|told| told.0.is_ok()) => calls.push(call),
            _ => return (calls, right),
        }
    }
}

/// The calls come to what is right, each with all pages in the store.
fn check(
    store: &mut Store<StoreLimits>,
    fork: &ForkComponent<StoreLimits>,
    (calls, right): (&[Call], &[Told]),
    probes: &[String],
) {
    for (call, right) in calls.iter().zip(right) {
        for space in fork.spaces() {
            space.evict().expect("nothing is pinned");
        }
        let told = told(store, fork.instance(), call, probes, 2 * FUEL);
        fork.check().expect("no memory was lost");
        assert_eq!(told.as_ref(), Some(right), "{call:?}");
    }
}

/// Where the copies begin, and what follows.
struct Half<'a> {
    state: &'a Vec<String>,
    rest: (&'a [Call], &'a [Told]),
    probes: &'a [String],
}

impl Half<'_> {
    /// The parent and its copies go on from the same state.
    fn copies(
        &self,
        sides: &Sides,
        store: &mut Store<StoreLimits>,
        parent: &ForkComponent<StoreLimits>,
    ) -> Result<(), Error> {
        let mut child_store = sides.store(&sides.engine);
        let child = match parent.fork(store, &mut child_store) {
            Err(error) if !matches!(error, Error::ChangedTable(_)) => panic!("{error}"),
            child => child?,
        };
        let snapshot = parent.freeze(store).expect("it was forked a moment ago");
        let mut clone_store = sides.store(&sides.engine);
        let clone = snapshot.instantiate(&mut clone_store).expect("there is room");
        self.goes_on("the fork", &mut child_store, &child);
        self.goes_on("the parent", store, parent);
        self.goes_on("the snapshot's instance", &mut clone_store, &clone);
        match clone.reset(&mut clone_store, &snapshot) {
            Ok(()) => self.goes_on("reset", &mut clone_store, &clone),
            Err(Error::Irreversible(_) | Error::ChangedTable(_) | Error::CannotEnter) => {}
            Err(error) => panic!("{error}"),
        }
        let checked = sides.memory.check();
        assert!(checked.is_ok(), "{checked:?}");
        Ok(())
    }

    fn goes_on(&self, which: &str, store: &mut Store<StoreLimits>, copy: &ForkComponent<StoreLimits>) {
        eprintln!("  {which}");
        assert_eq!(&seen(store, copy.instance(), self.probes), self.state);
        check(store, copy, self.rest, self.probes);
    }
}

fn open(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(Trap::OutOfFuel | Trap::StackOverflow))
}

fn calls(functions: &[(String, Vec<ValType>)], draw: &mut Draw) -> Vec<Call> {
    if functions.is_empty() {
        return Vec::new();
    }
    let call = |draw: &mut Draw| {
        let (name, params) = &functions[draw.below(functions.len())];
        let values = params.iter().map(|ty| draw.component_value(ty)).collect();
        (name.clone(), values)
    };
    (0..CALLS).map(|_| call(draw)).collect()
}

/// Calls an export; nothing where what comes of it is open.
fn told(
    store: &mut Store<StoreLimits>,
    instance: &Instance,
    (name, values): &Call,
    probes: &[String],
    fuel: u64,
) -> Option<Told> {
    store.set_fuel(fuel).expect("fuel is counted");
    match ask(store, instance, name, values) {
        Ok(text) => {
            let seen = seen(store, instance, probes);
            Some((Ok(text), seen))
        }
        Err(error) if open(&error) => None,
        Err(error) => {
            let trap = error.downcast_ref::<Trap>().map(ToString::to_string);
            Some((
                Err(trap.unwrap_or_else(|| error.root_cause().to_string())),
                Vec::new(),
            ))
        }
    }
}

fn ask(
    store: &mut Store<StoreLimits>,
    instance: &Instance,
    name: &str,
    values: &[Val],
) -> wasmtime::Result<String> {
    let function = instance.get_func(&mut *store, name).expect("the export is there");
    let mut results = vec![Val::Bool(false); function.ty(&*store).results().len()];
    function.call(&mut *store, values, &mut results)?;
    Ok(format!("{results:?}"))
}

/// What all probes tell.
fn seen(store: &mut Store<StoreLimits>, instance: &Instance, probes: &[String]) -> Vec<String> {
    store.set_fuel(u64::MAX / 2).expect("fuel is counted");
    let tell = |probe: &String| {
        let told = ask(store, instance, probe, &[]).unwrap_or_else(|error| panic!("{probe}: {error:#}"));
        format!("{probe}: {told}")
    };
    probes.iter().map(tell).collect()
}
