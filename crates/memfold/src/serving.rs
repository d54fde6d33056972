//! A Unix socket behind which a record can be read while it is made: [`Serving`].
//!
//! Each reader gets a record of its own, from a whole sample on. What a reader has not taken yet is
//! kept, one sample at the most; until it is taken, the reader misses samples, and nobody waits for
//! it. Nothing is read from readers. Used by the thread that records, alone.

use memfold_record::{Encoder, Sample, Schema};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// So that two sockets that are made at once do not meet.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Readers at a time; more are turned away.
const MOST_READERS: usize = 8;

#[derive(Debug)]
pub(crate) struct Serving {
    listener: UnixListener,
    path: PathBuf,
    readers: Vec<Reader>,
    /// Who made the socket: a child of `fork(2)` must not take it away.
    process: u32,
}

#[derive(Debug)]
struct Reader {
    stream: UnixStream,
    encoder: Encoder,
    /// What it has not taken yet.
    left: Vec<u8>,
}

impl Serving {
    /// Listens at this path, which nobody but the user may connect to (mode 0600). A socket that is
    /// there is replaced.
    pub fn at(path: &Path) -> io::Result<Self> {
        let no_name = || io::Error::new(ErrorKind::InvalidInput, "the path names no file");
        let name = path.file_name().ok_or_else(no_name)?;
        if fs::symlink_metadata(path).is_ok_and(|there| there.is_file() || there.is_dir()) {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "there is something else than a socket",
            ));
        }
        // In a directory that nobody else may enter, until nobody else may connect to it.
        // Relaxed: a number on its own.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_file_name(format!(".memfold-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&beside)?;
        let place = || {
            let made = beside.join(name);
            let listener = UnixListener::bind(&made)?;
            listener.set_nonblocking(true)?;
            fs::set_permissions(&made, Permissions::from_mode(0o600))?;
            fs::rename(&made, path).inspect_err(|_| drop(fs::remove_file(&made)))?;
            Ok(listener)
        };
        let placed: io::Result<_> = place();
        let _ = fs::remove_dir(&beside);
        Ok(Self {
            listener: placed?,
            path: path.to_owned(),
            readers: Vec::new(),
            process: std::process::id(),
        })
    }

    /// Lets those in who wait.
    pub fn accept(&mut self, schema: &Schema) {
        // Ends: at most so many wait as the system keeps waiting.
        while let Ok((stream, _)) = self.listener.accept() {
            if self.readers.len() < MOST_READERS && stream.set_nonblocking(true).is_ok() {
                let encoder = Encoder::new(schema);
                let left = encoder.begin();
                self.readers.push(Reader {
                    stream,
                    encoder,
                    left,
                });
            }
        }
    }

    pub fn has_readers(&self) -> bool {
        !self.readers.is_empty()
    }

    /// A sample for all readers that have taken the one before; those that are gone are forgotten.
    pub fn send(&mut self, sample: &Sample) {
        self.readers.retain_mut(|reader| reader.send(sample).is_ok());
    }
}

impl Reader {
    fn send(&mut self, sample: &Sample) -> io::Result<()> {
        self.push()?;
        if self.left.is_empty() {
            self.left = self.encoder.sample(sample);
            self.push()?;
        }
        Ok(())
    }

    /// Writes as much as the reader has room for.
    fn push(&mut self) -> io::Result<()> {
        // Ends: each turn writes bytes.
        while !self.left.is_empty() {
            match self.stream.write(&self.left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.left.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
