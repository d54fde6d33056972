//! Goal: no input makes `prepare` panic, and what it accepts stays a valid
//! module. Method: mutated bytes. The rules one by one are in `reasons.rs` and
//! `rewriting.rs`, which use the helpers here.

mod reasons;
mod rewriting;

use super::*;
use proptest::prelude::*;

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's module is well formed")
}

fn prepared(text: &str) -> Prepared {
    prepare(&module(text)).unwrap_or_else(|refused| panic!("{refused}"))
}

fn validate(prepared: &Prepared) {
    Validator::new_with_features(features())
        .validate_all(prepared.wasm())
        .expect("the rewritten module is valid");
}

/// Modules that use a bit of everything, as the start for mutations.
fn seeds() -> Vec<Vec<u8>> {
    [
        r#"(module (import "e" "f" (func $f (param i32))) (memory (export "m") 1 3) (table 2 funcref)
            (global (mut i32) (i32.const 7)) (global (mut v128) (v128.const i64x2 1 2))
            (elem (i32.const 0) $f) (data (i32.const 16) "hello") (data $p "passive")
            (func $s (memory.init $p (i32.const 0) (i32.const 0) (i32.const 2)) (call $f (i32.const 1))) (start $s))"#,
        r#"(module (memory 1) (type $s (struct (field (mut i32)))) (global (ref $s) (struct.new_default $s))
            (tag $t) (func (try_table (throw $t))) (data (i32.add (i32.const 1) (i32.const 2)) "x"))"#,
        r#"(module (memory 1) (memory i64 2 9) (memory 70 (pagesize 1)) (data (memory 2) (i32.const 60) "hello")
            (data (memory 1) (i64.const 60) "hello") (func (memory.copy 0 2 (i32.const 0) (i32.const 1) (i32.const 2))))"#,
        r#"(module (memory i64 1) (memory 1 1 shared) (table 1 externref)
            (func (table.set (i32.const 0) (ref.null extern)) (i32.atomic.store 1 (i32.const 0) (i32.const 1))))"#,
    ]
    .map(module)
    .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Goal: no input panics, and what is accepted stays valid. Method: replace,
    /// insert and remove bytes of modules that use a bit of everything.
    #[test]
    fn mutated_bytes_never_panic(
        seed in 0..4_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 0..6),
    ) {
        let mut wasm = seeds().swap_remove(seed);
        for (at, edit, byte) in edits {
            let at = at.index(wasm.len());
            match edit {
                0 => wasm[at] = byte,
                1 => wasm.insert(at, byte),
                _ if wasm.len() > 1 => { wasm.remove(at); }
                _ => {}
            }
        }
        match prepare(&wasm) {
            Ok(prepared) => {
                validate(&prepared);
                let end = |segment: &Segment| prepared.memories()[segment.memory as usize].minimum_bytes();
                let fits = |segment: &Segment| segment.offset + segment.bytes.len() as u64 <= end(segment);
                prop_assert!(prepared.segments().iter().all(fits));
            }
            Err(refused) => prop_assert!(!refused.reasons.is_empty() && !refused.to_string().is_empty()),
        }
    }

    /// Goal: the same for bytes that never were a module. Method: any bytes after the header.
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..64), header in any::<bool>()) {
        if header {
            bytes.splice(0..0, *b"\0asm\x01\0\0\0");
        }
        let _ = prepare(&bytes);
    }
}
