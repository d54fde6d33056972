//! Recording: what a memory holds and does, over time, to a file or for those who look on.
//!
//! One thread of memfold's takes the samples, so that nobody else waits for a file or a reader. It
//! uses at most [`SHARE`] of a core: where a sample takes longer (many spaces), there are fewer. It
//! holds the memory only weakly while it sleeps, and ends with it. While a socket has no reader
//! and there is no file, nothing is sampled and nothing timed.

use crate::inner::Inner;
use crate::memory::Memory;
use crate::sampler::Sampler;
use crate::serving::Serving;
use memfold_linux::{spawn_quiet, thread_cpu_time};
use memfold_record::{RecordFile, Schema};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the thread may use of a core, in the long run.
const SHARE: f64 = 0.005;
/// How often it looks for readers while there is nothing to record.
const IDLE: Duration = Duration::from_millis(250);
/// Marks that wait for a sample; more are forgotten.
const MOST_MARKS: usize = 1000;
/// How long the last sample may look at pages, so that it has all.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Why nothing is recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The file cannot be written.
    #[error("cannot write the record {}: {source}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen at the socket {}: {source}", .path.display())]
    Socket {
        /// Which socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no directory for sockets.
    #[error(transparent)]
    Place(#[from] memfold_record::PlaceError),
    /// The system refuses a thread.
    #[error("cannot start the thread that records: {0}")]
    Thread(#[source] io::Error),
    /// This process is a child of `fork(2)`, and the memory is its parent's.
    #[error(transparent)]
    Forked(#[from] crate::Error),
}

/// What is recorded, and where to. Made by [`Memory::recorder`].
#[derive(Clone, Debug)]
pub struct RecorderBuilder {
    memory: Memory,
    file: Option<PathBuf>,
    most_bytes: u64,
    interval: Duration,
    socket: Option<Place>,
    labels: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum Place {
    Path(PathBuf),
    Own,
}

impl Memory {
    /// Records what the memory holds and does to a file, ten samples a second, until the
    /// [`Recorder`] is dropped. The same as [`recorder`](Self::recorder) with a file alone; the
    /// format is that of [`memfold_record`](crate::record), and `memfold top --replay` shows it.
    ///
    /// # Errors
    /// [`RecordingError`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let name = format!("memfold-doc-{}.record", std::process::id());
    /// # let path = std::env::temp_dir().join(name);
    /// let memory = memfold::Memory::builder().budget_bytes(16 << 20).build()?;
    /// let recorder = memory.record(&path)?;
    /// let space = memory.create(memfold::SpaceSize::fixed(1 << 20))?;
    /// space.write(0, b"something to hold")?;
    /// recorder.mark("written");
    /// recorder.finish()?;
    ///
    /// let record = memfold::record::Recording::open(&path)?;
    /// let last = record.sample(record.len() - 1)?;
    /// let held = last.value(record.schema(), "held.private");
    /// assert!(held.is_some_and(|bytes| bytes >= 4096));
    /// # std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(&self, path: impl AsRef<Path>) -> Result<Recorder, RecordingError> {
        self.recorder().file(path).start()
    }

    /// Says what to record; nothing is recorded until it is [started](RecorderBuilder::start).
    ///
    /// A memory may have several recorders.
    #[must_use]
    pub fn recorder(&self) -> RecorderBuilder {
        RecorderBuilder {
            memory: self.clone(),
            file: None,
            most_bytes: 16 << 20,
            interval: Duration::from_millis(100),
            socket: None,
            labels: Vec::new(),
        }
    }
}

impl RecorderBuilder {
    /// Records to a file, which is replaced if it is there, and which only its owner may read.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.file = Some(path.as_ref().to_owned());
        self
    }

    /// The most bytes of the file: 16 MiB by default, 64 KiB at the least. When it is full, its
    /// older half loses every second sample. Twice as much is on the disk for that moment.
    #[must_use]
    pub fn most_bytes(mut self, bytes: u64) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// The time between two samples: 100 milliseconds by default, 1 at the least. It is longer
    /// where samples would take more than 1/200 of a core.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Serves the record at a Unix socket as well, to at most eight readers of the same user
    /// (mode 0600). A reader that is slow misses samples; nobody waits for it. The socket is there
    /// until the recorder ends.
    #[must_use]
    pub fn socket(mut self, path: impl AsRef<Path>) -> Self {
        self.socket = Some(Place::Path(path.as_ref().to_owned()));
        self
    }

    /// The same at a path where `memfold top` looks for the processes of this user:
    /// `memfold/PID.sock` in `$XDG_RUNTIME_DIR`, or in `/tmp/memfold-UID` where that is not set.
    #[must_use]
    pub fn own_socket(mut self) -> Self {
        self.socket = Some(Place::Own);
        self
    }

    /// A fact about the process that is recorded once, as the name of a program; texts are cut
    /// after 256 bytes.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Begins to record.
    ///
    /// # Errors
    /// [`RecordingError`]; nothing is recorded then.
    pub fn start(self) -> Result<Recorder, RecordingError> {
        drop(self.memory.0.mm()?);
        let schema = Sampler::schema(self.labels);
        let socket = self.socket.map(Place::path).transpose()?;
        let serving = socket.as_deref().map(|path| {
            let socket = |source| RecordingError::Socket {
                path: path.to_owned(),
                source,
            };
            Serving::at(path).map_err(socket)
        });
        let serving = serving.transpose()?;
        let file = self.file.as_deref().map(|path| {
            let file = |source| RecordingError::File {
                path: path.to_owned(),
                source,
            };
            RecordFile::create(path, &schema, self.most_bytes).map_err(file)
        });
        let shared = Arc::new(Shared::default());
        let work = Work {
            inner: Arc::downgrade(&self.memory.0),
            shared: shared.clone(),
            schema,
            sampler: Sampler::new(),
            file: file.transpose()?,
            serving,
            interval: self.interval,
            timed: false,
        };
        let spawned = spawn_quiet("memfold-record", move || work.run());
        Ok(Recorder {
            thread: Some(spawned.map_err(RecordingError::Thread)?),
            shared,
            file: self.file,
            socket,
            process: std::process::id(),
        })
    }
}

impl Place {
    /// The path; the first one that is free where the directory is this user's.
    fn path(self) -> Result<PathBuf, RecordingError> {
        let directory = match self {
            Place::Path(path) => return Ok(path),
            Place::Own => memfold_record::socket_directory()?,
        };
        let pid = std::process::id();
        let mut path = directory.join(format!("{pid}.sock"));
        let mut next = 2;
        // Ends: a process has not so many sockets.
        while std::os::unix::net::UnixStream::connect(&path).is_ok() {
            path = directory.join(format!("{pid}-{next}.sock"));
            next += 1;
        }
        Ok(path)
    }
}

/// A recording that goes on until this is dropped, or the memory and all its spaces are.
///
/// In a child of `fork(2)` dropping it does nothing: it is the parent's.
#[derive(Debug)]
pub struct Recorder {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    file: Option<PathBuf>,
    socket: Option<PathBuf>,
    process: u32,
}

/// What the recorder tells its thread, and is told.
#[derive(Debug, Default)]
struct Shared {
    end: AtomicBool,
    marks: Mutex<Vec<String>>,
    failed: Mutex<Option<io::Error>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Notes in the next sample that something has happened, in a few words. Any thread; of more
    /// than a thousand between two samples the last ones are forgotten.
    pub fn mark(&self, what: &str) {
        let mut marks = locked(&self.shared.marks);
        if marks.len() < MOST_MARKS {
            marks.push(what.to_owned());
        }
    }

    /// Where readers connect, if it serves a socket.
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Takes a last sample, which looks at the pages of all spaces for at most a second, and ends.
    /// Dropping it does the same without saying what went wrong.
    ///
    /// # Errors
    /// [`RecordingError::File`] when something could not be written: what was written before that
    /// can be read.
    pub fn finish(mut self) -> Result<(), RecordingError> {
        self.end();
        match (locked(&self.shared.failed).take(), &self.file) {
            (Some(source), Some(path)) => Err(RecordingError::File {
                path: path.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take().filter(|_| self.process == std::process::id()) else {
            return;
        };
        // Release: marks that were made before are seen.
        self.shared.end.store(true, Ordering::Release);
        thread.thread().unpark();
        let _ = thread.join();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's.
struct Work {
    inner: Weak<Inner>,
    shared: Arc<Shared>,
    schema: Schema,
    sampler: Sampler,
    file: Option<RecordFile>,
    serving: Option<Serving>,
    interval: Duration,
    /// Whether it has said that steps are to be timed.
    timed: bool,
}

impl Work {
    fn run(mut self) {
        // Ends with the memory, or with the recorder.
        loop {
            // Acquire: sees the marks that were made before.
            let end = self.shared.end.load(Ordering::Acquire);
            let (begin, used) = (Instant::now(), thread_cpu_time());
            let Some(inner) = self.inner.upgrade() else { return };
            if let Some(serving) = &mut self.serving {
                serving.accept(&self.schema);
            }
            let wanted = self.file.is_some() || self.serving.as_ref().is_some_and(Serving::has_readers);
            self.time(&inner, wanted && !end);
            if wanted {
                self.sample(&inner, end);
            }
            drop(inner);
            if end {
                return;
            }
            let used = thread_cpu_time() - used;
            let due = if wanted {
                self.interval
                    .saturating_sub(begin.elapsed())
                    .max(used.div_f64(SHARE))
            } else {
                IDLE
            };
            thread::park_timeout(due);
        }
    }

    /// Has steps timed while that is wanted.
    fn time(&mut self, inner: &Inner, wanted: bool) {
        match (self.timed, wanted) {
            (false, true) => inner.timings.want(),
            (true, false) => inner.timings.leave(),
            _ => (),
        }
        self.timed = wanted;
    }

    fn sample(&mut self, inner: &Inner, last: bool) {
        let marks = std::mem::take(&mut *locked(&self.shared.marks));
        let time = if last {
            LAST_LOOK
        } else {
            self.interval.mul_f64(SHARE / 2.0)
        };
        let Some(sample) = self.sampler.sample(inner, marks, time) else {
            return;
        };
        if let Some(file) = &mut self.file
            && let Err(error) = file.write(&sample)
        {
            tracing::warn!(target: "memfold", "the record ends here: {error}");
            *locked(&self.shared.failed) = Some(error);
            self.file = None;
        }
        if let Some(serving) = &mut self.serving {
            serving.send(&sample);
        }
    }
}
