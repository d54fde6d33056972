//! Goal: an engine whose settings memfold cannot work with is refused by name, and one with the
//! right settings takes memories of every kind. Method: each setting changed behind `configure`;
//! memories of unusual types, with the same calls on stock Wasmtime.

use crate::common::{engine, linker, memory};
use memfold_wasmtime::{Error, Template, check, configure, prepare};
use wasmtime::{Config, Engine, Instance, Module, Store, Trap};

const SMALL: &str = r#"(module (memory (export "memory") 1) (data (i32.const 0) "x"))"#;

/// Goal: each setting that was changed after `configure` is named, whatever it was changed to.
/// Method: one at a time.
#[test]
fn a_changed_setting_is_named() {
    type Change = fn(&mut Config) -> &mut Config;
    let changes: [(&str, Change); 13] = [
        ("signals_based_traps", |config| config.signals_based_traps(false)),
        ("memory_init_cow", |config| config.memory_init_cow(true)),
        ("memory_reservation", |config| config.memory_reservation(8 << 30)),
        ("memory_reservation", |config| config.memory_reservation(1 << 20)),
        ("memory_reservation", |config| config.memory_reservation(0)),
        ("memory_guard_size", |config| config.memory_guard_size(64 << 20)),
        ("memory_guard_size", |config| config.memory_guard_size(0)),
        // What heaps of objects have.
        ("memory_guard_size", |config| config.memory_guard_size(16 << 20)),
        ("memory_may_move", |config| config.memory_may_move(true)),
        ("gc_heap_reservation", |config| {
            config.gc_heap_reservation(1 << 30)
        }),
        // What memories have.
        ("gc_heap_guard_size", |config| config.gc_heap_guard_size(32 << 20)),
        ("gc_heap_guard_size", |config| config.gc_heap_guard_size(0)),
        ("gc_heap_may_move", |config| config.gc_heap_may_move(true)),
    ];
    let memory = memory();
    let prepared = prepare(&wat::parse_str(SMALL).unwrap()).unwrap();
    for (name, change) in changes {
        let mut config = Config::new();
        change(configure(&mut config, &memory));
        let engine = Engine::new(&config).unwrap();
        let made = Template::new(&memory, &linker(&engine), &prepared).map(drop);
        for error in [made.unwrap_err(), check(&engine).unwrap_err()] {
            let Error::Setting { setting, .. } = error else {
                panic!("{name}: {error}")
            };
            assert_eq!(setting, name);
            assert!(
                error.to_string().contains("memfold_wasmtime::configure"),
                "{error}"
            );
        }
        // The other order is right.
        let mut config = Config::new();
        configure(change(&mut config), &memory);
        let engine = Engine::new(&config).unwrap();
        check(&engine).unwrap();
        Template::new(&memory, &linker(&engine), &prepared).unwrap();
    }
}

/// Goal: an engine that takes its memories from elsewhere is refused. Method: stock, and with all
/// settings but the creator.
#[test]
fn other_engines_are_refused() {
    let memory = memory();
    let prepared = prepare(&wat::parse_str(SMALL).unwrap()).unwrap();
    let mut alike = Config::new();
    alike
        .memory_init_cow(false)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_may_move(false)
        .gc_heap_reservation(4 << 30)
        .gc_heap_guard_size(16 << 20)
        .gc_heap_may_move(false);
    for engine in [Engine::default(), Engine::new(&alike).unwrap()] {
        let error = Template::new(&memory, &linker(&engine), &prepared).unwrap_err();
        assert!(matches!(error, Error::NotConfigured), "{error}");
        assert!(matches!(check(&engine), Err(Error::NotConfigured)));
    }
}

/// Goal: asking an engine costs no memory, and disturbs nothing. Method: the account before and
/// after; then a template.
#[test]
fn asking_leaves_nothing() {
    let memory = memory();
    let engine = engine(&memory);
    let before = memory.stats().usage;
    for _ in 0..10 {
        check(&engine).unwrap();
    }
    assert_eq!(memory.stats().usage.total, before.total);
    let prepared = prepare(&wat::parse_str(SMALL).unwrap()).unwrap();
    let template = Template::new(&memory, &linker(&engine), &prepared).unwrap();
    template.instantiate(&mut crate::common::store(&engine)).unwrap();
}

/// Calls of a program on a memory, and what came of each.
struct Seen {
    store: Store<()>,
    instance: Instance,
    wide: bool,
    lines: String,
}

impl Seen {
    fn call(&mut self, name: &str, at: i64) {
        let Seen { store, instance, .. } = self;
        let outcome = if self.wide {
            let function = instance.get_typed_func::<i64, i64>(&mut *store, name).unwrap();
            function.call(store, at)
        } else {
            let function = instance.get_typed_func::<i32, i32>(&mut *store, name).unwrap();
            function.call(store, i32::try_from(at).unwrap()).map(i64::from)
        };
        let outcome = outcome.map_err(|error| error.downcast_ref::<Trap>().copied());
        self.lines += &format!("{name} {at}: {outcome:?}\n");
    }

    /// Loads and stores around the ends of everything, and over all of it.
    fn look(&mut self) {
        let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
        let bytes = i64::try_from(memory.data_size(&self.store)).unwrap();
        self.lines += &format!("{bytes} bytes\n");
        let fixed = [0, 1, 99, 100, 119, 120, 4095, 4096, 65_535, 1 << 30];
        for at in fixed.into_iter().chain([bytes - 1, bytes, bytes + 1]) {
            for name in ["load", "far", "store", "load"] {
                self.call(name, at.max(0));
            }
        }
        self.call("fill", bytes);
        self.call("fill", bytes + 1);
    }
}

/// What a program sees of a memory of this type while it grows. `p` is what its addresses are.
fn seen(engine: &Engine, ty: &str, p: &str) -> String {
    let text = format!(
        r#"(module (memory (export "memory") {ty})
            (func (export "size") (param {p}) (result {p}) (memory.size))
            (func (export "load") (param {p}) (result {p}) ({p}.load8_u (local.get 0)))
            (func (export "far") (param {p}) (result {p}) ({p}.load8_u offset=65536 (local.get 0)))
            (func (export "store") (param {p}) (result {p}) ({p}.store8 (local.get 0) ({p}.const 7)) ({p}.const 0))
            (func (export "fill") (param {p}) (result {p})
                (memory.fill ({p}.const 0) (i32.const 9) (local.get 0)) ({p}.const 0))
            (func (export "grow") (param {p}) (result {p}) (memory.grow (local.get 0))))"#
    );
    let module = Module::new(engine, wat::parse_str(&text).unwrap()).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let mut seen = Seen {
        store,
        instance,
        wide: p == "i64",
        lines: String::new(),
    };
    for grow in [0, 20, 1, 0, 1, 2, 100_000] {
        seen.call("grow", grow);
        seen.call("size", 0);
        seen.look();
    }
    seen.lines
}

/// Goal: memories that begin empty, have pages of one byte, or addresses of 64 bits are right in an
/// engine on memfold. Method: what a program sees of each, on stock Wasmtime too.
#[test]
fn unusual_memories_are_as_on_stock() {
    let memory = memory();
    let mut config = Config::new();
    config.wasm_custom_page_sizes(true);
    let stock = Engine::new(&config).unwrap();
    let ours = Engine::new(configure(&mut config, &memory)).unwrap();
    check(&ours).unwrap();
    for (ty, p) in [
        ("1", "i32"),
        ("0", "i32"),
        ("0 0", "i32"),
        ("0 21", "i32"),
        ("1 1", "i32"),
        ("100 1000 (pagesize 1)", "i32"),
        ("0 150 (pagesize 1)", "i32"),
        ("4096 (pagesize 1)", "i32"),
        ("65536 200000 (pagesize 1)", "i32"),
        ("i64 1 30", "i64"),
        ("i64 0 2", "i64"),
        ("i64 100 4097 (pagesize 1)", "i64"),
    ] {
        assert_eq!(seen(&ours, ty, p), seen(&stock, ty, p), "{ty}");
    }
    memory.check().unwrap();
}
