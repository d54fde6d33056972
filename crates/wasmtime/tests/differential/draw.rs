//! Numbers that are drawn: the same ones for the same seed.

use wasmtime::{FuncType, Val, ValType, component};

/// SplitMix64.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Draw(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).expect("it is below")
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number() as u8).collect()
    }

    /// As programs have them: small ones, addresses, and any.
    fn usual(&mut self) -> u64 {
        match self.below(4) {
            0 => self.number() % 4,
            1 => self.number() % 256 * 8,
            2 => self.number() % (1 << 17),
            _ => self.number(),
        }
    }

    /// What a function of this type is called with; nothing for one that wants what cannot be
    /// drawn.
    pub fn values(&mut self, ty: &FuncType) -> Option<Vec<Val>> {
        ty.params().map(|param| self.value(&param)).collect()
    }

    fn value(&mut self, ty: &ValType) -> Option<Val> {
        let number = self.usual();
        Some(match ty {
            ValType::I32 => Val::I32(number as u32 as i32),
            ValType::I64 => Val::I64(number.cast_signed()),
            ValType::F32 => Val::F32((number as f32).to_bits()),
            ValType::F64 => Val::F64((number as f64).to_bits()),
            ValType::V128 => Val::V128(u128::from(number).into()),
            ValType::Ref(ty) if ty.is_nullable() => Val::null_ref(ty.heap_type()),
            ValType::Ref(_) => return None,
        })
    }

    /// A number for a function of a component; other types are none of these.
    pub fn component_value(&mut self, ty: &ValType) -> component::Val {
        let number = self.usual();
        match ty {
            ValType::I32 => component::Val::S32(number as u32 as i32),
            ValType::F32 => component::Val::Float32(number as f32),
            ValType::F64 => component::Val::Float64(number as f64),
            _ => component::Val::S64(number.cast_signed()),
        }
    }
}
