//! The surroundings of a program, ready to be given to any number of stores: [`Environment`].
//!
//! Immutable; shared by all threads. Folders are opened anew for each store, so that each takes a
//! descriptor.

use super::interrupt::DEADLINE;
use crate::args::Voice;
use crate::error::Error;
use crate::surroundings::Surroundings;
use bytes::Bytes;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use wasmtime::{Engine, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, WasiCtxView, WasiView, cli};

/// Most bytes of a standard input, which is held in memory.
const MOST_INPUT: u64 = 1 << 30;

/// What the store of an instance holds besides it.
pub(crate) struct Host {
    pub(crate) wasi: WasiP1Ctx,
}

// What components ask for is the same as what modules do.
impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

pub(crate) struct Environment {
    arguments: Vec<String>,
    given: Surroundings,
    input: Option<Bytes>,
    voice: Voice,
}

impl Environment {
    /// Reads the input, and looks whether the folders are there. `arguments` begin with the
    /// program's name.
    pub(crate) fn new(arguments: Vec<String>, given: Surroundings, voice: Voice) -> Result<Self, Error> {
        for folder in &given.folders {
            let path = &folder.host;
            fs::read_dir(path).map_err(|source| Error::folder(path, source))?;
        }
        let input = given.stdin.as_deref().map(input).transpose()?;
        Ok(Environment {
            arguments,
            given,
            input,
            voice,
        })
    }

    pub(crate) fn voice(&self) -> Voice {
        self.voice
    }

    /// An empty store for one instance.
    pub(crate) fn store(&self, engine: &Engine) -> wasmtime::Result<Store<Host>> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&self.arguments).envs(&self.given.variables);
        for folder in &self.given.folders {
            wasi.preopened_dir(&folder.host, &folder.guest, FsPerms::ReadWrite)?;
        }
        if let Some(input) = &self.input {
            wasi.stdin(MemoryInputPipe::new(input.clone()));
        }
        match self.voice {
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
        Ok(store)
    }
}

/// The whole file, which may be a pipe.
fn input(path: &Path) -> Result<Bytes, Error> {
    let refused = |source| Error::read(path, source);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(refused)?;
    file.take(MOST_INPUT + 1)
        .read_to_end(&mut bytes)
        .map_err(refused)?;
    if bytes.len() as u64 > MOST_INPUT {
        return Err(Error::LongInput {
            path: path.to_owned(),
            most: MOST_INPUT,
        });
    }
    Ok(bytes.into())
}
