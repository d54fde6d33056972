//! What instantiation of a core module would have done, as a function: [`starter`].
//!
//! Called by `core.rs`. Pure.

use crate::sections::{number, sized};
use wasm_encoder::Encode;
use wasmparser::{Data, DataKind};

/// An active data segment.
pub(super) struct Active<'a> {
    memory: u32,
    /// The instructions of its address, without their end.
    address: &'a [u8],
    pub(super) bytes: &'a [u8],
}

impl<'a> Active<'a> {
    /// `None` for a passive one.
    pub(super) fn of(data: &Data<'a>) -> Option<Self> {
        let DataKind::Active {
            memory_index,
            offset_expr,
        } = &data.kind
        else {
            return None;
        };
        let mut reader = offset_expr.get_binary_reader();
        let all = reader.read_bytes(reader.bytes_remaining()).unwrap_or_default();
        Some(Active {
            memory: *memory_index,
            address: all.strip_suffix(&[END]).unwrap_or(all),
            bytes: data.data,
        })
    }
}

/// A function without parameters that writes the data, which stands in passive segments from
/// `first` on, and calls the start function.
pub(super) fn starter(active: &[Active<'_>], first: u32, start: Option<u32>) -> Vec<u8> {
    // No locals.
    let mut body = vec![0];
    for (active, segment) in active.iter().zip(first..) {
        body.extend_from_slice(active.address);
        // i32.const 0, i32.const its length, memory.init
        body.extend([0x41, 0, 0x41]);
        let length = u32::try_from(active.bytes.len()).unwrap_or(u32::MAX);
        length.cast_signed().encode(&mut body);
        body.extend([0xfc, 8]);
        body.extend(number(segment));
        body.extend(number(active.memory));
    }
    if let Some(start) = start {
        body.push(0x10);
        body.extend(number(start));
    }
    body.push(END);
    sized(&body)
}

/// The instruction that ends an expression.
const END: u8 = 0x0b;
