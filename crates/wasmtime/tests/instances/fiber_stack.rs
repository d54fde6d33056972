//! Goal: a fault has room on the stack of a fiber, and less is refused. Method: a program that runs
//! to the end of its stack on the smallest fibers that are allowed, in a budget that each of its
//! frames has a page moved out of; what of the stack is resident afterwards, by the kernel.

use crate::fibers::{engine, on_a_thread};
use memfold::Memory;
use memfold_wasmtime::{Error, Template, prepare};
use std::sync::Mutex;
use wasmtime::{Caller, Linker, Store, Trap};

const DEEP: &str = r#"(module
    (import "host" "here" (func $here))
    (memory 128)
    (func $deep (export "deep") (param $page i32)
        (memory.fill (i32.shl (local.get $page) (i32.const 12)) (i32.const 7) (i32.const 1))
        (call $deep (i32.rem_u (i32.add (local.get $page) (i32.const 1)) (i32.const 2048))))
    (func (export "run") (call $here) (call $deep (i32.const 0))))"#;

/// Resident bytes of the mapping that an address lies in, and all of it.
fn resident(address: usize) -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in maps.lines() {
        if let Some((range, _)) = line.split_once(' ')
            && let Some((start, end)) = range.split_once('-')
            && let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            inside = (start..end).contains(&address);
        } else if inside && let Some(kib) = line.strip_prefix("Rss:") {
            return kib
                .trim()
                .trim_end_matches(" kB")
                .parse()
                .ok()
                .map(|kib: usize| kib << 10);
        }
    }
    None
}

/// Faults, reclaim in the faulting thread among them, at every depth of a fiber whose stack is as
/// small as is allowed: the program runs to the end of what it may use, and has a page moved out
/// and another one brought in by each of its frames, from Wasmtime's own code.
#[test]
fn faults_have_room_on_a_fiber() {
    const WASM: usize = 256 << 10;
    const ROOM: usize = 64 << 10;
    let memory = Memory::builder()
        .budget_bytes(4 << 20)
        .background(false)
        .build()
        .unwrap();
    let prepared = prepare(&wat::parse_str(DEEP).unwrap()).unwrap();
    let make = |stack: usize| {
        let engine = engine(&memory, |config| {
            config.max_wasm_stack(WASM).async_stack_size(stack);
        });
        let mut linker = Linker::<Mutex<usize>>::new(&engine);
        let added = linker.func_wrap_async("host", "here", |caller: Caller<'_, Mutex<usize>>, (): ()| {
            let local = 0_u8;
            *caller.data().lock().unwrap() = (&raw const local).addr();
            Box::new(async {})
        });
        added.unwrap();
        (Template::new(&memory, &linker, &prepared).unwrap(), engine)
    };
    let (template, engine) = make(WASM + ROOM - 4096);
    let refused = on_a_thread(template.instantiate_async(&mut Store::new(&engine, Mutex::new(0))));
    assert!(matches!(refused, Err(Error::FiberStack { .. })), "{refused:?}");

    let (template, engine) = make(WASM + ROOM);
    on_a_thread(async {
        let mut store = Store::new(&engine, Mutex::new(0));
        let instance = template.instantiate_async(&mut store).await.unwrap();
        let run = instance
            .instance()
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        let reclaims = memory.stats().counts.direct_reclaims;
        for _ in 0..4 {
            let ended = instance.call_async(&mut store, &run, ()).await;
            let Err(Error::Program(error)) = ended else {
                panic!("{ended:?}")
            };
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        }
        assert!(memory.stats().counts.direct_reclaims > reclaims);
        let used = resident(*store.data().lock().unwrap()).expect("a stack is mapped");
        println!(
            "beside {WASM} bytes of the program's: {} bytes of the fiber's stack",
            used - WASM
        );
        assert!(used > WASM);
    });
}
