//! Files in the memories of all instances: [`Files`], opened once, mapped into each instance that
//! is warmed up; forks have them from there.
//!
//! Immutable once opened; used by the thread that makes clones, and at the end of the run. Stock
//! instances have no mappings: each reads the files into its own memory, for comparison.

use super::environment::Host;
use super::failure::{CloneFailure, Kind, Stop};
use super::outline::Outline;
use crate::error::Error;
use crate::maps::{FileMap, Stores};
use crate::report::Area;
use memfold::{FileAccess, MappedFile, Memory, PAGE_SIZE, Rights, Through};
use memfold_wasmtime::ForkInstance;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use wasmtime::Store;

/// What reads a file into stock memory at a time.
const CHUNK: usize = 1 << 20;

/// All files, in the order of their places.
#[derive(Default)]
pub(crate) struct Files(Vec<Placed>);

/// A file and its place.
struct Placed {
    map: FileMap,
    bytes: u64,
    bytes_from: BytesFrom,
}

/// Where its bytes come from.
enum BytesFrom {
    Mapped(MappedFile),
    Read(File),
}

impl Files {
    /// Opens all, and looks whether their places are free: behind the memory that the module begins
    /// with, without overlap. Without memfold's memory they are only read.
    pub(crate) fn open(
        maps: &[FileMap],
        outline: &Outline,
        threads: u32,
        memory: Option<&Memory>,
    ) -> Result<Self, Error> {
        let mut maps = maps.to_vec();
        maps.sort_by_key(|map| map.offset);
        let mut files = Vec::new();
        let mut free = match (outline.memory_bytes, maps.first()) {
            (None, Some(map)) => return Err(refused(map, "the module has no memory")),
            (bytes, _) => bytes.unwrap_or_default(),
        };
        for map in maps {
            if map.offset < free {
                let why = format!("the memory is in use up to {free} ({free:#x}): map it there or behind");
                return Err(refused(&map, &why));
            }
            if map.stores == Stores::Shared && threads > 1 {
                let why = "clones that share stores are called one after the other: --threads 1";
                return Err(refused(&map, why));
            }
            let placed = Placed::open(map, memory)?;
            free = placed.end();
            files.push(placed);
        }
        Ok(Self(files))
    }

    /// Maps all into an instance, whose memory grows.
    pub(crate) fn map(&self, store: &mut Store<Host>, instance: &ForkInstance<Host>) -> Result<(), Stop> {
        if self.0.is_empty() {
            return Ok(());
        }
        let memory = instance.memory(store);
        for placed in &self.0 {
            let BytesFrom::Mapped(file) = &placed.bytes_from else {
                continue;
            };
            let at = placed.room(store, memory)?;
            let (through, rights) = match placed.map.stores {
                Stores::Refused => (Through::Private, Rights::Read),
                Stores::Private => (Through::Private, Rights::ReadWrite),
                Stores::Shared => (Through::Shared, Rights::ReadWrite),
            };
            // SAFETY: the references that there are to an instance's memory are those of host
            // functions that its program calls. Where stores are shared no other program runs
            // meanwhile, by `open`; that nobody else changes the file is what `--map` asks for.
            unsafe { instance.map(store, at, file, 0..placed.bytes, through, rights)? };
        }
        Ok(())
    }

    /// Reads all into the memory of a stock instance, which grows.
    pub(crate) fn read(&self, store: &mut Store<Host>, instance: &wasmtime::Instance) -> Result<(), Stop> {
        for placed in &self.0 {
            let BytesFrom::Read(file) = &placed.bytes_from else {
                continue;
            };
            let memory = instance
                .exports(&mut *store)
                .find_map(wasmtime::Export::into_memory);
            let memory = memory.ok_or_else(|| placed.failed(&"the module exports no memory"))?;
            let at = usize::try_from(placed.room(store, memory)?).unwrap_or(usize::MAX);
            let bytes = &mut memory.data_mut(&mut *store)[at..][..placed.len()];
            let mut done = 0;
            for chunk in bytes.chunks_mut(CHUNK) {
                file.read_exact_at(chunk, done)
                    .map_err(|error| placed.failed(&error))?;
                done += chunk.len() as u64;
            }
        }
        Ok(())
    }

    /// What a report says of an instance's areas.
    pub(crate) fn areas(&self, areas: &[memfold::Area]) -> Vec<Area> {
        let mapped = areas.iter().filter_map(|area| {
            let inside = |placed: &&Placed| (placed.map.offset..placed.end()).contains(&area.start);
            let placed = self.0.iter().find(inside)?;
            let (file_offset, through) = area.file?;
            Some(Area {
                start: area.start,
                end: area.end,
                file: placed.map.path.display().to_string(),
                file_offset,
                stores: match (through, area.rights) {
                    (Through::Shared, _) => "shared",
                    (Through::Private, Rights::ReadWrite) => "private",
                    (Through::Private, _) => "ro",
                },
            })
        });
        mapped.collect()
    }

    /// Writes out what was stored to shared files; the first error, if there was one.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        for placed in &self.0 {
            if let (BytesFrom::Mapped(file), Stores::Shared) = (&placed.bytes_from, placed.map.stores) {
                let path = placed.map.path.clone();
                file.sync(0..placed.bytes)
                    .map_err(|source| Error::Sync { path, source })?;
            }
        }
        Ok(())
    }
}

impl Placed {
    fn open(map: FileMap, memory: Option<&Memory>) -> Result<Self, Error> {
        let access = match map.stores {
            Stores::Shared => FileAccess::ReadWrite,
            Stores::Refused | Stores::Private => FileAccess::ReadOnly,
        };
        let (bytes, bytes_from) = match memory {
            Some(memory) => {
                let file = memory
                    .open(&map.path, access)
                    .map_err(|error| refused(&map, &error.to_string()))?;
                (file.len(), BytesFrom::Mapped(file))
            }
            None => {
                let opened = File::open(&map.path).and_then(|file| Ok((file.metadata()?.len(), file)));
                let (bytes, file) = opened.map_err(|error: io::Error| refused(&map, &error.to_string()))?;
                (bytes, BytesFrom::Read(file))
            }
        };
        if bytes == 0 {
            return Err(refused(&map, "it is empty"));
        }
        Ok(Self {
            map,
            bytes,
            bytes_from,
        })
    }

    /// Where the next file may begin.
    fn end(&self) -> u64 {
        let page = PAGE_SIZE as u64;
        self.map.offset.saturating_add(self.bytes.next_multiple_of(page))
    }

    /// Makes the memory long enough; where the file begins.
    fn room(&self, store: &mut Store<Host>, memory: wasmtime::Memory) -> Result<u64, Stop> {
        let len = memory.data_size(&*store) as u64;
        let pages = self.end().saturating_sub(len).div_ceil(memory.page_size(&*store));
        let grown = memory.grow(&mut *store, pages);
        grown.map_err(|error| self.failed(&format!("the memory cannot grow by it: {error:#}")))?;
        Ok(self.map.offset)
    }

    fn len(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Stop {
        let message = format!("{} cannot be mapped: {why}", self.map.path.display());
        let kind = Kind::Start;
        Stop::Failed(CloneFailure { kind, message })
    }
}

fn refused(map: &FileMap, why: &str) -> Error {
    Error::Map {
        path: map.path.clone(),
        why: why.to_owned(),
    }
}
