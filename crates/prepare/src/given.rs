//! What an embedder gives for imports that become an instance's own: [`Given`].
//!
//! Plain values; read by `scan.rs`.

use wasm_encoder::{ConstExpr, Encode};
use wasmparser::ValType;

/// The values of imported globals. Each instance begins with them, and those that are mutable are
/// its own from then on.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use memfold_prepare::{Given, Number, prepare_with};
///
/// let module = wat::parse_str(r#"(module (import "env" "sp" (global (mut i32))) (memory 1))"#)?;
/// let given = Given::new().global("env", "sp", Number::I32(65_536));
/// assert!(prepare_with(&module, &given).is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    globals: Vec<(String, String, Number)>,
    rest: Rest,
}

/// What becomes of globals that no value is given for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rest {
    #[default]
    Missing,
    Zero,
}

/// The value of a global.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Of the type i32.
    I32(i32),
    /// Of the type i64.
    I64(i64),
    /// Of the type f32.
    F32(f32),
    /// Of the type f64.
    F64(f64),
}

impl Given {
    /// Nothing: what [`prepare`](crate::prepare) gives.
    #[must_use]
    pub fn new() -> Self {
        Given::default()
    }

    /// The value of the global that is imported under these names; the last one counts.
    #[must_use]
    pub fn global(mut self, module: &str, name: &str, value: Number) -> Self {
        self.globals.push((module.to_owned(), name.to_owned(), value));
        self
    }

    /// Zero for every global that is imported and given no other value: to try a module.
    #[must_use]
    pub fn zeros(mut self) -> Self {
        self.rest = Rest::Zero;
        self
    }

    /// The value for a global of this type.
    pub(crate) fn value(&self, module: &str, name: &str, ty: ValType) -> Option<Number> {
        let found = self.globals.iter().rev();
        let mut found = found.filter(|(of, as_name, _)| of == module && as_name == name);
        match found.next() {
            Some((_, _, value)) => (value.ty() == ty).then_some(*value),
            None if self.rest == Rest::Zero => Number::zero(ty),
            None => None,
        }
    }
}

impl Number {
    fn ty(self) -> ValType {
        match self {
            Number::I32(_) => ValType::I32,
            Number::I64(_) => ValType::I64,
            Number::F32(_) => ValType::F32,
            Number::F64(_) => ValType::F64,
        }
    }

    fn zero(ty: ValType) -> Option<Self> {
        Some(match ty {
            ValType::I32 => Number::I32(0),
            ValType::I64 => Number::I64(0),
            ValType::F32 => Number::F32(0.0),
            ValType::F64 => Number::F64(0.0),
            ValType::V128 | ValType::Ref(_) => return None,
        })
    }

    /// As an address.
    pub(crate) fn address(self) -> Option<u64> {
        match self {
            Number::I32(value) => Some(u64::from(value.cast_unsigned())),
            Number::I64(value) => Some(value.cast_unsigned()),
            Number::F32(_) | Number::F64(_) => None,
        }
    }

    /// The expression that initializes a global with it.
    pub(crate) fn expression(self) -> Vec<u8> {
        let expression = match self {
            Number::I32(value) => ConstExpr::i32_const(value),
            Number::I64(value) => ConstExpr::i64_const(value),
            Number::F32(value) => ConstExpr::f32_const(value.into()),
            Number::F64(value) => ConstExpr::f64_const(value.into()),
        };
        let mut bytes = Vec::new();
        expression.encode(&mut bytes);
        bytes
    }
}
