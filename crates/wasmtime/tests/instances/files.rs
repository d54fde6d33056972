//! Goal: WASI reads and writes files from pages that are not resident, whole
//! and right. Method: a program that copies a file through a buffer which is
//! evicted, or was never touched, before each step.

use crate::common::{Wasi, engine, memory, template};
use memfold_wasmtime::ForkInstance;
use std::fs;
use std::path::PathBuf;
use wasmtime::Store;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// Opens a file of the first preopened folder; reads or writes 100,000 bytes.
const FILES: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 64)
    (data (i32.const 16) "inout")
    (func $file (param $name i32) (param $len i32) (param $create i32) (param $rights i64) (result i32)
        (drop (call $open (i32.const 3) (i32.const 0) (local.get $name) (local.get $len) (local.get $create)
            (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 8)))
        (i32.load (i32.const 8)))
    (func $vector (param $at i32)
        (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (i32.const 100000)))
    (func (export "read") (param $at i32) (result i32) (local $file i32)
        (local.set $file (call $file (i32.const 16) (i32.const 2) (i32.const 0) (i64.const 2)))
        (call $vector (local.get $at))
        (drop (call $read (local.get $file) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.load (i32.const 8)))
    (func (export "write") (param $at i32) (result i32) (local $file i32)
        (local.set $file (call $file (i32.const 18) (i32.const 3) (i32.const 9) (i64.const 64)))
        (call $vector (local.get $at))
        (drop (call $write (local.get $file) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.load (i32.const 8))))"#;

const LEN: i32 = 100_000;

/// A folder of this test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("memfold-files-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn call(store: &mut Store<Wasi>, instance: &ForkInstance<Wasi>, name: &str, at: i32) -> i32 {
    let function = instance
        .instance()
        .get_typed_func::<i32, i32>(&mut *store, name)
        .unwrap();
    instance.call(store, &function, at).unwrap()
}

#[test]
fn files_are_copied_through_evicted_pages() {
    let folder = Folder::new();
    let content: Vec<u8> = (0..LEN).map(|i| (i * 7 + i / 251) as u8).collect();
    fs::write(folder.0.join("in"), &content).unwrap();

    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, &wat::parse_str(FILES).unwrap());
    let mut wasi = WasiCtxBuilder::new();
    wasi.preopened_dir(&folder.0, "/", FsPerms::ReadWrite).unwrap();
    let mut store = Store::new(&engine, wasi.build_p1());
    let instance = template.instantiate(&mut store).unwrap();

    // Into pages never touched, and into pages that were evicted; out of evicted pages.
    for round in 0..3 {
        let at = 1_000_001;
        assert_eq!(call(&mut store, &instance, "read", at), LEN, "round {round}");
        assert!(instance.space().evict().unwrap() > 0);
        assert_eq!(call(&mut store, &instance, "write", at), LEN, "round {round}");
        assert!(
            fs::read(folder.0.join("out")).unwrap() == content,
            "round {round}: other bytes"
        );
        assert!(instance.space().evict().unwrap() > 0);
    }
    // Pages never touched are zeros on disk, too.
    assert_eq!(call(&mut store, &instance, "write", 3_000_000), LEN);
    assert!(
        fs::read(folder.0.join("out"))
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
}
