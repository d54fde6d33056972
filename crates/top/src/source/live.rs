//! A process that runs: what its socket tells, and the samples of the last minute or so, so that
//! one can stop and look back.

use super::{Source, SourceError, title};
use crate::window::{LONGEST, Window};
use memfold_record::{Decoder, RecordError, Sample, Schema, own_sockets, socket_directory};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Samples that are kept.
const KEPT: usize = 2 * LONGEST;
/// How long the first sample may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Live {
    stream: UnixStream,
    decoder: Decoder,
    schema: Schema,
    samples: VecDeque<Sample>,
    /// Why nothing more comes.
    ended: Option<String>,
}

impl Live {
    /// Connects, and waits for the first sample.
    pub fn connect(path: &Path) -> Result<Self, SourceError> {
        let (stream, decoder, first) = greet(path, Decoder::next_sample)?;
        let refused = |source| SourceError::Connect {
            path: path.to_owned(),
            source,
        };
        stream.set_nonblocking(true).map_err(refused)?;
        let schema = decoder.schema().cloned().unwrap_or_default();
        Ok(Self {
            stream,
            decoder,
            schema,
            samples: VecDeque::from([first]),
            ended: None,
        })
    }

    /// The one process of this user that can be looked at.
    pub fn own() -> Result<Self, SourceError> {
        let mut there = Vec::new();
        for path in own_sockets()? {
            match greet(&path, |decoder| {
                decoder.next_sample()?;
                Ok(decoder.schema().cloned())
            }) {
                Ok((_, _, schema)) => there.push((path, title(&schema))),
                // Of a process that ended without taking it away.
                Err(SourceError::Connect { source, .. }) if source.kind() == ErrorKind::ConnectionRefused => {
                    let _ = std::fs::remove_file(&path);
                }
                Err(_) => (),
            }
        }
        match there.as_slice() {
            [] => Err(SourceError::Nobody {
                directory: socket_directory()?,
            }),
            [(path, _)] => Self::connect(path),
            several => {
                let line = |(path, title): &(PathBuf, String)| format!("{}  # {title}", path.display());
                Err(SourceError::Several {
                    sockets: several.iter().map(line).collect(),
                })
            }
        }
    }

    fn take(&mut self) -> bool {
        let mut new = false;
        loop {
            match self.decoder.next_sample() {
                Ok(Some(sample)) => {
                    if self.samples.len() == KEPT {
                        self.samples.pop_front();
                    }
                    self.samples.push_back(sample);
                    new = true;
                }
                Ok(None) => return new,
                Err(error) => {
                    self.ended = Some(error.to_string());
                    return true;
                }
            }
        }
    }
}

/// Connects and reads until there is what `wanted` waits for.
fn greet<T>(
    path: &Path,
    mut wanted: impl FnMut(&mut Decoder) -> Result<Option<T>, RecordError>,
) -> Result<(UnixStream, Decoder, T), SourceError> {
    let path = || path.to_owned();
    let refused = |source| SourceError::Connect { path: path(), source };
    let mut stream = UnixStream::connect(path()).map_err(refused)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(refused)?;
    let (begin, mut decoder, mut bytes) = (Instant::now(), Decoder::new(), [0; 4096]);
    while begin.elapsed() < PATIENCE {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => decoder.push(&bytes[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(source) => return Err(refused(source)),
        }
        let found = wanted(&mut decoder).map_err(|source| SourceError::Record { path: path(), source })?;
        if let Some(found) = found {
            return Ok((stream, decoder, found));
        }
    }
    Err(SourceError::Silent { path: path() })
}

impl Source for Live {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn title(&self) -> String {
        title(&self.schema)
    }

    fn poll(&mut self) -> bool {
        let mut new = false;
        let mut bytes = [0; 1 << 16];
        while self.ended.is_none() {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = Some("the process has ended, or records no more".to_owned()),
                Ok(read) => self.decoder.push(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return new,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => self.ended = Some(error.to_string()),
            }
            new |= self.take() | self.ended.is_some();
        }
        new
    }

    fn len(&self) -> usize {
        self.samples.len()
    }

    fn at_us(&self, sample: usize) -> u64 {
        self.samples[sample].at_us
    }

    fn window(&self, sample: usize) -> Window {
        let first = (sample + 1).saturating_sub(LONGEST);
        let mut window = Window::new(&self.schema);
        self.samples
            .range(first..=sample)
            .for_each(|sample| window.push(sample));
        window
    }

    fn ending(&self) -> Option<String> {
        self.ended.clone()
    }

    fn is_live(&self) -> bool {
        self.ended.is_none()
    }
}
