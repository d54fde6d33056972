//! An HTTP server that answers each request in an instance of its own: a fork of a program that was
//! warmed up once, whatever another request did to its own. A request that takes too long is ended,
//! all of them together stay inside one budget.
//!
//! `http_server [--stock] [--idle INSTANCES] [--requests NUMBER]`
//!
//! * `--stock`: the same server on stock Wasmtime, with its pooling allocator; each instance is
//!   warmed up by itself.
//! * `--idle`: so many warm instances, each of which was asked once, stay beside the requests.
//! * `--requests`: ends after so many, when their connections are closed, and says what it held.
//!
//! `cargo xtask demo --http` has a load generator drive both.

mod program;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use memfold_wasmtime::Error;
use program::{Live, Program};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use wasmtime::Trap;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// All memory of all instances.
const BUDGET_BYTES: u64 = 128 << 20;
/// Instances that the pool of stock Wasmtime has room for besides those that are idle.
const AT_ONCE: u32 = 256;
/// Whether enough was served is asked so often while nobody connects.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What was asked for on the command line.
#[derive(Clone, Copy)]
struct Options {
    stock: bool,
    idle: u32,
    requests: u64,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Options {
            stock: false,
            idle: 0,
            requests: u64::MAX,
        };
        while let Some(word) = words.next() {
            let mut number = || words.next().ok_or("a number is missing");
            match word.as_str() {
                "--stock" => options.stock = true,
                "--idle" => options.idle = number()?.parse()?,
                "--requests" => options.requests = number()?.parse()?,
                _ => return Err(format!("there is no option `{word}`").into()),
            }
        }
        Ok(options)
    }
}

/// What all requests share.
struct Server {
    program: Program,
    served: AtomicU64,
}

impl Server {
    async fn new(options: Options) -> Result<Arc<Self>, Failure> {
        let program = match options.stock {
            true => Program::stock(options.idle + AT_ONCE)?,
            false => Program::memfold(BUDGET_BYTES).await?,
        };
        Ok(Arc::new(Server {
            program,
            served: AtomicU64::new(0),
        }))
    }

    /// So many instances that were asked once.
    async fn idle(&self, count: u32) -> Result<Vec<Live>, Error> {
        let mut idle = Vec::new();
        for n in 0..count {
            let mut instance = self.program.instance().await?;
            instance.look_up(&format!("/{n}")).await?;
            instance.idle()?;
            idle.push(instance);
        }
        Ok(idle)
    }

    /// Answers whoever connects, until so many requests were served and their connections closed.
    async fn serve(self: &Arc<Self>, listener: &TcpListener, requests: u64) -> Result<(), Failure> {
        let mut connections = JoinSet::new();
        // Relaxed: nothing else is passed by it.
        while self.served.load(Ordering::Relaxed) < requests {
            while connections.try_join_next().is_some() {}
            let Ok(accepted) = tokio::time::timeout(LOOK_EVERY, listener.accept()).await else {
                continue;
            };
            let (server, stream) = (Arc::clone(self), TokioIo::new(accepted?.0));
            let answer = service_fn(move |request| answer(Arc::clone(&server), request));
            connections.spawn(http1::Builder::new().serve_connection(stream, answer));
        }
        // A client that went away in the middle is no failure of ours.
        connections.join_all().await;
        Ok(())
    }
}

/// Looks the request's path up, in an instance for this request alone.
async fn answer(server: Arc<Server>, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let (head, _) = request.into_parts();
    let outcome = async {
        let mut instance = server.program.instance().await?;
        instance.look_up(head.uri.path()).await
    };
    let (status, body) = match outcome.await {
        Ok(Some(leads)) => (StatusCode::OK, leads),
        Ok(None) => (StatusCode::NOT_FOUND, String::new()),
        Err(error) => (status_of(&error), error.to_string()),
    };
    // Relaxed: as above.
    server.served.fetch_add(1, Ordering::Relaxed);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    Ok(response)
}

fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::Program(error) if error.downcast_ref() == Some(&Trap::Interrupt) => {
            StatusCode::GATEWAY_TIMEOUT
        }
        // The budget is spent, or the pool.
        Error::Memory(_) | Error::MemoryLost { .. } | Error::Instantiate(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn run(options: Options) -> Result<(), Failure> {
    let server = Server::new(options).await?;
    let idle = server.idle(options.idle).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    server.serve(&listener, options.requests).await?;
    println!(
        "{} requests beside {} idle instances",
        server.served.load(Ordering::Relaxed), // Relaxed: as above.
        idle.len()
    );
    if let Some(usage) = server.program.usage() {
        let peak = usage.peak;
        println!("held at most {peak} bytes of a budget of {BUDGET_BYTES}");
        println!(
            "now {}: {} of pages, {} of tables; at the most {} of page tables, and {} that the kernel may copy by itself",
            usage.total,
            usage.private + usage.pool + usage.stored,
            usage.tables,
            usage.page_tables,
            usage.native
        );
    }
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn main() -> Result<(), Failure> {
    let options = Options::read(std::env::args().skip(1))?;
    runtime()?.block_on(run(options))
}

#[cfg(test)]
mod tests {
    //! Goal: both servers answer each request rightly, beside idle instances, and end a request
    //! that takes too long. Method: clients of our own, 64 at once.
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// The status of an answer, and its body.
    async fn get(address: SocketAddr, path: &str) -> Result<(u16, String), Failure> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: links\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("there is no body")?;
        let status = head.split(' ').nth(1).ok_or("there is no status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    async fn client(address: SocketAddr, first: u64) -> Result<(), Failure> {
        for n in [first, 19_999 - first] {
            assert_eq!(get(address, &format!("/{n}")).await?, (200, program::link(n)));
        }
        assert_eq!(get(address, "/none").await?, (404, String::new()));
        if first == 13 {
            assert_eq!(get(address, "/!").await?.0, 504);
        }
        Ok(())
    }

    async fn answers(stock: bool) -> Result<(), Failure> {
        let (idle, requests) = (20, 64 * 3 + 1);
        let options = Options {
            stock,
            idle,
            requests,
        };
        let server = Server::new(options).await?;
        let mut idle = server.idle(idle).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let clients: Vec<_> = (0..64)
            .map(|first| tokio::spawn(client(address, first)))
            .collect();
        server.serve(&listener, requests).await?;
        for client in clients {
            client.await??;
        }
        // They have waited meanwhile.
        for (n, instance) in (0..).zip(&mut idle) {
            assert_eq!(instance.look_up(&format!("/{n}")).await?, Some(program::link(n)));
        }
        assert!(
            server
                .program
                .usage()
                .is_none_or(|usage| usage.peak <= BUDGET_BYTES)
        );
        Ok(())
    }

    #[test]
    fn forks_answer() -> Result<(), Failure> {
        runtime()?.block_on(answers(false))
    }

    #[test]
    fn stock_answers() -> Result<(), Failure> {
        runtime()?.block_on(answers(true))
    }

    #[test]
    fn options_are_read() {
        let read = |words: &str| Options::read(words.split_whitespace().map(str::to_owned));
        let options = read("--stock --idle 7").expect("it is one");
        assert_eq!(
            (options.stock, options.idle, options.requests),
            (true, 7, u64::MAX)
        );
        for wrong in ["--idle", "--idle many", "--loud"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
