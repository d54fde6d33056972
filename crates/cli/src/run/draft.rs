//! The program's file, read and told apart: [`Draft`] of a module or of a component.

use super::program::Program;
use super::{composed, module, program};
use crate::args::RunOptions;
use crate::error::Error;
use wasmparser::Parser;
use wasmtime::{Cache, CacheConfig, Config, Engine};

/// A program before it is compiled.
pub(crate) enum Draft {
    Module(Box<program::Draft>),
    Component(Box<composed::Draft>),
}

impl Draft {
    pub(crate) fn new(options: &RunOptions) -> Result<Self, Error> {
        let bytes = module::read(&options.module)?;
        let mut config = Config::new();
        config.epoch_interruption(true);
        // The one proposal beyond WebAssembly 3.0 that can be forked.
        config.wasm_custom_page_sizes(true);
        if !options.no_cache {
            // A cache that cannot be had is one that has nothing.
            config.cache(Cache::new(CacheConfig::new()).ok());
        }
        Ok(if Parser::is_component(&bytes) {
            Draft::Component(Box::new(composed::Draft::new(options, bytes, config)?))
        } else {
            Draft::Module(Box::new(program::Draft::new(options, bytes, config)?))
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Draft::Module(draft) => draft.engine(),
            Draft::Component(draft) => draft.engine(),
        }
    }

    /// Compiles and links it.
    pub(crate) fn compile(self, options: &RunOptions) -> Result<Program, Error> {
        match self {
            Draft::Module(draft) => draft.compile(options),
            Draft::Component(draft) => draft.compile(options),
        }
    }
}
