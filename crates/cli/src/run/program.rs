//! The program: read, made forkable, compiled, linked; and the stores that its instances live in.
//!
//! Immutable once loaded, shared by all threads.

use super::entry::{Entry, Given};
use super::environment::{Environment, Host};
use super::mapping::Files;
use super::outline::{Import, Is, Outline, named};
use super::room;
use super::stock::Stock;
use crate::args::{Making, RunOptions, Voice};
use crate::error::Error;
use crate::surroundings::Stub;
use memfold::{Memory, Merging, Native};
use memfold_wasmtime::{ComponentTemplate, Own, Prepared, Template, prepare_with};
use std::path::Path;
use wasmtime::{Config, Engine, ExternType, Linker, Module, Store, component};
use wasmtime_wasi::p1;

/// Instances that have spaces beside the clones: the pristine one, the parent, the snapshot, one to
/// measure forks.
const MORE_SPACES: u32 = 8;

/// Where instances come from.
pub(crate) enum Source {
    /// memfold's memory.
    Memfold {
        memory: Memory,
        template: Template<Host>,
    },
    /// Wasmtime's own.
    Stock(Stock),
    /// A component, on memfold's memory.
    Component {
        memory: Memory,
        template: ComponentTemplate<Host>,
    },
    /// A component, on Wasmtime's own.
    StockComponent(component::InstancePre<Host>),
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
    pub(super) engine: Engine,
    pub(super) name: String,
    pub(super) environment: Environment,
    pub(crate) source: Source,
    pub(crate) entries: Entries,
    /// What each instance finds in its memory.
    pub(crate) files: Files,
}

/// A module before it is compiled: bad input and a machine that cannot are found here.
pub(crate) struct Draft {
    engine: Engine,
    linker: Linker<Host>,
    name: String,
    environment: Environment,
    entries: Entries,
    files: Files,
    /// What is imported and not provided.
    missing: Vec<Import>,
    /// The module's bytes, or what was made of them.
    code: Code,
}

enum Code {
    Stock(Vec<u8>),
    Memfold { memory: Memory, prepared: Box<Prepared> },
}

impl Code {
    /// What holds the instances' memories, if it is memfold.
    fn memory(&self) -> Option<&Memory> {
        match self {
            Code::Stock(_) => None,
            Code::Memfold { memory, .. } => Some(memory),
        }
    }
}

impl Draft {
    pub(crate) fn new(options: &RunOptions, bytes: Vec<u8>, mut config: Config) -> Result<Self, Error> {
        let prepared = prepare_with(&bytes, &given(options));
        // What imports an instance has for itself, stock instances have as well.
        let own = prepared.iter().flat_map(|prepared| prepared.own().to_vec());
        let own = own.collect();
        // What a stock engine would say of an invalid module, it says itself.
        let prepared = match options.making() {
            Making::Stock => None,
            Making::Fork | Making::Independent => Some(prepared?),
        };
        let outline = Outline::read(&bytes).map_err(|reason| Error::Invalid {
            path: options.module.clone(),
            reason,
        })?;
        let entries = Entries::find(&outline, options)?;
        let (name, environment) = surroundings(options)?;
        let code = match prepared {
            None => Code::Stock(bytes),
            Some(prepared) => {
                let memory = memory(options, prepared.memories().len(), &mut config)?;
                let prepared = Box::new(prepared);
                Code::Memfold { memory, prepared }
            }
        };
        let maps = &options.surroundings.maps;
        let files = Files::open(maps, &outline, options.threads.get(), code.memory())?;
        let engine = Engine::new(&config).map_err(Error::Module)?;
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |host: &mut Host| &mut host.wasi).map_err(Error::Module)?;
        let mut store = environment.store(&engine).map_err(Error::Module)?;
        let missing = missing(outline.imports, own, |import| {
            linker.get(&mut store, &import.module, &import.name).is_ok()
        });
        refuse(&missing, options.surroundings.stub_imports)?;
        Ok(Draft {
            engine,
            linker,
            name,
            environment,
            entries,
            files,
            missing,
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
        let module = Module::from_binary(&self.engine, wasm).map_err(Error::Module)?;
        if let Some(stub) = options.surroundings.stub_imports {
            self.stand_in(&module, stub).map_err(Error::Module)?;
        }
        let source = match self.code {
            Code::Stock(_) => Source::Stock(Stock::new(self.linker, module).map_err(Error::Module)?),
            Code::Memfold { memory, prepared } => {
                let template = Template::from_module(&memory, &self.linker, &prepared, &module)?;
                Source::Memfold { memory, template }
            }
        };
        Ok(Program {
            engine: self.engine,
            name: self.name,
            environment: self.environment,
            source,
            entries: self.entries,
            files: self.files,
        })
    }

    /// Defines the functions that nobody provides.
    fn stand_in(&mut self, module: &Module, stub: Stub) -> wasmtime::Result<()> {
        // One name may be imported twice.
        self.linker.allow_shadowing(true);
        for import in module.imports() {
            let missing = |other: &Import| other.module == import.module() && other.name == import.name();
            let ExternType::Func(ty) = import.ty() else {
                continue;
            };
            if !self.missing.iter().any(missing) {
                continue;
            }
            let what = format!("the import {} is a stub", named(import.module(), import.name()));
            let of = ty.clone();
            self.linker
                .func_new(import.module(), import.name(), ty, move |_, _, results| {
                    if stub == Stub::Trap {
                        return Err(wasmtime::Error::msg(what.clone()));
                    }
                    for (result, ty) in results.iter_mut().zip(of.results()) {
                        let unknown = || wasmtime::Error::msg(format!("{what}, and its result has no zero"));
                        *result = wasmtime::Val::default_for_ty(&ty).ok_or_else(unknown)?;
                    }
                    Ok(())
                })?;
        }
        Ok(())
    }
}

/// What is imported, not provided, and not each instance's own.
fn missing(imports: Vec<Import>, own: Vec<Own>, mut provided: impl FnMut(&Import) -> bool) -> Vec<Import> {
    let is_own = |import: &Import| {
        let same = |own: &Own| own.module == import.module && own.name == import.name;
        import.is == Is::Other && own.iter().any(same)
    };
    let mut missing = imports;
    missing.retain(|import| !is_own(import) && !provided(import));
    missing
}

/// What is given for imported globals: zero, when the module is only tried.
fn given(options: &RunOptions) -> memfold_wasmtime::Given {
    match options.surroundings.stub_imports {
        Some(_) => memfold_wasmtime::Given::new().zeros(),
        None => memfold_wasmtime::Given::new(),
    }
}

/// All imports that are missing, not only the first.
fn refuse(missing: &[Import], stub: Option<Stub>) -> Result<(), Error> {
    let refused = missing
        .iter()
        .filter(|import| stub.is_none() || import.is != Is::Function);
    let lines: Vec<String> = refused
        .map(|import| named(&import.module, &import.name))
        .collect();
    if lines.is_empty() {
        Ok(())
    } else {
        Err(match stub {
            None => Error::Imports(lines),
            Some(_) => Error::Unstubbed(lines),
        })
    }
}

impl Program {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn voice(&self) -> Voice {
        self.environment.voice()
    }

    /// The memory that holds the clones, if it is memfold's.
    pub(crate) fn memory(&self) -> Option<&Memory> {
        match &self.source {
            Source::Memfold { memory, .. } | Source::Component { memory, .. } => Some(memory),
            Source::Stock(_) | Source::StockComponent(_) => None,
        }
    }

    /// An empty store for one instance.
    pub(crate) fn store(&self) -> wasmtime::Result<Store<Host>> {
        self.environment.store(&self.engine)
    }
}

impl Entries {
    fn find(module: &Outline, options: &RunOptions) -> Result<Self, Error> {
        let find = |name: &str, given| Entry::find(module, name, given);
        let warm = options
            .warm
            .as_deref()
            .map(|name| find(name, Given::Nothing))
            .transpose()?;
        let call = match (&options.call, &options.invoke) {
            (Some(name), _) => Some(find(name, Given::Numbers)?),
            (None, Some(name)) => Some(Entry::find_for(module, name, &options.surroundings.arguments)?),
            (None, None) if module.export("_start").is_some() => Some(find("_start", Given::Command)?),
            (None, None) => None,
        };
        if warm.is_none() && call.is_none() {
            return Err(Error::NothingToRun(module.functions()));
        }
        let initialize = Entry::find_if_there(module, "_initialize")?;
        Ok(Entries {
            initialize,
            warm,
            call,
        })
    }
}

/// What holds the clones' memories, so many each, once it is known that there is room for them; the
/// engine is told of it.
pub(super) fn memory(options: &RunOptions, memories: usize, config: &mut Config) -> Result<Memory, Error> {
    let clones = options.clones.get();
    room::check(clones, memories).map_err(|narrow| Error::NoRoom { clones, narrow })?;
    let memories = u32::try_from(memories).unwrap_or(u32::MAX);
    let spaces = clones.saturating_add(MORE_SPACES);
    let spaces = spaces.saturating_mul(memories);
    // The report says what was held, not what it could have come to.
    let mut builder = Memory::builder()
        .delivery(options.delivery())
        .max_spaces(spaces)
        .native(Native::Off);
    if let Some(bytes) = options.budget_bytes() {
        builder = builder.budget_bytes(bytes);
    }
    if options.merge_percent().is_some() {
        builder = builder.merging(Merging::On);
    }
    let memory = builder.build()?;
    memfold_wasmtime::configure(config, &memory);
    Ok(memory)
}

/// What the program is called, and what it finds around it.
pub(super) fn surroundings(options: &RunOptions) -> Result<(String, Environment), Error> {
    let name = program_name(&options.module);
    let arguments = arguments(&name, options);
    let environment = Environment::new(arguments, options.surroundings.clone(), options.voice())?;
    Ok((name, environment))
}

/// What the program finds as its arguments. With `--invoke` they are the function's.
fn arguments(name: &str, options: &RunOptions) -> Vec<String> {
    let mut arguments = vec![name.to_owned()];
    if options.invoke.is_none() {
        arguments.extend_from_slice(&options.surroundings.arguments);
    }
    arguments
}

fn program_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
