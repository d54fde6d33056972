//! A server whose requests run in forks, driven by a load generator (ab, of Apache), beside the
//! same server on stock Wasmtime: the example `http_server` of `crates/wasmtime`.

use super::{number, verdict};
use crate::shell::{self, Build};
use crate::table;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

const REQUESTS: u64 = 5000;
const AT_ONCE: u32 = 64;
/// Warm instances that wait beside the requests.
const IDLE: u32 = 1000;
/// As in the example.
const BUDGET: u64 = 128 << 20;

const HEADING: &str = "server|answered|p50|p99|a second|inside|outside|process|verdict";
const LEGEND: &str = "
inside: the most that memfold's own budget counted. outside: pages of the images (pool and windows) and page tables.
process: all memory of the process and all page tables. Outside and process are the kernel's, read by another process.";

/// Drives both; an error when a request was not answered, or memfold's was not inside its budget.
pub(super) fn run(output: &Path) -> Result<()> {
    if !shell::succeeds(shell::command("ab -V")) {
        shell::script("install", &["apache2-utils".to_owned()])?;
    }
    let build =
        "build --release --quiet -p memfold-cli -p memfold-wasmtime --bin memfold --example http_server";
    shell::run(Build::Plain.cargo(build))?;
    let mut rows = vec![HEADING.split('|').map(str::to_owned).collect::<Vec<_>>()];
    let mut red = 0;
    for (name, how) in [("memfold", ""), ("stock", " --stock")] {
        let served = drive(output, name, how).with_context(|| format!("{name} (see target/demo/)"))?;
        let failures = served.failures(how.is_empty());
        red += failures.len();
        rows.push(served.cells(name, &failures));
    }
    println!("\n{}", table::render(&rows));
    println!(
        "{REQUESTS} requests, {AT_ONCE} at once, beside {IDLE} idle instances; budget {}{LEGEND}",
        table::bytes(BUDGET)
    );
    ensure!(red == 0, "{red} promises were not kept");
    Ok(())
}

/// What ab, the server and the kernel say.
struct Served {
    load: String,
    percentiles: String,
    server: String,
    peaks: Value,
}

/// Starts a server under observation, and has it answer.
fn drive(output: &Path, name: &str, how: &str) -> Result<Served> {
    let file = |end: &str| output.join(format!("http-{name}{end}"));
    let (seen, percentiles) = (file("-outside.json"), file(".csv"));
    let release = shell::target().join("release").display().to_string();
    let mut command = shell::command(&format!(
        "{release}/memfold peak --json --output {} -- {release}/examples/http_server --idle {IDLE} --requests {REQUESTS}{how}",
        seen.display()
    ));
    command.stdout(Stdio::piped()).stderr(File::create(file(".log"))?);
    println!("$ {}", shell::describe(&command));
    let mut child = command.spawn().context("cannot start the server")?;
    let mut said = BufReader::new(child.stdout.take().context("it has no output")?).lines();
    let load = said.next().context("the server has not begun").and_then(|line| {
        let line = line?;
        let address = line.strip_prefix("listening on ").context("it says no address")?;
        let ab = format!(
            "ab -q -k -n {REQUESTS} -c {AT_ONCE} -e {} {address}/12345",
            percentiles.display()
        );
        println!("$ {ab}");
        shell::read(shell::command(&ab))
    });
    if load.is_err() {
        end(&child);
    }
    let status = child.wait()?;
    let load = load?;
    ensure!(status.success(), "the server: {status}");
    Ok(Served {
        load,
        percentiles: fs::read_to_string(percentiles)?,
        server: said.collect::<Result<Vec<_>, _>>()?.join("\n"),
        peaks: serde_json::from_str(&fs::read_to_string(seen)?)?,
    })
}

/// Ends the server, which is the only child of the command that watches it.
fn end(watching: &Child) {
    let id = watching.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    for server in children.unwrap_or_default().split_whitespace() {
        shell::succeeds(shell::command(&format!("kill {server}")));
    }
}

impl Served {
    /// The first word behind what a line of ab's begins with.
    fn said(&self, what: &str) -> Option<&str> {
        let mut lines = self.load.lines();
        lines.find_map(|line| line.trim().strip_prefix(what)?.split_whitespace().next())
    }

    /// Requests that were answered with what was asked for.
    fn answered(&self) -> Option<u64> {
        let count = |what| self.said(what).map(str::parse::<u64>);
        let complete = count("Complete requests:")?.ok()?;
        let none = || Some(Ok(0));
        let failed = count("Failed requests:")?.ok()? + count("Non-2xx responses:").or_else(none)?.ok()?;
        complete.checked_sub(failed)
    }

    /// Milliseconds within which so many percent were answered.
    fn percentile(&self, percent: u32) -> Option<f64> {
        let begin = format!("{percent},");
        let mut lines = self.percentiles.lines();
        lines.find_map(|line| line.strip_prefix(&begin)?.trim().parse().ok())
    }

    /// The most that memfold's budget has counted.
    fn inside(&self) -> Option<u64> {
        let (_, rest) = self.server.split_once("held at most ")?;
        rest.split(' ').next()?.parse().ok()
    }

    fn failures(&self, is_memfold: bool) -> Vec<String> {
        let mut failures = Vec::new();
        if self.answered() != Some(REQUESTS) {
            failures.push("not all were answered".to_owned());
        }
        let seen = [
            ("inside", self.inside().unwrap_or(u64::MAX)),
            ("outside", number(&self.peaks, "kernel_bytes")),
        ];
        for (name, bytes) in seen {
            if is_memfold && bytes > BUDGET {
                failures.push(format!("{name} over budget"));
            }
        }
        if is_memfold && self.peaks["stopped_samples"].as_u64().unwrap_or(0) == 0 {
            failures.push("outside: no sample".to_owned());
        }
        failures
    }

    fn cells(&self, name: &str, failures: &[String]) -> Vec<String> {
        let time = |percent| {
            self.percentile(percent)
                .map_or("-".to_owned(), |ms| format!("{ms:.1} ms"))
        };
        let whole =
            number(&self.peaks, "process_bytes").saturating_add(number(&self.peaks, "page_table_bytes"));
        let outside = self.inside().map(|_| number(&self.peaks, "kernel_bytes"));
        let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), table::bytes);
        vec![
            name.to_owned(),
            self.answered().map_or("-".to_owned(), |count| count.to_string()),
            time(50),
            time(99),
            self.said("Requests per second:").unwrap_or("-").to_owned(),
            bytes(self.inside()),
            bytes(outside),
            bytes(Some(whole)),
            verdict(failures),
        ]
    }
}

#[cfg(test)]
mod tests {
    //! Goal: what was said is read, and what was not said is no pass. Method: pieces of real
    //! output.
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_said_is_read() {
        let mut served = Served {
            load: "Complete requests:      5000\nFailed requests:        0\nRequests per second:    2117.32 [#/sec]".into(),
            percentiles: "Percentage served,Time in ms\n5,1.5\n50,29.250\n99,61.7\n".into(),
            server: "5000 requests beside 1000 idle instances\nheld at most 4096 bytes of a budget of 134217728".into(),
            peaks: json!({
                "kernel_bytes": 8192, "process_bytes": 16384, "page_table_bytes": 4096, "stopped_samples": 2
            }),
        };
        assert_eq!(served.failures(true), Vec::<String>::new());
        let cells = served.cells("memfold", &[]).join("|");
        let right = "memfold|5000|29.2 ms|61.7 ms|2117.32|4.0 KiB|8.0 KiB|20.0 KiB|PASS";
        assert_eq!(cells, right);
        served.load += "\nNon-2xx responses:      3";
        assert_eq!(served.failures(true).len(), 1);
        served.server.clear();
        served.peaks = json!({});
        assert_eq!(
            (served.failures(true).len(), served.failures(false).len()),
            (4, 1)
        );
        served.load.clear();
        assert_eq!(served.answered(), None);
    }
}
