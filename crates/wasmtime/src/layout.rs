//! Where the state of a template's instances is to be found, besides their memories: [`Layout`].
//!
//! Immutable; made once for a template. `state.rs` reads and writes by it.

use crate::error::Error;
use memfold_prepare::{Contents, Prepared};
use std::ops::Range;
use wasmtime::{Module, ModuleExport};

pub(crate) struct Layout {
    /// The mutable globals, flags among them.
    pub(crate) globals: Box<[Global]>,
    pub(crate) tables: Box<[Table]>,
    /// By the indices of functions, sorted.
    functions: Box<[(u32, ModuleExport)]>,
    /// The function that drops segments, and the places of the flags that say which.
    pub(crate) drops: Option<(ModuleExport, Range<usize>)>,
}

/// A mutable global.
pub(crate) struct Global {
    pub(crate) index: u32,
    pub(crate) name: Option<String>,
    pub(crate) export: ModuleExport,
}

/// A table that the program may change.
pub(crate) struct Table {
    pub(crate) index: u32,
    pub(crate) name: Option<String>,
    pub(crate) export: ModuleExport,
    /// The place of its flag among the globals.
    pub(crate) flag: usize,
    /// What it holds as long as the flag is not set.
    pub(crate) contents: Contents,
}

impl Layout {
    /// Finds all in the compiled module.
    pub(crate) fn new(module: &Module, prepared: &Prepared) -> Result<Self, Error> {
        let export = |name: &str| find(module, name);
        let table = |plan: &memfold_prepare::TablePlan| {
            Ok(Table {
                index: plan.index,
                name: plan.name.clone(),
                export: export(&plan.export)?,
                flag: plan.flag,
                contents: plan.contents.clone(),
            })
        };
        let drops = prepared
            .drops()
            .map(|plan| Ok::<_, Error>((export(&plan.export)?, plan.flags.clone())));
        let functions = prepared.functions().iter();
        Ok(Layout {
            globals: prepared
                .globals()
                .iter()
                .map(|plan| {
                    Ok(Global {
                        index: plan.index,
                        name: plan.name.clone(),
                        export: export(&plan.export)?,
                    })
                })
                .collect::<Result<_, Error>>()?,
            tables: prepared
                .tables()
                .iter()
                .map(table)
                .collect::<Result<_, Error>>()?,
            functions: functions
                .map(|function| Ok((function.index, export(&function.export)?)))
                .collect::<Result<_, Error>>()?,
            drops: drops.transpose()?,
        })
    }

    /// The functions that a reference can be to.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &(u32, ModuleExport)> {
        self.functions.iter()
    }

    /// The function of this index, if a reference can be to it.
    pub(crate) fn function(&self, index: u32) -> Option<&ModuleExport> {
        let place = self.functions.binary_search_by_key(&index, |(index, _)| *index);
        place.ok().map(|place| &self.functions[place].1)
    }
}

/// An export of a prepared module, or the sign that the module is another one.
pub(crate) fn find(module: &Module, name: &str) -> Result<ModuleExport, Error> {
    let missing = || Error::WrongModule {
        export: name.to_owned(),
    };
    module.get_export_index(name).ok_or_else(missing)
}
