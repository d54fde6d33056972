//! What of a module is called, and with what: [`Entry`]. Immutable values,
//! checked once against the module, before it is compiled, so that no call can be of a wrong type.

use super::function::{self, Function};
use super::outline::Outline;
use super::values::{self, ValuesError};
use std::fmt;
use wasmparser::{FuncType, ValType};
use wasmtime::component::Component;
use wasmtime::{Engine, Val, component};

/// An export that will be called.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    name: String,
    given: Given,
    callee: Callee,
}

/// What is called: modules and components have functions and values of their own.
#[derive(Clone, Debug)]
enum Callee {
    Module {
        params: usize,
        results: usize,
        /// What people gave, for [`Given::Values`].
        values: Vec<Val>,
    },
    Component {
        function: Function,
        /// As above.
        values: Vec<component::Val>,
    },
}

/// The functions that could have been meant.
pub(crate) struct Exports<'a>(pub(crate) &'a [String]);

impl fmt::Display for Exports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("; it exports no function"),
            names => write!(f, "; it exports the functions {}", names.join(", ")),
        }
    }
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
    #[error("the export {name:?} {reason}")]
    Given { name: String, reason: ValuesError },
    #[error("the export {name:?} has the type {found}, and values are i32, i64, f32 or f64")]
    Values { name: String, found: String },
    #[error(
        "the export {name:?} has the type {found}; it is called with {wanted}, and answers with numbers, texts, truths or \
         letters, or with a result of one"
    )]
    Function {
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
    /// What people gave.
    Values,
}

/// One call of an entry.
pub(crate) enum Call<'a> {
    Module {
        name: &'a str,
        params: Vec<Val>,
        /// Room for what it returns.
        results: Vec<Val>,
    },
    Component {
        function: &'a Function,
        params: Vec<component::Val>,
    },
}

impl Entry {
    /// Finds the export and checks its type.
    pub(crate) fn find(module: &Outline, name: &str, given: Given) -> Result<Self, EntryError> {
        let name = name.to_owned();
        let functions = || module.functions();
        let Some(export) = module.export(&name) else {
            return Err(EntryError::Unknown {
                name,
                functions: functions(),
            });
        };
        let Some(ty) = export else {
            return Err(EntryError::NotAFunction {
                name,
                functions: functions(),
            });
        };
        let (most, wanted) = match given {
            Given::Nothing | Given::Command | Given::Values => (0, "no parameter"),
            Given::Numbers => (
                2,
                "no parameter, (i32 clone) or (i32 clone, i32 call) (--invoke gives it values)",
            ),
        };
        let numbers = ty.params().iter().all(|&param| param == ValType::I32) && ty.params().len() <= most;
        let integers = ty
            .results()
            .iter()
            .all(|&result| matches!(result, ValType::I32 | ValType::I64));
        if !(numbers && integers) {
            let found = describe(ty);
            return Err(EntryError::Type { name, found, wanted });
        }
        Ok(Entry {
            name,
            given,
            callee: Callee::of_module(ty, Vec::new()),
        })
    }

    /// Finds the export that is called with the values that these words mean.
    pub(crate) fn find_for(module: &Outline, name: &str, words: &[String]) -> Result<Self, EntryError> {
        let Some(Some(ty)) = module.export(name) else {
            return Entry::find(module, name, Given::Values);
        };
        let name = name.to_owned();
        if !ty.params().iter().chain(ty.results()).all(values::is_number) {
            let found = describe(ty);
            return Err(EntryError::Values { name, found });
        }
        let values = match values::parse(ty, words) {
            Ok(values) => values,
            Err(reason) => return Err(EntryError::Given { name, reason }),
        };
        Ok(Entry {
            given: Given::Values,
            callee: Callee::of_module(ty, values),
            name,
        })
    }

    /// Finds the export of a component; `words` are what it is called with, for [`Given::Values`].
    pub(crate) fn of_component(
        (component, engine): (&Component, &Engine),
        name: &str,
        given: Given,
        words: &[String],
    ) -> Result<Self, EntryError> {
        let name = name.to_owned();
        let functions = || Function::all(component, engine);
        let Some(found) = Function::find(component, &name) else {
            return Err(EntryError::Unknown {
                name,
                functions: functions(),
            });
        };
        let Some(function) = found else {
            return Err(EntryError::NotAFunction {
                name,
                functions: functions(),
            });
        };
        let params = function.params();
        let is_number = |ty| function::number(ty, 0).is_some();
        let (fits, wanted) = match given {
            Given::Nothing | Given::Command => (params.is_empty(), "no parameter"),
            Given::Numbers => (
                params.len() <= 2 && params.iter().all(is_number),
                "no parameter, (u32 clone) or (u32 clone, u32 call) (--invoke gives it values)",
            ),
            Given::Values => (params.iter().all(function::is_simple), "values of simple types"),
        };
        if !fits || !function.answers_simply() {
            let found = function.described();
            return Err(EntryError::Function { name, found, wanted });
        }
        let values = match given {
            Given::Values => values::parse_all(&params, words),
            _ => Ok(Vec::new()),
        };
        let values = match values {
            Ok(values) => values,
            Err(reason) => return Err(EntryError::Given { name, reason }),
        };
        Ok(Entry {
            name,
            given,
            callee: Callee::Component { function, values },
        })
    }

    /// What it is, and what it is called with.
    pub(crate) fn call(&self, clone: u32, call: u32) -> Call<'_> {
        let given = self.given == Given::Values;
        match &self.callee {
            Callee::Module {
                params,
                results,
                values,
            } => {
                let numbers = [clone, call].map(|number| Val::I32(number.cast_signed()));
                Call::Module {
                    name: &self.name,
                    params: match given {
                        true => values.clone(),
                        false => numbers.into_iter().take(*params).collect(),
                    },
                    results: vec![Val::I32(0); *results],
                }
            }
            Callee::Component { function, values } => {
                let params = function.params();
                let numbers = params.iter().zip([clone, call]);
                let numbers = numbers.filter_map(|(ty, number)| function::number(ty, number));
                Call::Component {
                    function,
                    params: if given { values.clone() } else { numbers.collect() },
                }
            }
        }
    }

    /// The same if the module has such an export at all.
    pub(crate) fn find_if_there(module: &Outline, name: &str) -> Result<Option<Self>, EntryError> {
        match module.export(name) {
            None => Ok(None),
            Some(_) => Entry::find(module, name, Given::Nothing).map(Some),
        }
    }

    /// Whether the program may end itself, with status 0, and have done its work.
    pub(crate) fn may_exit(&self) -> bool {
        self.given == Given::Command
    }

    /// Whether people want to see what it returns.
    pub(crate) fn is_told(&self) -> bool {
        self.given == Given::Values
    }
}

impl Callee {
    fn of_module(ty: &FuncType, values: Vec<Val>) -> Self {
        Callee::Module {
            params: ty.params().len(),
            results: ty.results().len(),
            values,
        }
    }
}

fn describe(ty: &FuncType) -> String {
    let list = |types: &[ValType]| {
        let names: Vec<String> = types.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    format!("({}) -> ({})", list(ty.params()), list(ty.results()))
}
