//! The program: read, made forkable, compiled, linked; and the stores that its instances live in.
//!
//! Immutable once loaded, shared by all threads.

use super::entry::{self, Entry, Given};
use super::interrupt::DEADLINE;
use super::{module, room};
use crate::args::{Making, RunOptions, Voice};
use crate::error::Error;
use memfold::{Memory, Merging};
use memfold_wasmtime::{Prepared, Template};
use std::path::Path;
use wasmtime::{Config, Engine, InstancePre, Linker, Module, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{WasiCtxBuilder, cli};

/// Spaces beside those of the clones: the pristine one, the parent, the snapshot, one to measure forks.
const MORE_SPACES: u32 = 8;

/// What the store of an instance holds besides it.
pub(crate) struct Host {
    wasi: WasiP1Ctx,
}

/// Where instances come from.
pub(crate) enum Source {
    /// memfold's memory.
    Memfold {
        memory: Memory,
        template: Template<Host>,
    },
    /// Wasmtime's own.
    Stock(InstancePre<Host>),
}

/// What of the program is called.
pub(crate) struct Entries {
    /// Of WASI reactors: before everything else.
    pub(crate) initialize: Option<Entry>,
    pub(crate) warm: Option<Entry>,
    /// On every clone; nothing if clones are only made.
    pub(crate) call: Option<Entry>,
}

/// A program that is ready to run.
pub(crate) struct Program {
    engine: Engine,
    name: String,
    voice: Voice,
    pub(crate) source: Source,
    pub(crate) entries: Entries,
}

/// A program before it is compiled: bad input and a machine that cannot are found here.
pub(crate) struct Draft {
    engine: Engine,
    linker: Linker<Host>,
    /// The module's bytes, or what was made of them.
    code: Code,
}

enum Code {
    Stock(Vec<u8>),
    Memfold { memory: Memory, prepared: Prepared },
}

impl Draft {
    pub(crate) fn new(options: &RunOptions) -> Result<Self, Error> {
        let bytes = module::read(&options.module)?;
        let mut config = Config::new();
        config.epoch_interruption(true);
        let code = match options.making() {
            Making::Stock => Code::Stock(bytes),
            Making::Fork | Making::Independent => {
                let prepared = memfold_wasmtime::prepare(&bytes)?;
                room::check(options.clones.get())?;
                let memory = memory(options)?;
                memfold_wasmtime::configure(&mut config, &memory);
                Code::Memfold { memory, prepared }
            }
        };
        let engine = Engine::new(&config).map_err(Error::Module)?;
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |host: &mut Host| &mut host.wasi).map_err(Error::Module)?;
        Ok(Draft { engine, linker, code })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Compiles and links it.
    pub(crate) fn compile(self, options: &RunOptions) -> Result<Program, Error> {
        let wasm = match &self.code {
            Code::Stock(bytes) => bytes.as_slice(),
            Code::Memfold { prepared, .. } => prepared.wasm(),
        };
        let module = Module::from_binary(&self.engine, wasm).map_err(Error::Module)?;
        let entries = Entries::find(&module, options)?;
        let name = program_name(&options.module);
        self.check_imports(&module, &name)?;
        let source = match self.code {
            Code::Stock(_) => Source::Stock(self.linker.instantiate_pre(&module).map_err(Error::Module)?),
            Code::Memfold { memory, prepared } => {
                let template = Template::from_module(&memory, &self.linker, &prepared, &module)?;
                Source::Memfold { memory, template }
            }
        };
        Ok(Program {
            engine: self.engine,
            name,
            voice: options.voice(),
            source,
            entries,
        })
    }

    /// All imports that are missing, not only the first.
    fn check_imports(&self, module: &Module, name: &str) -> Result<(), Error> {
        let mut store = new_store(&self.engine, name, Voice::Silent);
        let missing = module
            .imports()
            .filter(|import| self.linker.get_by_import(&mut store, import).is_none());
        let missing: Vec<String> = missing
            .map(|import| format!("{:?} {:?}", import.module(), import.name()))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Error::Imports(missing))
        }
    }
}

impl Program {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The memory that holds the clones, if it is memfold's.
    pub(crate) fn memory(&self) -> Option<&Memory> {
        match &self.source {
            Source::Memfold { memory, .. } => Some(memory),
            Source::Stock(_) => None,
        }
    }

    /// An empty store for one instance.
    pub(crate) fn store(&self) -> Store<Host> {
        new_store(&self.engine, &self.name, self.voice)
    }
}

impl Entries {
    fn find(module: &Module, options: &RunOptions) -> Result<Self, Error> {
        let find = |name: &str, given| Entry::find(module, name, given);
        let warm = options
            .warm
            .as_deref()
            .map(|name| find(name, Given::Nothing))
            .transpose()?;
        let call = match &options.call {
            Some(name) => Some(find(name, Given::Numbers)?),
            None if module.get_export("_start").is_some() => Some(find("_start", Given::Command)?),
            None => None,
        };
        if warm.is_none() && call.is_none() {
            return Err(Error::NothingToRun(entry::functions(module)));
        }
        let initialize = Entry::find_if_there(module, "_initialize")?;
        Ok(Entries {
            initialize,
            warm,
            call,
        })
    }
}

fn memory(options: &RunOptions) -> Result<Memory, memfold::Error> {
    let spaces = options.clones.get().saturating_add(MORE_SPACES);
    let mut builder = Memory::builder().delivery(options.delivery()).max_spaces(spaces);
    if let Some(bytes) = options.budget_bytes() {
        builder = builder.budget_bytes(bytes);
    }
    if options.merge_percent().is_some() {
        builder = builder.merging(Merging::On);
    }
    builder.build()
}

/// No preopens, so that a store takes no descriptor.
fn new_store(engine: &Engine, name: &str, voice: Voice) -> Store<Host> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.arg(name);
    match voice {
        Voice::Silent => {}
        Voice::Ours => {
            wasi.inherit_stdout().inherit_stderr();
        }
        Voice::Stderr => {
            wasi.stdout(cli::stderr()).inherit_stderr();
        }
    }
    let mut store = Store::new(
        engine,
        Host {
            wasi: wasi.build_p1(),
        },
    );
    store.set_epoch_deadline(DEADLINE);
    store
}

fn program_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
