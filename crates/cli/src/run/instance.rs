//! One instance in its store: [`Instance`]. Used by one thread at a time.

use super::digest::Digest;
use super::entry::Entry;
use super::environment::Host;
use super::failure::{CloneFailure, Kind, Stop};
use super::program::{Program, Source};
use super::values;
use crate::args::Voice;
use crate::output;
use memfold_wasmtime::{ForkInstance, InstanceSpace, Snapshot};
use std::time::{Duration, Instant};
use wasmtime::Store;

/// An instance and all that is its own.
pub(crate) struct Instance {
    number: u32,
    store: Store<Host>,
    body: Body,
    voice: Voice,
    /// How many calls it answered.
    pub(crate) answered: u32,
}

enum Body {
    Memfold(ForkInstance<Host>),
    Stock(wasmtime::Instance),
}

impl Instance {
    fn new(program: &Program, number: u32, store: Store<Host>, body: Body) -> Self {
        Instance {
            number,
            store,
            body,
            voice: program.voice(),
            answered: 0,
        }
    }

    /// A fresh instance that is initialised and warmed up.
    pub(crate) fn warmed(program: &Program, number: u32) -> Result<Self, Stop> {
        let mut store = program.store()?;
        let body = match &program.source {
            Source::Memfold { template, .. } => Body::Memfold(template.instantiate(&mut store)?),
            Source::Stock(stock) => Body::Stock(stock.instantiate(&mut store)?),
        };
        match &body {
            Body::Memfold(fork) => program.files.map(&mut store, fork)?,
            Body::Stock(instance) => program.files.read(&mut store, instance)?,
        }
        let mut instance = Instance::new(program, number, store, body);
        let entries = &program.entries;
        for entry in [&entries.initialize, &entries.warm].into_iter().flatten() {
            instance.call(entry, 0, &mut Digest::default())?;
        }
        Ok(instance)
    }

    /// An instance that goes on from the snapshot, and how long the fork took.
    pub(crate) fn forked(
        program: &Program,
        snapshot: &Snapshot<Host>,
        number: u32,
    ) -> Result<(Self, Duration), Stop> {
        let mut store = program.store()?;
        let begin = Instant::now();
        let fork = snapshot.instantiate(&mut store)?;
        let time = begin.elapsed();
        Ok((Instance::new(program, number, store, Body::Memfold(fork)), time))
    }

    /// What forks of this instance start from. Only instances on memfold's memory can be frozen.
    pub(crate) fn freeze(mut self) -> Result<Option<Snapshot<Host>>, Stop> {
        match &self.body {
            Body::Memfold(fork) => Ok(Some(fork.freeze(&mut self.store)?)),
            Body::Stock(_) => Ok(None),
        }
    }

    /// Calls an export; the answer goes into the digest.
    pub(crate) fn call(&mut self, entry: &Entry, call: u32, digest: &mut Digest) -> Result<(), Stop> {
        let instance = match &self.body {
            Body::Memfold(fork) => fork.instance(),
            Body::Stock(instance) => instance,
        };
        let Some(function) = instance.get_func(&mut self.store, entry.name()) else {
            let message = format!("the export {:?} is gone", entry.name());
            return Err(Stop::Failed(CloneFailure {
                kind: Kind::Host,
                message,
            }));
        };
        let mut results = entry.results();
        let outcome = function.call(&mut self.store, &entry.params(self.number, call), &mut results);
        // A page that could not be had comes first: it may have looked like anything else.
        if let Body::Memfold(fork) = &self.body {
            fork.check()?;
        }
        match outcome {
            Err(error) if entry.may_exit() && exited_well(&error) => {}
            outcome => outcome?,
        }
        for (place, result) in results.iter().enumerate() {
            digest.add(self.number, call, place, values::bits(result));
        }
        if entry.is_told() {
            self.tell(&values::lines(&results))?;
        }
        Ok(())
    }

    /// Prints what a call returned where the program itself prints.
    fn tell(&self, text: &str) -> Result<(), Stop> {
        match self.voice {
            Voice::Silent => Ok(()),
            Voice::Stderr => {
                output::remark(text);
                Ok(())
            }
            Voice::Ours => output::print(text).map_err(|error| {
                let message = error.to_string();
                Stop::Failed(CloneFailure {
                    kind: Kind::Host,
                    message,
                })
            }),
        }
    }

    /// Moves all its pages to the store.
    pub(crate) fn evict(&self) -> Result<(), CloneFailure> {
        match &self.body {
            Body::Memfold(fork) => fork
                .spaces()
                .try_for_each(|space| space.evict().map(drop))
                .map_err(|error| CloneFailure::memory(&error)),
            Body::Stock(_) => Ok(()),
        }
    }

    /// What of its first memory is mapped.
    pub(crate) fn areas(&self) -> Vec<memfold::Area> {
        match &self.body {
            Body::Memfold(fork) => fork.space().areas().unwrap_or_default(),
            Body::Stock(_) => Vec::new(),
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Bytes of its memories, as the program sees them.
    pub(crate) fn logical_bytes(&mut self) -> u64 {
        match &self.body {
            Body::Memfold(fork) => fork.spaces().map(InstanceSpace::len).sum(),
            Body::Stock(instance) => {
                let instance = *instance;
                stock_bytes(&mut self.store, &instance)
            }
        }
    }
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
