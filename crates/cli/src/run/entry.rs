//! What of a module is called, and with what: [`Entry`]. Immutable values,
//! checked once against the module so that no call can be of a wrong type.

use crate::error::Exports;
use wasmtime::{FuncType, Module, Val, ValType};

/// An export that will be called.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    name: String,
    given: Given,
    params: usize,
    results: usize,
}

/// Why an export cannot be called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("the module has no export {name:?}{}", Exports(.functions))]
    Unknown { name: String, functions: Vec<String> },
    #[error("the export {name:?} is not a function{}", Exports(.functions))]
    NotAFunction { name: String, functions: Vec<String> },
    #[error(
        "the export {name:?} has the type {found}; it is called with {wanted}, \
         and its results must be i32 or i64"
    )]
    Type {
        name: String,
        found: String,
        wanted: &'static str,
    },
}

/// What a call may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// Nothing: it runs before there are clones.
    Nothing,
    /// The clone's number and the call's, as far as there are parameters.
    Numbers,
    /// Nothing: it is a WASI command, which may end itself with status 0.
    Command,
}

impl Entry {
    /// Finds the export and checks its type.
    pub(crate) fn find(module: &Module, name: &str, given: Given) -> Result<Self, EntryError> {
        let name = name.to_owned();
        let functions = || functions(module);
        let Some(export) = module.get_export(&name) else {
            return Err(EntryError::Unknown {
                name,
                functions: functions(),
            });
        };
        let Some(ty) = export.func() else {
            return Err(EntryError::NotAFunction {
                name,
                functions: functions(),
            });
        };
        let (most, wanted) = match given {
            Given::Nothing | Given::Command => (0, "no parameter"),
            Given::Numbers => (2, "no parameter, (i32 clone) or (i32 clone, i32 call)"),
        };
        let numbers = ty.params().all(|param| matches!(param, ValType::I32)) && ty.params().len() <= most;
        let integers = ty
            .results()
            .all(|result| matches!(result, ValType::I32 | ValType::I64));
        if !(numbers && integers) {
            let found = describe(ty);
            return Err(EntryError::Type { name, found, wanted });
        }
        Ok(Entry {
            name,
            given,
            params: ty.params().len(),
            results: ty.results().len(),
        })
    }

    /// The same if the module has such an export at all.
    pub(crate) fn find_if_there(module: &Module, name: &str) -> Result<Option<Self>, EntryError> {
        match module.get_export(name) {
            None => Ok(None),
            Some(_) => Entry::find(module, name, Given::Nothing).map(Some),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the program may end itself, with status 0, and have done its work.
    pub(crate) fn may_exit(&self) -> bool {
        self.given == Given::Command
    }

    /// What it is called with.
    pub(crate) fn params(&self, clone: u32, call: u32) -> Vec<Val> {
        let numbers = [clone, call].map(|number| Val::I32(number.cast_signed()));
        numbers.into_iter().take(self.params).collect()
    }

    /// Room for what it returns.
    pub(crate) fn results(&self) -> Vec<Val> {
        vec![Val::I32(0); self.results]
    }
}

/// The names of the functions that a module exports.
pub(crate) fn functions(module: &Module) -> Vec<String> {
    let functions = module.exports().filter(|export| export.ty().func().is_some());
    functions
        .map(|export| export.name().to_owned())
        .filter(|name| !name.starts_with("memfold:"))
        .collect()
}

fn describe(ty: &FuncType) -> String {
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        let names: Vec<String> = types.map(|ty| ty.to_string()).collect();
        names.join(", ")
    };
    format!("({}) -> ({})", list(&mut ty.params()), list(&mut ty.results()))
}
