//! The same calls on an unmodified module of a stock engine, and in forks made half-way:
//! [`equal_to_stock`].

use crate::common::{self, Wasi, linker, memory, store};
use memfold_wasmtime::{Error, ForkInstance, Given, Template, configure, prepare_with};
use wasmtime::{Config, Engine, Extern, Instance, Linker, Module, Store, Trap, Val};

/// A call of an export with i32 values.
pub type Call = (&'static str, &'static [i32]);

/// What a call came to, as text.
fn outcome(store: &mut Store<Wasi>, instance: &Instance, (name, values): Call) -> String {
    let function = instance.get_func(&mut *store, name).expect("the export is there");
    let values: Vec<Val> = values.iter().copied().map(Val::I32).collect();
    let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
    match function.call(&mut *store, &values, &mut results) {
        Ok(()) => format!("{name}: {:?}", results.iter().map(Val::i32).collect::<Vec<_>>()),
        Err(error) => match error.downcast_ref::<Trap>() {
            Some(trap) => format!("{name}: {trap}"),
            None if error.is::<wasmtime::ThrownException>() => format!("{name}: thrown"),
            None => panic!("{name}: {error:#}"),
        },
    }
}

/// What can be seen of an instance from outside, by the names of the module's own exports.
fn seen(store: &mut Store<Wasi>, instance: &Instance) -> Vec<String> {
    let exports: Vec<(String, Extern)> = instance
        .exports(&mut *store)
        .map(|export| (export.name().to_owned(), export.into_extern()))
        .filter(|(name, _)| !name.starts_with("memfold:"))
        .collect();
    let of = |(name, export): (String, Extern)| match export {
        Extern::Memory(memory) => {
            let bytes = memory.data(&*store);
            let sum = bytes.iter().fold(0_u64, |sum, byte| {
                sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
            });
            format!("{name}: {} bytes, {sum:x}", bytes.len())
        }
        Extern::Global(global) => match global.get(&mut *store) {
            Val::FuncRef(function) => format!("{name}: {}", function.is_some()),
            value => format!("{name}: {value:?}"),
        },
        Extern::Table(table) => {
            let size = table.size(&*store);
            let nulls: Vec<bool> = (0..size)
                .map(|slot| table.get(&mut *store, slot).unwrap().is_null())
                .collect();
            format!("{name}: {nulls:?}")
        }
        _ => name,
    };
    exports.into_iter().map(of).collect()
}

/// An engine on memfold that takes pages of one byte.
pub fn custom(memory: &memfold::Memory) -> Engine {
    let mut config = Config::new();
    config.wasm_custom_page_sizes(true);
    Engine::new(configure(&mut config, memory)).unwrap()
}

/// Runs both halves on a stock engine, and with a fork, a fork of the fork, and a snapshot between
/// them; the second half again after a reset.
pub fn equal_to_stock(text: &str, before: &[Call], after: &[Call]) {
    equal_with(text, &Given::new(), |_, _| {}, before, after);
}

/// The same for a module that needs more: what is given for it, and what a host of the stock engine
/// would define.
pub fn equal_with(
    text: &str,
    given: &Given,
    define: impl Fn(&mut Linker<Wasi>, &mut Store<Wasi>),
    before: &[Call],
    after: &[Call],
) {
    let wasm = wat::parse_str(text).unwrap();
    let mut config = Config::new();
    config.wasm_custom_page_sizes(true);
    let stock = Engine::new(&config).unwrap();
    let mut stock_store = common::store(&stock);
    let module = Module::new(&stock, &wasm).unwrap();
    let mut stock_linker = linker(&stock);
    define(&mut stock_linker, &mut stock_store);
    let original = stock_linker.instantiate(&mut stock_store, &module).unwrap();
    let run = |store: &mut Store<Wasi>, instance: &Instance, calls: &[Call]| -> Vec<String> {
        calls.iter().map(|call| outcome(store, instance, *call)).collect()
    };
    let first = run(&mut stock_store, &original, before);
    let half = seen(&mut stock_store, &original);
    let second = run(&mut stock_store, &original, after);
    let end = seen(&mut stock_store, &original);

    let memory = memory();
    let engine = custom(&memory);
    let prepared = prepare_with(&wasm, given).unwrap();
    let template = Template::new(&memory, &linker(&engine), &prepared).unwrap();
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).unwrap();
    assert_eq!(run(&mut parent_store, parent.instance(), before), first);
    assert_eq!(seen(&mut parent_store, parent.instance()), half);
    let mut child_store = store(&engine);
    let child = parent.fork(&mut parent_store, &mut child_store).unwrap();
    let mut grandchild_store = store(&engine);
    let grandchild = child.fork(&mut child_store, &mut grandchild_store).unwrap();
    let snapshot = parent.freeze(&mut parent_store).unwrap();
    let check = |store: &mut Store<Wasi>, fork: &ForkInstance<Wasi>| {
        for space in fork.spaces() {
            space.evict().unwrap();
        }
        assert_eq!(seen(store, fork.instance()), half);
        assert_eq!(run(store, fork.instance(), after), second);
        assert_eq!(seen(store, fork.instance()), end);
    };
    check(&mut child_store, &child);
    check(&mut grandchild_store, &grandchild);
    check(&mut parent_store, &parent);
    for _ in 0..2 {
        let mut store = store(&engine);
        let clone = snapshot.instantiate(&mut store).unwrap();
        check(&mut store, &clone);
        match clone.reset(&mut store, &snapshot) {
            Ok(()) => check(&mut store, &clone),
            // What cannot be undone leaves everything as it was.
            Err(Error::Irreversible(_)) => assert_eq!(seen(&mut store, clone.instance()), end),
            Err(error) => panic!("{error}"),
        }
    }
}
