//! Goal: what is printed says what happened, and no number is dropped from the object. Method:
//! reports by hand.

use super::held::Faults;
use super::*;
use crate::run::failure::{Failed, Kind};

fn report() -> Report {
    let held = Held {
        held_bytes: 40 << 20,
        shared_bytes: 10 << 20,
        private_bytes: 20 << 20,
        compressed_bytes: 9 << 20,
        stored_bytes: 30 << 20,
        zero_bytes: 1 << 20,
        table_bytes: 1 << 20,
        page_table_bytes: 3 << 19,
        faults: Faults {
            total: 12_345,
            copied: 12_000,
            new_pages: 345,
            ..Faults::default()
        },
        evictions: 1,
        ..Held::default()
    };
    Report {
        program: "a.wasm".to_owned(),
        mode: "fork",
        clones: 1000,
        completed: 1000,
        failed: 0,
        interrupted: false,
        calls_answered: 20_000,
        digest: "0123456789abcdef".to_owned(),
        logical_bytes: 4 << 30,
        budget_bytes: Some(64 << 20),
        peak_bytes: 64 << 20,
        held: Some(held),
        merge: None,
        bytes_per_clone: Some(40 << 10),
        would_fit: Some(1600),
        times: Times {
            fork_us: Some(12.0),
            fork_us_p50: Some(12.0),
            fork_us_p99: Some(30.0),
            ..Times::default()
        },
        seconds: 2.0,
        phase_seconds: Seconds::default(),
        warnings: Vec::new(),
        failures: Vec::new(),
        areas: Vec::new(),
    }
}

#[test]
fn people_see_the_outcome_and_the_parts() {
    let text = report().text();
    for part in [
        "a.wasm: 1,000 clones of one warm instance: all done, 20,000 calls answered\n",
        "  shared      ██████▎   ",
        "were 30.0 MiB, 1.0 MiB of that zeros",
        "62.5 % of the budget",
        "100 % of the budget",
        "logical     4.0 GiB, of which 0.98 % are held",
        "40.0 KiB per clone; 1,600 clones like these would fit into the budget",
        "12,345: 345 new, 12,000 copied\n",
        "1 page (0 came back too soon)",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(
        text.lines()
            .all(|line| line.trim_end() == line && line.chars().count() <= 110),
        "{text}"
    );
}

#[test]
fn people_see_what_failed() {
    let mut report = report();
    report.failed = 7;
    report.completed = 993;
    report.failures.push(Failed {
        clone: 3,
        call: Some(4),
        kind: Kind::Trap,
        message: "unreachable (in run)".to_owned(),
    });
    let text = report.text();
    assert!(text.contains("FAILED; 993 of 1000 done, 7 failed"), "{text}");
    assert!(
        text.contains("clone 3, call 4: trap: unreachable (in run)\n"),
        "{text}"
    );
    assert!(text.contains("and 6 more clones"), "{text}");
    report.interrupted = true;
    assert!(report.text().contains("INTERRUPTED; so far 993"), "{text}");
}

#[test]
fn programs_get_one_flat_object() {
    let json = report().json();
    assert!(!json.contains('\n'));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["held_bytes"], 40 << 20);
    assert_eq!(value["faults"]["total"], 12_345);
    assert_eq!(value["fork_us"], value["fork_us_p50"]);
    assert_eq!(value["phase_seconds"]["compile"], 0.0);
}

#[test]
fn stock_runs_leave_out_what_they_do_not_have() {
    let mut report = report();
    report.held = None;
    report.budget_bytes = None;
    report.mode = "stock";
    report.times = Times::default();
    let value: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert!(value["budget_bytes"].is_null());
    assert!(value.get("shared_bytes").is_none() && value.get("fork_us").is_none());
    assert!(report.text().contains("on plain Wasmtime"));
}

#[test]
fn merging_is_reported() {
    let round = |pages_before, pages_after, calls_meanwhile| Round {
        pages_before,
        pages_after,
        merged_pages: 56_052,
        zero_pages: 400,
        seconds: 0.125,
        calls_meanwhile,
    };
    let mut report = report();
    report.merge = Some(Merged {
        first: Some(round(59_058, 3_197, 319)),
        background_pages: 1_270,
        background_cpu_percent: Some(1.98),
        last: Some(round(13_209, 12_543, 0)),
        shared_pages: 1_144,
        saved_pages: 46_615,
        scanned_pages: 120_000,
        skipped: Skipped {
            busy: 2,
            held: 1,
            different: 4_000,
            ..Skipped::default()
        },
        refused: None,
    });
    let text = report.text();
    for part in [
        "59,058 pages in memory -> 3,197 (5.4 %): 56,052 equal, 400 of zeros, in 0.12 s, beside 319 calls\n",
        "then 1,270 pages in the background, with 2.0 % of a core\n",
        "at last 13,209 pages in memory -> 12,543 (95.0 %)",
        "1,144 pages in memory are shared now, which saves 46,615\n",
        "of 120,000 pages looked at, left alone: 3 in use, 4,000 different\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    let value: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(value["merge"]["first"]["calls_meanwhile"], 319);

    report.merge = Some(Merged {
        refused: Some("no room".to_owned()),
        ..Merged::default()
    });
    assert!(report.text().contains("not all: no room\n"));
}
