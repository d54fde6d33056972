//! A component before it is compiled, and the program that becomes of it: [`Draft`].
//!
//! As `program.rs` for modules. What is to be called is looked for when it is compiled, for only
//! then its types are known.

use super::entry::{Entry, Given};
use super::environment::{Environment, Host};
use super::function::Function;
use super::mapping::Files;
use super::program::{self, Entries, Program, Source};
use crate::args::{Making, RunOptions};
use crate::error::Error;
use crate::surroundings::Stub;
use memfold::Memory;
use memfold_wasmtime::{ComponentTemplate, PreparedComponent, prepare_component};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine};
use wasmtime_wasi::p2;

/// A component before it is compiled: bad input and a machine that cannot are found here.
pub(crate) struct Draft {
    engine: Engine,
    linker: Linker<Host>,
    name: String,
    environment: Environment,
    code: Code,
}

enum Code {
    Stock(Vec<u8>),
    Memfold {
        memory: Memory,
        prepared: Box<PreparedComponent>,
    },
}

impl Draft {
    pub(crate) fn new(options: &RunOptions, bytes: Vec<u8>, mut config: Config) -> Result<Self, Error> {
        if !options.surroundings.maps.is_empty() {
            return Err(Error::ForModules("--map"));
        }
        if options.surroundings.stub_imports == Some(Stub::Zero) {
            return Err(Error::ForModules("--stub-imports zero"));
        }
        let code = match options.making() {
            Making::Stock => Code::Stock(bytes),
            Making::Fork | Making::Independent => {
                let prepared = Box::new(prepare_component(&bytes)?);
                let memory = program::memory(options, prepared.memories().len(), &mut config)?;
                Code::Memfold { memory, prepared }
            }
        };
        let (name, environment) = program::surroundings(options)?;
        let engine = Engine::new(&config).map_err(Error::Module)?;
        let mut linker = Linker::new(&engine);
        p2::add_to_linker_sync(&mut linker).map_err(Error::Module)?;
        Ok(Draft {
            engine,
            linker,
            name,
            environment,
            code,
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Compiles and links it.
    pub(crate) fn compile(mut self, options: &RunOptions) -> Result<Program, Error> {
        let wasm = match &self.code {
            Code::Stock(bytes) => bytes.as_slice(),
            Code::Memfold { prepared, .. } => prepared.wasm(),
        };
        let component = Component::from_binary(&self.engine, wasm).map_err(Error::Module)?;
        let entries = self.entries(&component, options)?;
        if options.surroundings.stub_imports.is_some() {
            let stubs = self.linker.define_unknown_imports_as_traps(&component);
            stubs.map_err(Error::Module)?;
        }
        let linked = self.linker.instantiate_pre(&component).map_err(Error::Link)?;
        let source = match self.code {
            Code::Stock(_) => Source::StockComponent(linked),
            Code::Memfold { memory, prepared } => {
                let template =
                    ComponentTemplate::from_component(&memory, &self.linker, &prepared, &component)?;
                Source::Component { memory, template }
            }
        };
        Ok(Program {
            engine: self.engine,
            name: self.name,
            environment: self.environment,
            source,
            entries,
            files: Files::default(),
        })
    }

    fn entries(&self, component: &Component, options: &RunOptions) -> Result<Entries, Error> {
        let find =
            |name: &str, given, words| Entry::of_component((component, &self.engine), name, given, words);
        let warm = options.warm.as_deref();
        let warm = warm.map(|name| find(name, Given::Nothing, &[])).transpose()?;
        let call = match (&options.call, &options.invoke) {
            (Some(name), _) => Some(find(name, Given::Numbers, &[])?),
            (None, Some(name)) => Some(find(name, Given::Values, &options.surroundings.arguments)?),
            (None, None) => match Function::command(component, &self.engine) {
                Some(name) => Some(find(&name, Given::Command, &[])?),
                None => None,
            },
        };
        if warm.is_none() && call.is_none() {
            return Err(Error::NothingToRun(Function::all(component, &self.engine)));
        }
        Ok(Entries {
            initialize: None,
            warm,
            call,
        })
    }
}
