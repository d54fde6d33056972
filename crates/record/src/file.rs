//! A record in a file that stays within a size: [`RecordFile`].
//!
//! Samples are put at the end, one write each. Where the next one would pass the size, the older
//! half loses every second sample, over and over as time goes on, so that what is long ago is told
//! in larger and larger steps. The shorter record is written beside the old one and takes its
//! place in one step: whoever looks finds the one or the other. One writer, who may be any thread.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::frame::RecordError;
use crate::sample::{Sample, Schema};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file has room for so many bytes at the least.
const LEAST: u64 = 64 << 10;
/// What is left after thinning, of the most bytes: three quarters.
const LEFT: (u64, u64) = (3, 4);

/// Writes a record to a file.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    file: File,
    encoder: Encoder,
    schema: Schema,
    most: u64,
    len: u64,
    samples: u64,
}

impl RecordFile {
    /// Begins a record of at most `most_bytes` (64 KiB at the least) in this file, which is
    /// replaced if it is there, and which nobody but its owner may read or write (mode 0600).
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path, schema: &Schema, most_bytes: u64) -> io::Result<Self> {
        // Not emptied: it may be open, and its next reader may be in the middle of it.
        match fs::symlink_metadata(path) {
            Ok(there) if there.is_file() => fs::remove_file(path)?,
            _ => (),
        }
        let encoder = Encoder::new(schema);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let begin = encoder.begin();
        file.write_all(&begin)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            encoder,
            schema: schema.clone(),
            most: most_bytes.max(LEAST),
            len: begin.len() as u64,
            samples: 0,
        })
    }

    /// Bytes of the file now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Puts a sample at the end. Takes time in proportion to what differs from the one before, and
    /// when the file is full, to its size. A sample that alone is more than the file may have is
    /// left out.
    ///
    /// # Errors
    /// What the system says; what was written before can be read.
    pub fn write(&mut self, sample: &Sample) -> io::Result<()> {
        let mut encoder = self.encoder.clone();
        let mut bytes = encoder.sample(sample);
        // Ends: each turn leaves half of the older half, and one sample is never thinned.
        while self.len + bytes.len() as u64 > self.most && self.samples > 1 {
            self.thin()?;
            encoder = self.encoder.clone();
            bytes = encoder.sample(sample);
            if self.len <= self.most / LEFT.1 * LEFT.0 {
                break;
            }
        }
        if self.len + bytes.len() as u64 > self.most {
            return Ok(());
        }
        self.file.write_all(&bytes)?;
        self.encoder = encoder;
        self.len += bytes.len() as u64;
        self.samples += 1;
        Ok(())
    }

    /// Writes the record again without every second sample of its older half.
    fn thin(&mut self) -> io::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".thinned");
        let beside = PathBuf::from(beside);
        let written = self.write_thinned(&beside);
        let placed = written.and_then(|thinned| fs::rename(&beside, &self.path).map(|()| thinned));
        if placed.is_err() {
            let _ = fs::remove_file(&beside);
        }
        *self = placed?;
        Ok(())
    }

    fn write_thinned(&self, beside: &Path) -> io::Result<Self> {
        let mut thinned = Self::create(beside, &self.schema, self.most)?;
        thinned.path.clone_from(&self.path);
        let mut out = BufWriter::new(&thinned.file);
        let (mut no, mut kept, mut marks) = (0, 0, Vec::new());
        let mut from = Samples::new(File::open(&self.path)?);
        while let Some(mut sample) = from.next()? {
            no += 1;
            // The newest of two: then the last one of the record stays.
            if no * 2 <= self.samples && no % 2 == 1 {
                marks.append(&mut sample.marks);
                continue;
            }
            marks.append(&mut sample.marks);
            sample.marks = std::mem::take(&mut marks);
            let bytes = thinned.encoder.sample(&sample);
            out.write_all(&bytes)?;
            thinned.len += bytes.len() as u64;
            kept += 1;
        }
        out.flush()?;
        drop(out);
        thinned.samples = kept;
        Ok(thinned)
    }
}

/// The samples of a file, one after the other.
struct Samples {
    from: BufReader<File>,
    decoder: Decoder,
}

impl Samples {
    fn new(file: File) -> Self {
        let (from, decoder) = (BufReader::new(file), Decoder::new());
        Self { from, decoder }
    }

    /// The next one; nothing at the end.
    fn next(&mut self) -> io::Result<Option<Sample>> {
        let bad = |error: RecordError| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut piece = [0; 8192];
        // Ends with the file.
        loop {
            if let Some(sample) = self.decoder.next_sample().map_err(bad)? {
                return Ok(Some(sample));
            }
            match self.from.read(&mut piece)? {
                0 => return Ok(None),
                bytes => self.decoder.push(&piece[..bytes]),
            }
        }
    }
}

#[cfg(test)]
mod tests;
