//! Metrics of a run, for Prometheus: [`Serving`]. One thread answers one scrape after the other;
//! the run does not wait for it.

use super::program::Program;
use crate::args::RunOptions;
use crate::error::Error;
use crate::output;
use memfold::MemoryMetrics;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Bytes of a request, at the most.
const MOST: u64 = 16 << 10;
/// How long a client may take for each piece of its request.
const PATIENCE: Duration = Duration::from_secs(2);

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics are served until this is dropped.
pub(super) struct Serving {
    address: SocketAddr,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Begins to serve, if that is wanted, and says where.
    pub(super) fn begin(program: &Program, options: &RunOptions) -> Result<Option<Self>, Error> {
        let (Some(address), Some(memory)) = (options.metrics, program.memory()) else {
            return Ok(None);
        };
        let cannot = |source| Error::Metrics { address, source };
        let listener = TcpListener::bind(address).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let (metrics, end) = (memory.metrics(), Arc::new(AtomicBool::new(false)));
        let ended = end.clone();
        let serve = move || serve(&listener, &metrics, &ended);
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(serve)
            .map_err(cannot)?;
        output::complain(&format_args!("metrics at http://{address}/metrics"));
        Ok(Some(Self {
            address,
            end,
            thread: Some(thread),
        }))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Relaxed: the connection that follows orders it.
        self.end.store(true, Ordering::Relaxed);
        // So that it looks; where that cannot be, the thread ends with the process.
        let woken = TcpStream::connect_timeout(&self.address, PATIENCE).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

/// Ends when that is asked for.
fn serve(listener: &TcpListener, metrics: &MemoryMetrics, end: &AtomicBool) {
    for client in listener.incoming() {
        // Relaxed: see `drop`.
        if end.load(Ordering::Relaxed) {
            return;
        }
        // A client that goes away, or says nothing, is its own loss.
        let _ = client.and_then(|client| answer(&client, metrics));
    }
}

/// Reads one request, and answers it.
fn answer(client: &TcpStream, metrics: &MemoryMetrics) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(client.take(MOST)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // The rest of it, or else the client may lose the answer.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, body) = match first.split(' ').collect::<Vec<_>>().as_slice() {
        ["GET", "/metrics", ..] => ("200 OK", metrics.text()),
        ["GET", ..] => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET is answered\n".to_owned()),
    };
    let kind = if status.starts_with("200") {
        TYPE
    } else {
        "text/plain"
    };
    let mut out = client;
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
