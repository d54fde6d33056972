//! Goal: a store's limits hold for forks as for every instance. Method: limiters that allow less
//! than the parent has, exactly that, and more; what they are told is written down.

use crate::common::{engine, memory};
use memfold_wasmtime::{Error, ForkInstance, Snapshot, Template, prepare};
use wasmtime::{Engine, Linker, ResourceLimiter, Store};

const PAGE: usize = 1 << 16;

/// A limiter that allows so many bytes, and remembers what it was asked.
#[derive(Default)]
struct Limit {
    bytes: usize,
    asked: Vec<(usize, usize, Option<usize>)>,
    /// Ends the instance, instead of refusing.
    hard: bool,
}

impl ResourceLimiter for Limit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.asked.push((current, desired, maximum));
        if self.hard && desired > self.bytes {
            return Err(wasmtime::Error::msg("the tenant has used up its share"));
        }
        Ok(desired <= self.bytes)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

struct Harness {
    engine: Engine,
    store: Store<Limit>,
    parent: ForkInstance<Limit>,
    snapshot: Snapshot<Limit>,
}

/// A parent of ten pages, whose module begins with one.
fn harness() -> Harness {
    let memory = memory();
    let engine = engine(&memory);
    let module = wat::parse_str(
        r#"(module (memory (export "memory") 1 20)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    );
    let prepared = prepare(&module.unwrap()).unwrap();
    let template = Template::new(&memory, &Linker::new(&engine), &prepared).unwrap();
    let mut store = limited(&engine, 100, false);
    let parent = template.instantiate(&mut store).unwrap();
    assert_eq!(grow(&mut store, &parent, 9), 1);
    let snapshot = parent.freeze(&mut store).unwrap();
    Harness {
        engine,
        store,
        parent,
        snapshot,
    }
}

fn limited(engine: &Engine, pages: usize, hard: bool) -> Store<Limit> {
    let limit = Limit {
        bytes: pages * PAGE,
        hard,
        ..Limit::default()
    };
    let mut store = Store::new(engine, limit);
    store.limiter(|limit| limit);
    store
}

fn grow(store: &mut Store<Limit>, of: &ForkInstance<Limit>, pages: i32) -> i32 {
    let grow = of
        .instance()
        .get_typed_func::<i32, i32>(&mut *store, "grow")
        .unwrap();
    of.call(store, &grow, pages).unwrap()
}

/// A store, and what came of making an instance in it.
type Made = (Store<Limit>, Result<ForkInstance<Limit>, Error>);

impl Harness {
    /// A fork of the live instance and an instance of the snapshot, each in a store of its own that
    /// allows so many pages.
    fn both(&mut self, pages: usize, hard: bool) -> [Made; 2] {
        let mut one = limited(&self.engine, pages, hard);
        let mut other = limited(&self.engine, pages, hard);
        let fork = self.parent.fork(&mut self.store, &mut one);
        let instance = self.snapshot.instantiate(&mut other);
        [(one, fork), (other, instance)]
    }
}

/// Goal: a fork that is larger than its store allows is refused, with the size; the limiter's own
/// words are kept.
#[test]
fn a_fork_larger_than_allowed_is_refused() {
    let mut harness = harness();
    for (pages, hard) in [(1, false), (9, false), (9, true)] {
        for (_, made) in harness.both(pages, hard) {
            let error = made.unwrap_err();
            assert!(
                matches!(error, Error::StoreLimit { bytes: 655_360, .. }),
                "{pages} pages: {error}"
            );
            let text = error.to_string();
            assert!(text.contains("655360 bytes"), "{text}");
            assert_eq!(text.contains("used up its share"), hard, "{text}");
        }
    }
    for (_, made) in harness.both(0, false) {
        assert!(matches!(made, Err(Error::Instantiate(_))), "not even one page");
    }
    // The parent, and stores that allow it, are as before.
    assert_eq!(grow(&mut harness.store, &harness.parent, 0), 10);
    assert!(harness.both(10, true).iter().all(|(_, made)| made.is_ok()));
}

/// Goal: the limiter is told the sizes that the memory really has, one after the other, and limits
/// the fork's growth too.
#[test]
fn growth_of_a_fork_is_limited() {
    let mut harness = harness();
    for (mut store, made) in harness.both(12, false) {
        let fork = made.unwrap();
        let most = Some(20 * PAGE);
        assert_eq!(store.data().asked, [(0, PAGE, most), (PAGE, 10 * PAGE, most)]);
        assert_eq!(grow(&mut store, &fork, 3), -1);
        assert_eq!(grow(&mut store, &fork, 2), 10);
        assert_eq!(grow(&mut store, &fork, 1), -1);
        assert_eq!(
            store.data().asked[2..],
            [
                (10 * PAGE, 13 * PAGE, most),
                (10 * PAGE, 12 * PAGE, most),
                (12 * PAGE, 13 * PAGE, most)
            ]
        );
        assert_eq!(fork.space().len(), 12 << 16);
    }
}

/// Goal: refused forks leave nothing behind when their stores are gone. Method: the account and the
/// manager's check.
#[test]
fn refused_forks_are_given_back() {
    let memory = memory();
    let engine = engine(&memory);
    let module = wat::parse_str(
        r#"(module (memory 1) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    );
    let prepared = prepare(&module.unwrap()).unwrap();
    let template = Template::new(&memory, &Linker::new(&engine), &prepared).unwrap();
    let mut store = limited(&engine, 100, false);
    let parent = template.instantiate(&mut store).unwrap();
    grow(&mut store, &parent, 9);
    // The first may leave tables that are used again.
    let refuse = |store: &mut Store<Limit>| parent.fork(store, &mut limited(&engine, 2, false)).unwrap_err();
    refuse(&mut store);
    let before = memory.stats().usage.total;
    for _ in 0..100 {
        refuse(&mut store);
    }
    assert_eq!(memory.stats().usage.total, before);
    memory.check().unwrap();
}

/// Goal: a reset that makes a memory shorter asks for its last page; refused, the instance is as it
/// was.
#[test]
fn a_refused_reset_changes_nothing() {
    let harness = harness();
    let mut store = limited(&harness.engine, 100, false);
    let instance = harness.snapshot.instantiate(&mut store).unwrap();
    assert_eq!(grow(&mut store, &instance, 3), 10);
    store.data_mut().bytes = 0;
    for hard in [false, true] {
        store.data_mut().hard = hard;
        let refused = instance.reset(&mut store, &harness.snapshot);
        assert!(matches!(refused, Err(Error::StoreLimit { bytes: 655_360, .. })));
        store.data_mut().hard = false;
        // What compiled code goes by is looked at first: growth by nothing would set it right.
        assert_eq!(instance.memory(&mut store).data_size(&store), 13 * PAGE);
        assert_eq!(instance.space().len(), 13 * PAGE as u64);
        assert_eq!(grow(&mut store, &instance, 0), 13);
    }
    store.data_mut().bytes = 10 * PAGE;
    store.data_mut().asked.clear();
    instance.reset(&mut store, &harness.snapshot).unwrap();
    assert_eq!(store.data().asked, [(9 * PAGE, 10 * PAGE, Some(20 * PAGE))]);
    assert_eq!(grow(&mut store, &instance, 1), -1);
    assert_eq!(grow(&mut store, &instance, 0), 10);
    // Nothing has grown: nobody is asked.
    store.data_mut().bytes = 0;
    instance.reset(&mut store, &harness.snapshot).unwrap();
}
