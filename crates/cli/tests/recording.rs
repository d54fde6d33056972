//! Goal: what a run records says the same as its report, and can be looked at: as a screen, as a
//! page, and while it goes on. Method: small runs; the numbers of the three beside `--json`.

mod common;

use common::{Done, SMALL, done, memfold, module};
use memfold::record::{Made, Recording, Sample};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

fn path(name: &str) -> PathBuf {
    let name = format!("recording-{}-{name}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn last(recording: &Recording) -> Sample {
    recording.sample(recording.len() - 1).expect("it is whole")
}

/// A number of the report, and the series that has it.
const SAME: [(&str, &str); 9] = [
    ("budget_bytes", "budget.limit"),
    ("held_bytes", "held.total"),
    ("peak_bytes", "held.peak"),
    ("shared_bytes", "held.shared"),
    ("private_bytes", "held.private"),
    ("compressed_bytes", "held.compressed"),
    ("table_bytes", "held.tables"),
    ("page_table_bytes", "held.page_tables"),
    ("evictions", "count.evictions"),
];

#[test]
fn a_record_its_page_and_its_screen_say_what_the_report_says() {
    let (module, record, page) = (module(SMALL), path("same"), path("same.html"));
    let (record_name, page_name) = (record.display(), page.display());
    let words = format!(
        "run {module} --clones 9 --warm warm --call run --calls 3 --budget 16MiB --json --no-socket \
         --record {record_name} --report {page_name}"
    );
    let report = done(&words).fine();
    let recording = Recording::open(&record).expect("it is a record");
    let (sample, schema) = (last(&recording), recording.schema());
    let page_text = fs::read_to_string(&page).expect("it was written");
    for (field, series) in SAME {
        let expected = report[field].as_u64();
        assert_eq!(sample.value(schema, series), expected, "{field}: {report}");
    }
    for field in ["held_bytes", "shared_bytes", "private_bytes", "table_bytes"] {
        let data = format!("<data value=\"{}\">", report[field]);
        assert!(page_text.contains(&data), "{field}: {data}");
    }
    // The fresh instance, and clones of the snapshot, which is needed no more.
    let frozen: Vec<_> = sample
        .spaces
        .iter()
        .filter(|(_, row)| row.made == Made::Frozen)
        .collect();
    let [(template, _)] = frozen.as_slice() else {
        panic!("one is frozen: {:?}", sample.spaces)
    };
    let clones: Vec<_> = sample
        .spaces
        .values()
        .filter(|row| row.made == Made::Forked)
        .collect();
    assert!(clones.iter().all(|row| row.own().is_some_and(|own| own >= 1)));
    assert!(
        clones
            .iter()
            .all(|row| row.parent == clones[0].parent && row.parent > Some(**template))
    );
    assert_eq!(clones.len(), 9);
    let mut marks = Vec::new();
    let all = recording.each(0..recording.len(), |sample| marks.extend(sample.marks.clone()));
    all.expect("they are whole");
    assert_eq!(marks, ["warm up", "fork", "calls"]);

    let screen = done(&format!("top --replay {record_name} --once 120x40"));
    let held = memfold_size::show(report["held_bytes"].as_u64().expect("it is held"));
    screen.shows(&[
        &format!("held {held} of 16.0 MiB ("),
        "of 16.0 MiB (",
        "11 by holds",
        &format!("#{template} frozen"),
    ]);
    let again = done(&format!("report {record_name} -o {page_name}"));
    assert_eq!((again.status, again.stderr.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(&page).expect("it was written"), page_text);
    fs::remove_file(record).expect("it is there");
    fs::remove_file(page).expect("it is there");
}

#[test]
fn a_page_alone_leaves_no_record() {
    let (module, page) = (module(SMALL), path("alone.html"));
    let run = done(&format!(
        "run {module} --warm warm --call run --no-socket --report {}",
        page.display()
    ));
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(page.exists() && !path("alone.html.record").exists() && !path("alone.html.part").exists());
    fs::remove_file(page).expect("it is there");
}

/// Endless, with a page of its own.
const ENDLESS: &str = r#"(module (memory (export "memory") 4)
  (func (export "warm") (i32.store (i32.const 65536) (i32.const 7)))
  (func (export "run") (i32.store (i32.const 0) (i32.const 1)) (loop $l (br $l))))"#;

/// `memfold top`, where sockets are in this folder.
fn top(runtime: &Path, words: &str) -> Done {
    let mut command = memfold(&format!("top {words}"));
    let output = command.env("XDG_RUNTIME_DIR", runtime).output();
    Done::new(&output.expect("it was built"))
}

/// A run without an end, which ends with the test, however that ends.
struct Endless(Child);

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Such a run whose socket is in this folder.
fn endless(runtime: &Path) -> Endless {
    let words = "--clones 2 --warm warm --call run --budget 16MiB";
    let mut command = memfold(&format!("run {} {words}", module(ENDLESS)));
    command.env("XDG_RUNTIME_DIR", runtime);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Endless(child.expect("it was built"))
}

/// Looks again until it is as it should be, for a minute at the most.
fn until(look: impl Fn() -> Done, is_so: impl Fn(&Done) -> bool) -> Done {
    let begun = Instant::now();
    loop {
        let done = look();
        if is_so(&done) || begun.elapsed() > Duration::from_secs(60) {
            return done;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_run_can_be_looked_at_while_it_goes_on() {
    let runtime = path("runtime");
    fs::create_dir_all(&runtime).expect("the folder is writable");
    let top = |words: &str| top(&runtime, words);
    top("--once").refused(2, &["no process of yours serves a socket", "--replay"]);
    let first = endless(&runtime);
    let screen = until(|| top("--once 100x30"), |done| done.stdout.contains("4 by holds"));
    let title = format!("(process {})", first.0.id());
    screen.shows(&[
        "memfold top",
        &title,
        "held ",
        "of 16.0 MiB (",
        "live",
        "nobody waits",
        " frozen",
    ]);
    let second = endless(&runtime);
    let several = until(|| top("--once"), |done| done.status == 2);
    let sockets = [&first, &second].map(|child| format!("{}.sock", child.0.id()));
    several.refused(2, &["several processes", &sockets[0], &sockets[1]]);
    let socket = runtime.join("memfold").join(&sockets[1]);
    let named = top(&format!("{} --once", socket.display()));
    named.shows(&[&format!("(process {})", second.0.id())]);
    drop((first, second));
    // Nobody listens there any more, and nothing is left of it.
    top("--once").refused(2, &["no process of yours"]);
    top(&format!("{} --once", socket.display())).refused(2, &["cannot connect"]);
    fs::remove_dir_all(runtime).expect("it is there");
}

#[test]
fn what_cannot_be_shown_or_written_is_said() {
    let module = module(SMALL);
    done("top --replay /nowhere --once").refused(2, &["cannot read the record /nowhere"]);
    done(&format!("top --replay {module} --once")).refused(2, &["no record of memfold's"]);
    done(&format!("report {module}")).refused(2, &["no record of memfold's"]);
    done("top --once 10x10").refused(2, &["10x10"]);
    let run = format!("run {module} --warm warm --no-socket");
    done(&format!("{run} --record /nowhere/at/all")).refused(2, &["cannot write the record /nowhere/at/all"]);
    done(&format!("{run} --record /dev/full")).refused(2, &["cannot write the record"]);
    let record = path("said");
    done(&format!("{run} --record {}", record.display())).shows(&["held"]);
    // Tests have no terminal.
    done(&format!("top --replay {}", record.display())).refused(2, &["needs a terminal", "--once"]);
    done(&format!("report {} -o /nowhere/at/all", record.display())).refused(2, &["cannot write the page"]);
    fs::remove_file(record).expect("it is there");
}

/// What a server of metrics answers.
fn asked(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// The address at which a run says that it serves metrics.
fn address(run: &mut Child) -> String {
    let mut said = String::new();
    let mut stderr = BufReader::new(run.stderr.take().expect("it is piped"));
    while !said.contains("/metrics") {
        assert_ne!(stderr.read_line(&mut said).expect("it is text"), 0, "{said}");
    }
    let address = said
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.strip_suffix("/metrics\n"));
    address
        .unwrap_or_else(|| panic!("no address in {said:?}"))
        .to_owned()
}

#[test]
fn metrics_are_served_while_a_run_goes_on() {
    let words = "--clones 2 --warm warm --call run --budget 16MiB --no-socket --metrics 0";
    let mut run = memfold(&format!("run {} {words}", module(ENDLESS)));
    let run = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut run = Endless(run.expect("it was built"));
    let address = address(&mut run.0);
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let begun = Instant::now();
    let text = loop {
        let text = asked(&address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        if text.contains("memfold_spaces_living 3\n") || begun.elapsed() > Duration::from_secs(60) {
            break text;
        }
    };
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text"),
        "{text}"
    );
    for line in [
        "memfold_budget_limit_bytes 16777216",
        "# TYPE memfold_faults counter",
        "# EOF",
    ] {
        assert!(text.lines().any(|other| other == line), "no {line:?} in {text}");
    }
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.and_then(|value| value.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let parts = [
        "private",
        "shared",
        "compressed",
        "tables",
        "page_tables",
        "native",
    ];
    let sum: u64 = parts
        .iter()
        .map(|part| value(&format!("memfold_held_{part}_bytes")))
        .sum();
    assert_eq!(sum, value("memfold_held_total_bytes"));
    assert!(asked(&address, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(asked(&address, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
}

/// Reports are the same with and without someone who looks on.
#[test]
fn recording_changes_nothing_of_a_run() {
    let (module, record) = (module(SMALL), path("nothing"));
    let words = format!(
        "run {module} --clones 20 --warm warm --call run --calls 5 --budget 16MiB --json --no-socket"
    );
    let plain = done(&words).fine();
    let recorded = done(&format!("{words} --record {}", record.display())).fine();
    let field = |report: &Value, name: &str| report[name].clone();
    for name in [
        "digest",
        "completed",
        "calls_answered",
        "evictions",
        "logical_bytes",
        "private_bytes",
    ] {
        assert_eq!(field(&plain, name), field(&recorded, name), "{name}");
    }
    fs::remove_file(record).expect("it is there");
}
