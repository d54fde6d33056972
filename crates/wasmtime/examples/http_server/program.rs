//! The program that answers, and how an instance of it is made for each request: a fork of a warm
//! one ([`Program::memfold`]), or on stock Wasmtime one of its pool that warms itself up
//! ([`Program::stock`]). Shared by all threads; an instance belongs to one request.

use memfold::{Memory, Usage};
use memfold_wasmtime::{Error, ForkInstance, Snapshot, Template, configure, prepare};
use std::time::Duration;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolingAllocationConfig, Store,
    UpdateDeadline, WasmParams, WasmResults,
};

const LINKS: &str = include_str!("links.wat");

/// Time that an instance has for itself before others run,
const SLICE: Duration = Duration::from_millis(5);
/// and such slices until it is ended.
const SLICES: u64 = 20;

/// The most bytes that a stock instance's memory may have.
const STOCK_MEMORY: usize = 16 << 20;

/// What a store knows of its request: the slices that are left.
struct Call {
    slices: u64,
}

fn wasm() -> Vec<u8> {
    wat::parse_str(LINKS).expect("the text is well-formed")
}

/// The text that an instance is warmed up with: 20,000 links.
fn links() -> String {
    (0..20_000).map(|n| format!("/{n} {}\n", link(n))).collect()
}

/// Where the link of this number leads.
pub fn link(n: u64) -> String {
    format!("https://example.org/articles/{}", n * n)
}

/// What instances are made of.
pub struct Program {
    engine: Engine,
    source: Source,
}

enum Source {
    Memfold {
        memory: Memory,
        snapshot: Snapshot<Call>,
    },
    Stock {
        pre: InstancePre<Call>,
        links: String,
    },
}

/// An instance, and the store that it lives in.
pub struct Live {
    store: Store<Call>,
    instance: wasmtime::Instance,
    /// When it is one.
    fork: Option<ForkInstance<Call>>,
}

impl Program {
    /// Warms an instance up, of which all others are forks.
    pub async fn memfold(budget_bytes: u64) -> Result<Self, Error> {
        let memory = Memory::builder().budget_bytes(budget_bytes).build()?;
        let mut config = Config::new();
        configure(config.epoch_interruption(true), &memory);
        let engine = engine(&config)?;
        let prepared = prepare(&wasm()).expect("all of its state can be forked");
        let template = Template::new(&memory, &Linker::new(&engine), &prepared)?;
        let mut store = store(&engine);
        let fork = template.instantiate_async(&mut store).await?;
        let mut warm = Live {
            store,
            instance: *fork.instance(),
            fork: None,
        };
        warm.up(&links()).await?;
        let snapshot = fork.freeze(&mut warm.store)?;
        Ok(Program {
            engine,
            source: Source::Memfold { memory, snapshot },
        })
    }

    /// The same on stock Wasmtime, with room in its pool for so many instances at once.
    pub fn stock(instances: u32) -> Result<Self, Error> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(instances)
            .total_memories(instances)
            .total_stacks(instances)
            .max_memory_size(STOCK_MEMORY);
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = engine(&config)?;
        let module = Module::from_binary(&engine, &wasm()).map_err(Error::Compile)?;
        let pre = Linker::new(&engine)
            .instantiate_pre(&module)
            .map_err(Error::Link)?;
        Ok(Program {
            engine,
            source: Source::Stock { pre, links: links() },
        })
    }

    /// A warm instance.
    pub async fn instance(&self) -> Result<Live, Error> {
        let mut store = store(&self.engine);
        match &self.source {
            Source::Memfold { snapshot, .. } => {
                let fork = snapshot.instantiate_async(&mut store).await?;
                Ok(Live {
                    instance: *fork.instance(),
                    fork: Some(fork),
                    store,
                })
            }
            Source::Stock { pre, links } => {
                let made = pre.instantiate_async(&mut store).await;
                let mut live = Live {
                    instance: made.map_err(Error::Instantiate)?,
                    fork: None,
                    store,
                };
                live.up(links).await?;
                Ok(live)
            }
        }
    }

    /// What the manager holds, when it is memfold's.
    pub fn usage(&self) -> Option<Usage> {
        match &self.source {
            Source::Memfold { memory, .. } => Some(memory.stats().usage),
            Source::Stock { .. } => None,
        }
    }
}

impl Live {
    /// Where the path leads, if the program knows.
    pub async fn look_up(&mut self, path: &str) -> Result<Option<String>, Error> {
        let outcome = self.ask(path).await;
        if let Some(fork) = &self.fork {
            // Answers of a program that has lost memory are not to be trusted.
            fork.check()?;
        }
        outcome
    }

    /// The instance will not be asked soon: on memfold, its pages go first when room is needed.
    pub fn idle(&self) -> Result<(), Error> {
        match &self.fork {
            Some(fork) => Ok(fork.space().idle()?),
            None => Ok(()),
        }
    }

    async fn ask(&mut self, path: &str) -> Result<Option<String>, Error> {
        self.write(0, &format!("{path} "))?;
        let found: i64 = self.call("look_up", ()).await?;
        if found == 0 {
            return Ok(None);
        }
        let (at, len) = ((found >> 32) as usize, found as u32 as usize);
        let memory = self.memory();
        let leads = memory.data(&self.store).get(at..at + len);
        Ok(leads.map(|leads| String::from_utf8_lossy(leads).into_owned()))
    }

    /// Warms it up.
    async fn up(&mut self, links: &str) -> Result<(), Error> {
        let len = links.len() as i32;
        let at: i32 = self.call("room", len).await?;
        self.write(at as usize, links)?;
        self.call("warm", (at, at + len)).await
    }

    async fn call<P, R>(&mut self, name: &str, params: P) -> Result<R, Error>
    where
        P: WasmParams + Sync,
        R: WasmResults + Sync,
    {
        let function = self.instance.get_typed_func::<P, R>(&mut self.store, name);
        let function = function.map_err(Error::Program)?;
        let outcome = function.call_async(&mut self.store, params).await;
        outcome.map_err(Error::Program)
    }

    fn write(&mut self, at: usize, text: &str) -> Result<(), Error> {
        let written = self.memory().write(&mut self.store, at, text.as_bytes());
        written.map_err(|error| Error::Program(error.into()))
    }

    fn memory(&mut self) -> wasmtime::Memory {
        let memory = self.instance.get_memory(&mut self.store, "memory");
        memory.expect("it is exported")
    }
}

/// An engine whose epoch goes on with each slice, for as long as there is the engine.
fn engine(config: &Config) -> Result<Engine, Error> {
    let engine = Engine::new(config).map_err(Error::Compile)?;
    let weak = engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(SLICE);
        }
    });
    Ok(engine)
}

fn store(engine: &Engine) -> Store<Call> {
    let mut store = Store::new(engine, Call { slices: SLICES });
    store.set_epoch_deadline(1);
    // At the end of each slice the others run; at the end of the last one the request is over.
    store.epoch_deadline_callback(|mut call| {
        let left = call.data().slices.checked_sub(1);
        Ok(left.map_or(UpdateDeadline::Interrupt, |left| {
            call.data_mut().slices = left;
            UpdateDeadline::Yield(1)
        }))
    });
    store
}
