//! A function that a component exports, with what it is called and what it answers: [`Function`].
//!
//! Simple types only: those that people can write as one word, and results that are a success of
//! such a type or an error. Immutable values, checked once against the component.

use super::digest::mix;
use std::fmt::Write;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, ComponentExportIndex, Instance, Val};
use wasmtime::{Engine, Store};

/// What the exported instance of a WASI command is called, but for its version.
const COMMAND: &str = "wasi:cli/run@0.2.";
/// What the instances begin with that memfold has put there.
const OURS: &str = "memfold-x";

/// An exported function, in the component or in an instance that it exports.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    index: ComponentExportIndex,
    ty: ComponentFunc,
}

/// What a call answered.
pub(crate) enum Answer {
    Values(Vec<Val>),
    /// It says itself that it has failed.
    Error(String),
}

impl Function {
    /// Finds `function`, `instance#function`, or nothing of that name. `None` inside: it is no
    /// function.
    pub(crate) fn find(component: &Component, name: &str) -> Option<Option<Self>> {
        let (instance, function) = match name.rsplit_once('#') {
            Some((instance, function)) => (Some(component.get_export_index(None, instance)?), function),
            None => (None, name),
        };
        let (item, index) = component.get_export(instance.as_ref(), function)?;
        Some(match item {
            ComponentItem::ComponentFunc(ty) => Some(Function { index, ty }),
            _ => None,
        })
    }

    /// The name of the function that a WASI command runs by, if it is one.
    pub(crate) fn command(component: &Component, engine: &Engine) -> Option<String> {
        let ty = component.component_type();
        let mut names = ty.exports(engine).map(|(name, _)| name.to_owned());
        let instance = names.find(|name| name.starts_with(COMMAND))?;
        Some(format!("{instance}#run"))
    }

    /// The names of all that could be called.
    pub(crate) fn all(component: &Component, engine: &Engine) -> Vec<String> {
        let mut all = Vec::new();
        for (name, item) in component.component_type().exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => all.push(name.to_owned()),
                ComponentItem::ComponentInstance(instance) if !name.starts_with(OURS) => {
                    let functions = instance.exports(engine).filter_map(|(function, item)| {
                        matches!(item.ty, ComponentItem::ComponentFunc(_))
                            .then(|| format!("{name}#{function}"))
                    });
                    all.extend(functions);
                }
                _ => {}
            }
        }
        all
    }

    /// The types of its parameters.
    pub(crate) fn params(&self) -> Vec<Type> {
        self.ty.params().map(|(_, ty)| ty).collect()
    }

    /// Whether all that it answers can be told.
    pub(crate) fn answers_simply(&self) -> bool {
        self.ty.results().all(|ty| match ty {
            Type::Result(result) => result.ok().is_none_or(|ok| is_simple(&ok)),
            other => is_simple(&other),
        })
    }

    /// Its type, as people write it.
    pub(crate) fn described(&self) -> String {
        let names = |types: &mut dyn Iterator<Item = Type>| {
            let names: Vec<&str> = types.map(|ty| type_name(&ty)).collect();
            names.join(", ")
        };
        let params = names(&mut self.ty.params().map(|(_, ty)| ty));
        let results = names(&mut self.ty.results());
        format!("({params}) -> ({results})")
    }

    /// Calls it.
    pub(crate) fn call<T>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        params: &[Val],
    ) -> wasmtime::Result<Answer> {
        let gone = || wasmtime::Error::msg("the export is gone");
        let function = instance.get_func(&mut *store, self.index).ok_or_else(gone)?;
        let mut results = vec![Val::Bool(false); self.ty.results().len()];
        function.call(store, params, &mut results)?;
        let mut values = Vec::new();
        for result in results {
            match result {
                Val::Result(Err(error)) => {
                    return Ok(Answer::Error(
                        error.map_or_else(String::new, |error| written(&error)),
                    ));
                }
                Val::Result(Ok(value)) => values.extend(value.map(|value| *value)),
                value => values.push(value),
            }
        }
        Ok(Answer::Values(values))
    }
}

/// Whether a value of this type can be written as one word.
pub(crate) fn is_simple(ty: &Type) -> bool {
    !matches!(type_name(ty), OTHER)
}

/// What stands for a type that is not simple.
const OTHER: &str = "a compound type";

/// What people call a type.
pub(crate) fn type_name(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::Result(_) => "result",
        _ => OTHER,
    }
}

/// The value that a word means.
pub(crate) fn value(ty: &Type, word: &str) -> Option<Val> {
    Some(match ty {
        Type::Bool => Val::Bool(word.parse().ok()?),
        Type::S8 => Val::S8(word.parse().ok()?),
        Type::U8 => Val::U8(word.parse().ok()?),
        Type::S16 => Val::S16(word.parse().ok()?),
        Type::U16 => Val::U16(word.parse().ok()?),
        Type::S32 => Val::S32(word.parse().ok()?),
        Type::U32 => Val::U32(word.parse().ok()?),
        Type::S64 => Val::S64(word.parse().ok()?),
        Type::U64 => Val::U64(word.parse().ok()?),
        Type::Float32 => Val::Float32(word.parse().ok()?),
        Type::Float64 => Val::Float64(word.parse().ok()?),
        Type::Char => Val::Char(word.parse().ok()?),
        Type::String => Val::String(word.to_owned()),
        _ => return None,
    })
}

/// A number as a value of an integer type.
pub(crate) fn number(ty: &Type, number: u32) -> Option<Val> {
    match ty {
        Type::S32 => Some(Val::S32(number.cast_signed())),
        Type::U32 | Type::S64 | Type::U64 => value(ty, &number.to_string()),
        _ => None,
    }
}

/// As people read it.
fn written(value: &Val) -> String {
    match value {
        Val::Bool(value) => value.to_string(),
        Val::S8(value) => value.to_string(),
        Val::U8(value) => value.to_string(),
        Val::S16(value) => value.to_string(),
        Val::U16(value) => value.to_string(),
        Val::S32(value) => value.to_string(),
        Val::U32(value) => value.to_string(),
        Val::S64(value) => value.to_string(),
        Val::U64(value) => value.to_string(),
        Val::Float32(value) => value.to_string(),
        Val::Float64(value) => value.to_string(),
        Val::Char(value) => value.to_string(),
        Val::String(value) => value.clone(),
        other => format!("{other:?}"),
    }
}

/// A line for each.
pub(crate) fn lines(values: &[Val]) -> String {
    let mut lines = String::new();
    for value in values {
        writeln!(lines, "{}", written(value)).expect("text takes any more text");
    }
    lines
}

/// What a digest takes of a value: different ones for different values, of texts most likely.
pub(crate) fn bits(value: &Val) -> i64 {
    let text = written(value);
    let hash = text.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    //! Goal: functions are found by their names, words are read as types say. Method: a component
    //! as text.
    use super::*;

    #[test]
    fn functions_are_found_and_described() {
        let engine = Engine::default();
        let text = r#"(component
            (core module $m (func (export "f") (param i32 i64) (result i32) (i32.const 7)))
            (core instance $m (instantiate $m))
            (func $f (param "a" char) (param "b" u64) (result bool) (canon lift (core func $m "f")))
            (instance $i (export "run" (func $f))) (export "wasi:cli/run@0.2.6" (instance $i))
            (export "f" (func $f)))"#;
        let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let command = "wasi:cli/run@0.2.6#run";
        assert_eq!(Function::all(&component, &engine), [command, "f"]);
        assert_eq!(Function::command(&component, &engine).as_deref(), Some(command));
        for name in [command, "f"] {
            let function = Function::find(&component, name).unwrap().unwrap();
            assert_eq!(function.described(), "(char, u64) -> (bool)");
            assert!(function.answers_simply());
        }
        assert!(
            Function::find(&component, "wasi:cli/run@0.2.6")
                .unwrap()
                .is_none()
        );
        for name in ["g", "f#f", "wasi:cli/run@0.2.6#f"] {
            assert!(Function::find(&component, name).is_none(), "{name}");
        }
    }

    #[test]
    fn words_are_values() {
        for (ty, word, found) in [
            (Type::Bool, "true", Some("true\n")),
            (Type::Bool, "1", None),
            (Type::S8, "-128", Some("-128\n")),
            (Type::U8, "256", None),
            (Type::U64, "18446744073709551615", Some("18446744073709551615\n")),
            (Type::Float32, "0.5", Some("0.5\n")),
            (Type::Char, "ä", Some("ä\n")),
            (Type::Char, "ab", None),
            (Type::String, "two words", Some("two words\n")),
        ] {
            let value = value(&ty, word);
            assert_eq!(value.map(|value| lines(&[value])).as_deref(), found, "{word}");
        }
        assert_eq!(number(&Type::S64, 7), Some(Val::S64(7)));
        assert_eq!(number(&Type::String, 7), None);
        assert_ne!(bits(&Val::String("a".into())), bits(&Val::String("b".into())));
    }
}
