//! Files in the memories of clones (`--map`): their bytes arrive, once for all, inside the budget;
//! stores go where they are to go; what cannot be is refused in a sentence.

mod common;

use common::{file, memfold, module, run};
use serde_json::Value;
use std::fs;

/// Where the file stands: behind the memory that the module begins with.
const AT: &str = "64KiB";

/// `sum` adds a few words of the file, others in each call; `store` stores to a page of the
/// clone's own and reads it and its neighbour's; `count` counts in the first word; `input` has the
/// host store to the file.
const PROGRAM: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "sum") (param $clone i32) (param $call i32) (result i64) (local $n i32) (local $sum i64) (local $at i32)
    (loop $l
      (local.set $at (i32.rem_u
        (i32.add (i32.mul (local.get $clone) (i32.const 7919))
          (i32.add (i32.mul (local.get $call) (i32.const 104729)) (i32.mul (local.get $n) (i32.const 1299709))))
        (i32.sub (memory.size) (i32.const 1))))
      (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
        (i64.load offset=65536 (i32.add (i32.shl (local.get $at) (i32.const 16)) (i32.const 4088)))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $n) (i32.const 8))))
    (local.get $sum))
  (func (export "store") (param $clone i32) (result i64)
    (i64.store offset=65536 (i32.shl (local.get $clone) (i32.const 12)) (i64.const -1))
    (i64.add (i64.load offset=65536 (i32.shl (local.get $clone) (i32.const 12)))
      (i64.load offset=65536 (i32.shl (i32.xor (local.get $clone) (i32.const 1)) (i32.const 12)))))
  (func (export "count") (result i32)
    (i32.store offset=65536 (i32.const 0) (i32.add (i32.load offset=65536 (i32.const 0)) (i32.const 1)))
    (i32.load offset=65536 (i32.const 0)))
  (func (export "input") (result i32)
    (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 50))
    (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))))"#;

/// A file of pages of noise, which no store can make small.
fn noise(pages: usize) -> String {
    let mut state = 88_172_645_463_325_253_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    file(&words.take(pages * 512).flatten().collect::<Vec<_>>())
}

fn zeros(pages: usize) -> String {
    file(&vec![0; pages * 4096])
}

fn number(report: &Value, field: &str) -> u64 {
    report[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field}: {report}"))
}

/// Goal: each clone finds the file's bytes, however it was made; they are read once for all, also
/// when the file is larger than the budget and does not compress.
#[test]
fn files_are_read_once() {
    let (program, data) = (module(PROGRAM), noise(16 * 100));
    let words = format!("--map {data}@{AT} --call sum --calls 5 --clones 12 --json");
    let stock = run(&program, &format!("{words} --stock")).fine();
    for how in [
        "",
        "--independent",
        "--evict-every",
        "--budget 4MiB",
        "--threads 2",
        "--delivery thread",
    ] {
        let report = run(&program, &format!("{words} {how}")).fine();
        assert_eq!(report["digest"], stock["digest"], "{how}");
        assert_eq!(
            (&report["areas"][0]["file"], &report["areas"][0]["stores"]),
            (&data.as_str().into(), &"ro".into())
        );
        if how.is_empty() {
            let pages = number(&report, "file_bytes") / 4096;
            assert_eq!(number(&report, "file_reads"), pages);
            assert!((90..=1600).contains(&pages), "{pages} pages");
        }
        if let Some(budget) = report["budget_bytes"].as_u64() {
            assert!(number(&report, "peak_bytes") <= budget);
        }
    }
    run(&program, &format!("--map {data}@{AT} --call sum")).shows(&[
        "of files",
        "clean",
        &format!("0x10000..0x650000 {data} (ro)"),
    ]);
}

/// Goal: a store traps, stays with its clone, or is everybody's and the file's, as is asked for.
#[test]
fn stores_go_where_they_are_to_go() {
    let (program, data) = (module(PROGRAM), zeros(16));
    let refused = run(
        &program,
        &format!("--map {data}@{AT} --call store --clones 4 --json"),
    );
    assert_eq!((refused.status, number(&refused.report(), "failed")), (1, 4));
    assert_eq!(refused.report()["failures"][0]["kind"], "trap");

    let words = format!("--map {data}@{AT}:private --call store --clones 4 --json");
    let report = run(&program, &words).fine();
    assert_eq!(
        report["digest"],
        run(&program, &format!("{words} --stock")).fine()["digest"]
    );
    assert_eq!(number(&report, "file_dirty_bytes"), 0);
    assert_eq!(fs::read(&data).unwrap(), vec![0; 16 * 4096]);

    let report = run(
        &program,
        &format!("--map {data}@{AT}:shared --call count --clones 5 --calls 7 --json"),
    )
    .fine();
    assert_eq!(report["areas"][0]["stores"], "shared");
    assert_eq!(fs::read(&data).unwrap()[..4], 35_u32.to_le_bytes());
}

/// Goal: a host function that stores to what may not be stored to ends its clone, not the process,
/// and the file is as it was.
#[test]
fn hosts_do_not_store_either() {
    let (program, data, input) = (module(PROGRAM), zeros(1), file(b"input"));
    let words = format!("--map {data}@{AT} --call input --clones 3 --stdin {input} --json");
    let done = run(&program, &words);
    assert_eq!(
        (done.status, number(&done.report(), "failed")),
        (1, 3),
        "{}",
        done.stderr
    );
    assert_eq!(done.report()["failures"][0]["kind"], "memory", "{}", done.stdout);
    assert_eq!(fs::read(&data).unwrap(), vec![0; 4096]);
}

/// Goal: what cannot be mapped is refused before anything runs.
#[test]
fn refusals_say_why() {
    let (program, data) = (module(PROGRAM), zeros(16));
    let refuses = |maps: &str, words: &[&str]| run(&program, &format!("--call sum {maps}")).refused(2, words);
    refuses("--map /no/such@64KiB", &["cannot map /no/such", "No such file"]);
    refuses(&format!("--map {data}@4KiB"), &["in use up to 65536 (0x10000)"]);
    refuses(
        &format!("--map {data}@64KiB --map {data}@96KiB"),
        &["in use up to 131072"],
    );
    refuses(&format!("--map {data}@100"), &["no multiple of a page"]);
    refuses(&format!("--map {}@64KiB", file(b"")), &["it is empty"]);
    refuses(
        &format!("--map {data}@64KiB:shared --threads 2"),
        &["--threads 1"],
    );
    refuses("--map /dev@64KiB", &["cannot map /dev"]);
    let no_memory = module(r#"(module (func (export "f")))"#);
    run(&no_memory, &format!("--map {data}@64KiB --call f")).refused(2, &["no memory"]);
    let narrow = module(r#"(module (memory (export "memory") 1 2) (func (export "f")))"#);
    let words = format!("--map {}@64KiB --call f", zeros(64));
    run(&narrow, &words).refused(1, &["cannot grow"]);
    let stock = memfold(&format!("run {narrow} {words} --stock"))
        .output()
        .unwrap();
    assert_eq!(stock.status.code(), Some(1));
}
