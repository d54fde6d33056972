//! Imports that become an instance's own: memories, tables and globals that nobody but this
//! instance has ([`Own`]).
//!
//! An import of a kind comes before everything of that kind that the module defines. So all imports
//! of one kind become definitions in front of the others, or none does: then no index changes.
//! Called by `scan.rs` and `rewrite.rs`.

use crate::sections::{To, Writer};
use wasmparser::{BinaryReader, BinaryReaderError, ImportSectionReader, TypeRef};

type Result<T> = std::result::Result<T, BinaryReaderError>;

/// An import of a [`Prepared`](crate::Prepared) module that each instance has for itself, so that
/// the linker need not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The import's module name.
    pub module: String,
    /// The import's field name.
    pub name: String,
}

/// What is to be done with imports of globals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Globals {
    /// They stay: none is mutable, and no value was given.
    #[default]
    Imported,
    Own,
}

/// The imports that stay, as bytes of a section; the others are added in front of what the module
/// defines. `values` has the initial expression of each global that is imported.
pub(crate) fn own(
    section: ImportSectionReader<'_>,
    wasm: &[u8],
    globals: Globals,
    values: &[Vec<u8>],
    out: &mut Writer,
) -> Result<Vec<u8>> {
    let end = section.range().end;
    let mut starts = Vec::new();
    let mut items = Vec::new();
    for import in section.into_iter_with_offsets() {
        let (start, group) = import?;
        for import in group {
            let (_, import) = import?;
            starts.push(start);
            items.push(import.ty);
        }
    }
    starts.push(end);
    let mut values = values.iter();
    let mut kept = (0_u32, Vec::new());
    for (ty, place) in items.into_iter().zip(starts.windows(2)) {
        let bytes = &wasm[place[0]..place[1]];
        let to = match ty {
            TypeRef::Memory(_) => Some(To::Memories),
            TypeRef::Table(_) => Some(To::Tables),
            TypeRef::Global(_) if globals == Globals::Own => Some(To::Globals),
            _ => None,
        };
        match to {
            None => {
                kept.0 += 1;
                kept.1.extend_from_slice(bytes);
            }
            Some(to) => {
                let mut item = described(bytes)?.to_vec();
                if to == To::Globals {
                    item.extend(values.next().into_iter().flatten());
                }
                out.add_in_front(to, &item);
            }
        }
    }
    let mut section = crate::sections::number(kept.0);
    section.extend(kept.1);
    Ok(section)
}

/// The type of an import: what stands behind its two names and its kind.
fn described(import: &[u8]) -> Result<&[u8]> {
    let mut reader = BinaryReader::new(import, 0);
    reader.read_string()?;
    reader.read_string()?;
    reader.read_u8()?;
    Ok(&import[reader.original_position()..])
}
