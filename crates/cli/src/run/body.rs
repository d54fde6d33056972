//! What an instance is, of a module or of a component, on memfold's memory or on Wasmtime's:
//! [`Body`]; and what forks start from: [`Frozen`]. Used by one thread at a time, with the
//! instance's store.

use super::entry::{Call, Entry};
use super::environment::Host;
use super::failure::{CloneFailure, Kind, Stop};
use super::function::{self, Answer, Function};
use super::mapping::Files;
use super::program::Source;
use super::values;
use memfold::Space;
use memfold_wasmtime::{
    ComponentSnapshot, ForkComponent, ForkInstance, InstanceSpace, Snapshot, SnapshotSpace,
};
use wasmtime::{Store, Val, component};

pub(crate) enum Body {
    Memfold(ForkInstance<Host>),
    Stock(wasmtime::Instance),
    Component(ForkComponent<Host>),
    StockComponent(component::Instance),
}

/// What is called, whoever holds its memory.
enum Inside<'a> {
    Module(&'a wasmtime::Instance),
    Component(&'a component::Instance),
}

/// What a call answered: what a digest takes of it, and lines for people who want to see it.
pub(crate) struct Answers {
    pub(crate) bits: Vec<i64>,
    pub(crate) lines: String,
}

impl Body {
    /// A fresh instance, with the files in its memory.
    pub(crate) fn fresh(source: &Source, files: &Files, store: &mut Store<Host>) -> Result<Self, Stop> {
        Ok(match source {
            Source::Memfold { template, .. } => {
                let fork = template.instantiate(store)?;
                files.map(store, &fork)?;
                Body::Memfold(fork)
            }
            Source::Stock(stock) => {
                let instance = stock.instantiate(store)?;
                files.read(store, &instance)?;
                Body::Stock(instance)
            }
            Source::Component { template, .. } => Body::Component(template.instantiate(store)?),
            Source::StockComponent(pre) => Body::StockComponent(pre.instantiate(store)?),
        })
    }

    /// What forks of it start from. Only instances on memfold's memory can be frozen.
    pub(crate) fn freeze(&self, store: &mut Store<Host>) -> Result<Option<Frozen>, Stop> {
        Ok(match self {
            Body::Memfold(fork) => Some(Frozen::Module(Box::new(fork.freeze(store)?))),
            Body::Component(fork) => Some(Frozen::Component(fork.freeze(store)?)),
            Body::Stock(_) | Body::StockComponent(_) => None,
        })
    }

    /// Calls an export, as the clone of this number, for the time of this number.
    pub(crate) fn call(
        &self,
        store: &mut Store<Host>,
        entry: &Entry,
        clone: u32,
        call: u32,
    ) -> Result<Answers, Stop> {
        let may_exit = entry.may_exit();
        match (self.inside(), entry.call(clone, call)) {
            (
                Inside::Module(instance),
                Call::Module {
                    name,
                    params,
                    results,
                },
            ) => self.call_module(store, instance, (name, may_exit), &params, results),
            (Inside::Component(instance), Call::Component { function, params }) => {
                self.call_component(store, instance, (function, may_exit), &params)
            }
            _ => unreachable!("an entry is of the program that is called"),
        }
    }

    fn inside(&self) -> Inside<'_> {
        match self {
            Body::Memfold(fork) => Inside::Module(fork.instance()),
            Body::Stock(instance) => Inside::Module(instance),
            Body::Component(fork) => Inside::Component(fork.instance()),
            Body::StockComponent(instance) => Inside::Component(instance),
        }
    }

    fn call_module(
        &self,
        store: &mut Store<Host>,
        instance: &wasmtime::Instance,
        (name, may_exit): (&str, bool),
        params: &[Val],
        mut results: Vec<Val>,
    ) -> Result<Answers, Stop> {
        let Some(function) = instance.get_func(&mut *store, name) else {
            return Err(failed(Kind::Host, format!("the export {name:?} is gone")));
        };
        let outcome = function.call(&mut *store, params, &mut results);
        self.check()?;
        match outcome {
            Err(error) if may_exit && exited_well(&error) => {}
            outcome => outcome?,
        }
        Ok(Answers {
            bits: results.iter().map(values::bits).collect(),
            lines: values::lines(&results),
        })
    }

    fn call_component(
        &self,
        store: &mut Store<Host>,
        instance: &component::Instance,
        (function, may_exit): (&Function, bool),
        params: &[component::Val],
    ) -> Result<Answers, Stop> {
        let outcome = function.call(store, instance, params);
        self.check()?;
        let values = match outcome {
            Err(error) if may_exit && exited_well(&error) => Vec::new(),
            outcome => match outcome? {
                Answer::Values(values) => values,
                Answer::Error(error) => {
                    let said = if error.is_empty() { "an error" } else { &error };
                    return Err(failed(Kind::Exit, format!("it answered with {said}")));
                }
            },
        };
        Ok(Answers {
            bits: values.iter().map(function::bits).collect(),
            lines: function::lines(&values),
        })
    }

    /// A page that could not be had comes first: it may have looked like anything else.
    fn check(&self) -> Result<(), Stop> {
        match self {
            Body::Memfold(fork) => fork.check()?,
            Body::Component(fork) => fork.check()?,
            Body::Stock(_) | Body::StockComponent(_) => {}
        }
        Ok(())
    }

    /// Moves all its pages to the store.
    pub(crate) fn evict(&self) -> Result<(), CloneFailure> {
        let evict = |space: InstanceSpace<'_>| space.evict().map(drop);
        match self {
            Body::Memfold(fork) => fork.spaces().try_for_each(evict),
            Body::Component(fork) => fork.spaces().try_for_each(evict),
            Body::Stock(_) | Body::StockComponent(_) => Ok(()),
        }
        .map_err(|error| CloneFailure::memory(&error))
    }

    /// What of its first memory is mapped.
    pub(crate) fn areas(&self) -> Vec<memfold::Area> {
        match self {
            Body::Memfold(fork) => fork.space().areas().unwrap_or_default(),
            Body::Stock(_) | Body::Component(_) | Body::StockComponent(_) => Vec::new(),
        }
    }

    /// Bytes of its memories, as the program sees them. Those of a stock instance that are not
    /// exported cannot be seen, nor any of a component.
    pub(crate) fn logical_bytes(&self, store: &mut Store<Host>) -> u64 {
        match self {
            Body::Memfold(fork) => fork.spaces().map(InstanceSpace::len).sum(),
            Body::Component(fork) => fork.spaces().map(InstanceSpace::len).sum(),
            Body::Stock(instance) => stock_bytes(store, instance),
            Body::StockComponent(_) => 0,
        }
    }
}

/// What forks start from.
pub(crate) enum Frozen {
    Module(Box<Snapshot<Host>>),
    Component(ComponentSnapshot<Host>),
}

impl Frozen {
    /// An instance that goes on from it.
    pub(crate) fn instantiate(&self, store: &mut Store<Host>) -> Result<Body, Stop> {
        Ok(match self {
            Frozen::Module(snapshot) => Body::Memfold(snapshot.instantiate(store)?),
            Frozen::Component(snapshot) => Body::Component(snapshot.instantiate(store)?),
        })
    }

    /// Forks of its memories alone.
    pub(crate) fn fork_bare(&self) -> Result<Vec<Space>, memfold::Error> {
        match self {
            Frozen::Module(snapshot) => snapshot.spaces().map(SnapshotSpace::fork).collect(),
            Frozen::Component(snapshot) => snapshot.spaces().map(SnapshotSpace::fork).collect(),
        }
    }
}

fn failed(kind: Kind, message: String) -> Stop {
    Stop::Failed(CloneFailure { kind, message })
}

fn exited_well(error: &wasmtime::Error) -> bool {
    let exit = error.downcast_ref::<wasmtime_wasi::I32Exit>();
    exit.is_some_and(|exit| exit.0 == 0)
}

/// Memories that are not exported cannot be seen.
fn stock_bytes(store: &mut Store<Host>, instance: &wasmtime::Instance) -> u64 {
    let memories: Vec<_> = instance
        .exports(&mut *store)
        .filter_map(wasmtime::Export::into_memory)
        .collect();
    let bytes = memories.iter().map(|memory| memory.data_size(&*store));
    bytes.map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX)).sum()
}
