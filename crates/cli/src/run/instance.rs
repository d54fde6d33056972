//! One instance in its store: [`Instance`]. Used by one thread at a time.

use super::body::{Body, Frozen};
use super::digest::Digest;
use super::entry::Entry;
use super::environment::Host;
use super::failure::{CloneFailure, Kind, Stop};
use super::program::Program;
use crate::args::Voice;
use crate::output;
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
        let body = Body::fresh(&program.source, &program.files, &mut store)?;
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
        snapshot: &Frozen,
        number: u32,
    ) -> Result<(Self, Duration), Stop> {
        let mut store = program.store()?;
        let begin = Instant::now();
        let fork = snapshot.instantiate(&mut store)?;
        let time = begin.elapsed();
        Ok((Instance::new(program, number, store, fork), time))
    }

    /// What forks of this instance start from. Only instances on memfold's memory can be frozen.
    pub(crate) fn freeze(mut self) -> Result<Option<Frozen>, Stop> {
        self.body.freeze(&mut self.store)
    }

    /// Calls an export; the answer goes into the digest.
    pub(crate) fn call(&mut self, entry: &Entry, call: u32, digest: &mut Digest) -> Result<(), Stop> {
        let answers = self.body.call(&mut self.store, entry, self.number, call)?;
        for (place, bits) in answers.bits.into_iter().enumerate() {
            digest.add(self.number, call, place, bits);
        }
        if entry.is_told() {
            self.tell(&answers.lines)?;
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
        self.body.evict()
    }

    /// What of its first memory is mapped.
    pub(crate) fn areas(&self) -> Vec<memfold::Area> {
        self.body.areas()
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Bytes of its memories, as the program sees them.
    pub(crate) fn logical_bytes(&mut self) -> u64 {
        self.body.logical_bytes(&mut self.store)
    }
}
