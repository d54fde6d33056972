//! The binary format by hand, where items are added before and behind those that a section has:
//! [`Writer`].
//!
//! Nothing that stands already is decoded. Called by `rewrite.rs`.

use std::collections::BTreeMap;
use wasm_encoder::{Encode, Module, RawSection};
use wasmparser::{BinaryReader, BinaryReaderError};

type Result<T> = std::result::Result<T, BinaryReaderError>;

/// The sections that items are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Types,
    Functions,
    Tables,
    Memories,
    Globals,
    Exports,
    #[cfg(feature = "component")]
    DataCount,
    Code,
}

impl To {
    fn id(self) -> u8 {
        match self {
            To::Types => 1,
            To::Functions => 3,
            To::Tables => 4,
            To::Memories => 5,
            To::Globals => 6,
            To::Exports => 7,
            #[cfg(feature = "component")]
            To::DataCount => 12,
            To::Code => CODE,
        }
    }
}

/// The section of function bodies.
pub(crate) const CODE: u8 = 10;

/// Items for the beginning and the end of one section.
#[derive(Default)]
struct Added {
    count: u32,
    in_front: Vec<u8>,
    behind: Vec<u8>,
}

/// A module that is written section by section, in the order of the format.
#[derive(Default)]
pub(crate) struct Writer {
    module: Module,
    /// By the place of their section; taken as they are written.
    added: BTreeMap<u8, (u8, Added)>,
}

impl Writer {
    /// Puts an item behind those of its section, which may not be there yet and is not written yet.
    pub(crate) fn add(&mut self, to: To, item: &[u8]) {
        let added = self.added(to);
        added.count += 1;
        added.behind.extend_from_slice(item);
    }

    /// Puts an item before those of its section, behind others that were put there.
    pub(crate) fn add_in_front(&mut self, to: To, item: &[u8]) {
        let added = self.added(to);
        added.count += 1;
        added.in_front.extend_from_slice(item);
    }

    /// Puts the number of data segments in front of the code, where it must not be written
    /// otherwise.
    #[cfg(feature = "component")]
    pub(crate) fn count_data(&mut self, segments: u32) {
        self.added(To::DataCount).count = segments;
    }

    fn added(&mut self, to: To) -> &mut Added {
        let id = to.id();
        let entry = self.added.entry(place(id));
        &mut entry.or_insert_with(|| (id, Added::default())).1
    }

    /// The next section of the module. Those that come before it and had nothing but what was added
    /// are written first.
    pub(crate) fn section(&mut self, id: u8, data: &[u8]) -> Result<()> {
        if id == 0 {
            self.module.section(&RawSection { id, data });
            return Ok(());
        }
        self.write_before(place(id));
        match self.added.remove(&place(id)) {
            Some((_, added)) => {
                let data = appended(data, &added)?;
                self.module.section(&RawSection { id, data: &data });
            }
            None => {
                self.module.section(&RawSection { id, data });
            }
        }
        Ok(())
    }

    /// The whole module.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.write_before(u8::MAX);
        self.module.finish()
    }

    fn write_before(&mut self, end: u8) {
        let behind = self.added.split_off(&end);
        for (id, added) in std::mem::replace(&mut self.added, behind).into_values() {
            let mut data = Vec::new();
            added.count.encode(&mut data);
            data.extend(added.in_front);
            data.extend(added.behind);
            self.module.section(&RawSection { id, data: &data });
        }
    }
}

/// The order of sections is that of their numbers, but for three.
fn place(id: u8) -> u8 {
    match id {
        // Tags stand between memories and globals, the count of data segments before the code.
        13 => 11,
        12 => 19,
        id => id * 2,
    }
}

/// The items of a section, and more.
fn appended(section: &[u8], added: &Added) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(section, 0);
    let count = reader.read_var_u32()?;
    let items = &section[reader.original_position()..];
    let mut data = Vec::with_capacity(section.len() + added.in_front.len() + added.behind.len() + 5);
    // The sum is a number of items of a valid module, and those that are added are few.
    count.saturating_add(added.count).encode(&mut data);
    data.extend_from_slice(&added.in_front);
    data.extend_from_slice(items);
    data.extend_from_slice(&added.behind);
    Ok(data)
}

/// A number as the format writes it.
pub(crate) fn number(value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

/// Something behind its length in bytes.
pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut sized = Vec::new();
    bytes.encode(&mut sized);
    sized
}
