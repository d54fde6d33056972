//! Look-ups in one file by many clones: `programs/dictionary.c`, and the file that it wants.

use super::{Run, Shown, Stage, cells, number, over_budget, wrong_answers};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

pub(super) const PROGRAM: &str = "dictionary";
/// Bytes of the file.
const FILE_BYTES: u64 = 256 << 20;
const ENTRY_BYTES: u64 = 16;
const BUDGET: u64 = 96 << 20;
/// Stock instances have at most this part of what memory there is.
const STOCK_PART: u64 = 2;

/// Runs it without a budget, inside one, and on stock Wasmtime, each of whose instances has its own
/// copy of the file: fewer of them, with which as many clones are compared. That all clones find
/// what is right, the program itself sees to.
pub(super) fn look_up(stage: &Stage, program: &str) -> Result<Shown> {
    make(&stage.output.join("dictionary.bin")).context("cannot write target/demo/dictionary.bin")?;
    let copies = memory_bytes()? / STOCK_PART / FILE_BYTES;
    let copies = u32::try_from(copies).unwrap_or(u32::MAX).clamp(1, stage.clones);
    let with = |clones| Stage {
        clones,
        calls: stage.calls,
        program: "--map target/demo/dictionary.bin@16MiB --call lookup".to_owned(),
        output: stage.output.clone(),
    };
    let (all, few) = (with(stage.clones), with(copies));
    let limit = format!("--budget {BUDGET}");
    let free = all.act(program, "unlimited", "--budget none")?;
    let limited = all.act(program, "budget", &limit)?;
    let compared = few.act(program, "fewer", &limit)?;
    let stock = few.act(program, "stock", "--stock")?;
    let mut failures = wrong_answers(&[("compared", &compared)], &stock, copies);
    let done = |run: &Run| number(&run.report, "completed") == u64::from(stage.clones);
    for (name, run) in [("unlimited", &free), ("budget", &limited)] {
        if !done(run) {
            failures.push(format!("{name}: some clones failed"));
        }
    }
    let pages = number(&free.report, "file_bytes") / 4096;
    let reads = number(&free.report, "file_reads");
    println!("  fewer, and stock: {copies} clones, as many as fit into half of the memory with a copy each");
    println!("  without a budget {reads} pages were read for all clones, and {pages} are held");
    if reads != pages {
        failures.push("a page was read twice".to_owned());
    }
    failures.extend(over_budget(&limited, BUDGET));
    Ok((cells(stage, program, &free, &limited), failures))
}

/// Makes the file, unless it is there.
fn make(path: &Path) -> std::io::Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() == FILE_BYTES) {
        return Ok(());
    }
    let part = path.with_extension("part");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&part)?);
    let count = FILE_BYTES / ENTRY_BYTES - 1;
    let mut entry = |key: u64, value: u64| {
        file.write_all(&key.to_le_bytes())?;
        file.write_all(&value.to_le_bytes())
    };
    entry(count, 0)?;
    for n in 1..=count {
        entry(n << 12 | mix(n) & 0xffe, mix(n))?;
    }
    file.into_inner()?.sync_all()?;
    fs::rename(part, path)
}

/// As in the program.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ (x >> 29)
}

/// What the machine has to give now.
fn memory_bytes() -> Result<u64> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.context("/proc/meminfo does not say what is available")? * 1024)
}
