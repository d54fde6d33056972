//! `cargo xtask campaign`: the long form of every check, for a night or a release.
//!
//! Each part is a command of the table below, with its share of the time (`--minutes`, counted when
//! the parts are built); what one leaves goes to those after it. A part that fails leaves its log
//! in `target/campaign/`, and the campaign goes on; at the end it fails. A part whose tool is
//! missing is reported as *skipped*, one whose time was up as *cut*: neither is ever called passed,
//! and neither is one that counted nothing of what it is for. The numbers of the report (Markdown)
//! were printed by those who did the work, none is computed from a setting.

mod counts;

use crate::shell::{self, Build};
use crate::table;
use anyhow::{Context, Result, bail, ensure};
use counts::{Counts, read};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the command line says.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long all parts together may take
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Where the report goes (default: target/campaign/report.md)
    #[arg(long)]
    report: Option<PathBuf>,
    /// What all seeds follow from (default: the time)
    #[arg(long)]
    seed: Option<u64>,
    /// Only these parts, in this order (default: all)
    parts: Vec<String>,
}

/// One long check, of a line of [`PARTS`].
#[derive(Clone, Debug)]
struct Part {
    name: &'static str,
    /// How much of the time it gets, among the others' weights.
    weight: u32,
    /// So many tests follow one another, each for `{each}` seconds.
    tests: u64,
    /// What it counts: a part that counted none of it did nothing.
    counts: &'static str,
    /// `NAME=value` for the environment; then the build, and words for cargo, or `xtask` and its
    /// words. Where `{core}` stands, one is started for each core.
    command: String,
}

/// All parts, in their order: name, weight, tests, what is counted; and the command.
const PARTS: &str = "
simulation 15 1 operations: plain run --profile checked -p memfold-verify --example simulate -- \
    --from {seed}00000{core} --by {cores} --seconds {each}
shuttle 30 15 schedules: MEMFOLD_SECONDS={each} MEMFOLD_FAILURES={folder} shuttle test --profile checked \
    -p memfold-verify --test shuttle --no-fail-fast -- --nocapture --test-threads 2
loom 15 80 executions: MEMFOLD_SECONDS={each} MEMFOLD_DEEPER=1 loom test --release --lib -p memfold-sync \
    -p memfold-mm --no-fail-fast -- --test-threads 2
stress 5 5 stores: MEMFOLD_SECONDS={each} plain test --profile checked -p memfold --tests --no-fail-fast \
    -- --nocapture --test-threads 1
bugs 15 1 caught: xtask bugs --seconds {each}
weaken 12 1 caught: xtask weaken --seconds {each}
tsan 5 10 tests_passed: MEMFOLD_SECONDS={each} xtask sanitize thread
asan 5 10 tests_passed: MEMFOLD_SECONDS={each} xtask sanitize address
miri 8 1 tests_passed: xtask sanitize miri
fuzz 8 5 fuzz_inputs: xtask fuzz --seconds {each}
mutants 8 1 mutants_caught: xtask mutants --caught --shard {shard}/50
";

/// Reads [`PARTS`].
fn parts() -> impl Iterator<Item = Part> {
    PARTS.lines().filter_map(|line| {
        let (head, command) = line.split_once(": ")?;
        let mut words = head.split(' ');
        Some(Part {
            name: words.next()?,
            weight: words.next()?.parse().ok()?,
            tests: words.next()?.parse().ok()?,
            counts: words.next()?,
            command: command.to_owned(),
        })
    })
}

/// Commands end by themselves when their time is up, or one try later; after so much more they are
/// ended.
const GRACE: Duration = Duration::from_secs(900);

/// How a part ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// All of it was done and nothing failed.
    Passed,
    /// Nothing failed until its time was up.
    Cut,
    /// Its tool is not here.
    Skipped,
    Failed,
}

/// Runs the named parts, all when none is named; goes on after a failure.
pub(crate) fn run(options: &Options) -> Result<()> {
    let parts = chosen(&options.parts)?;
    let folder = shell::target().join("campaign");
    fs::create_dir_all(&folder)?;
    let seed = options.seed.unwrap_or_else(minutes_since_1970);
    for part in &parts {
        build(part, seed, &folder).with_context(|| format!("building {}", part.name))?;
    }
    let file = options.report.clone().unwrap_or_else(|| folder.join("report.md"));
    let begin = Instant::now();
    let end = begin + Duration::from_secs(options.minutes * 60);
    let mut report = head(options.minutes, seed)?;
    let mut failed = 0;
    for (n, part) in parts.iter().enumerate() {
        let weights: u32 = parts[n..].iter().map(|part| part.weight).sum();
        let time = end.saturating_duration_since(Instant::now()) * part.weight / weights;
        let log = folder.join(format!("{}.log", part.name));
        println!("==== {}: up to {}", part.name, table::time(time));
        let began = Instant::now();
        let ended = play(&commands(part, time, seed, &folder)?, time, &log)?;
        let counts = read(&String::from_utf8_lossy(&fs::read(&log)?));
        let verdict = judge(ended, &counts, part.counts);
        println!("==== {}: {verdict:?}", part.name);
        failed += usize::from(verdict == Verdict::Failed);
        report += &row(part, &verdict, &counts, began.elapsed());
        // After each part: a campaign that is ended from outside has a report, too.
        fs::write(&file, &report)?;
    }
    println!("\n{report}\nreport: {}", file.display());
    ensure!(failed == 0, "{failed} parts failed");
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Part>> {
    if names.is_empty() {
        return Ok(parts().collect());
    }
    let known = || parts().map(|part| part.name).collect::<Vec<_>>().join(", ");
    let one = |name: &String| parts().find(|part| part.name == name);
    let chosen = names
        .iter()
        .map(|name| one(name).with_context(|| format!("no part `{name}`; there are: {}", known())));
    chosen.collect()
}

/// A part's commands: one, or one for each core.
fn commands(part: &Part, time: Duration, seed: u64, folder: &Path) -> Result<Vec<Command>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let together = if part.command.contains("{core}") { cores } else { 1 };
    let one = |core: u64| {
        let each = (time.as_secs() / part.tests).max(1);
        let mut words = part.command.replace("{folder}", &folder.display().to_string());
        for (name, number) in [
            ("{core}", core),
            ("{cores}", cores),
            ("{seed}", seed),
            ("{shard}", seed % 50),
            ("{each}", each),
        ] {
            words = words.replace(name, &number.to_string());
        }
        let mut command = command(&words)?;
        command.env("MEMFOLD_SEED", seed.to_string());
        Ok(command)
    };
    (0..together).map(one).collect()
}

/// The command that such words are.
fn command(words: &str) -> Result<Command> {
    let (env, words): (Vec<&str>, Vec<&str>) = words.split(' ').partition(|word| word.contains('='));
    let mut command = match words[0] {
        "plain" => Build::Plain.cargo(&words[1..].join(" ")),
        "loom" => Build::Loom.cargo(&words[1..].join(" ")),
        "shuttle" => Build::Shuttle.cargo(&words[1..].join(" ")),
        "xtask" => {
            let mut xtask = shell::clean(Command::new(std::env::current_exe()?));
            xtask.args(&words[1..]);
            xtask
        }
        other => bail!("`{other}` is no build"),
    };
    command.envs(env.iter().filter_map(|word| word.split_once('=')));
    Ok(command)
}

/// Builds what a part of cargo's runs, before the clock starts.
fn build(part: &Part, seed: u64, folder: &Path) -> Result<()> {
    if part.command.contains("xtask") {
        return Ok(());
    }
    let words = part.command.split(" -- ").next().unwrap_or_default();
    let words = match words.contains(" run ") {
        true => words.replace(" run ", " build "),
        false => format!("{words} --no-run"),
    };
    let part = Part {
        command: words,
        ..part.clone()
    };
    let commands = commands(&part, Duration::ZERO, seed, folder)?;
    commands.into_iter().try_for_each(shell::run)
}

/// Runs commands side by side, into one log. The worst end counts.
fn play(commands: &[Command], time: Duration, log: &Path) -> Result<Verdict> {
    let log = File::create(log)?;
    let mut children = Vec::new();
    for command in commands {
        println!("$ {}", shell::describe(command));
        let mut command = shell::within(command, time + GRACE);
        command.stdin(Stdio::null()).stdout(log.try_clone()?);
        children.push(command.stderr(log.try_clone()?).spawn()?);
    }
    let mut verdict = Verdict::Passed;
    for mut child in children {
        verdict = match (child.wait()?.code(), verdict) {
            (Some(0), before) => before,
            (Some(shell::TIMED_OUT | shell::KILLED), Verdict::Passed | Verdict::Cut) => Verdict::Cut,
            _ => Verdict::Failed,
        };
    }
    Ok(verdict)
}

/// A failure that was printed counts, whatever the command's end said.
fn judge(ended: Verdict, counts: &Counts, wanted: &str) -> Verdict {
    let some = |name| counts.sums.contains_key(name);
    match ended {
        _ if !counts.failures.is_empty() => Verdict::Failed,
        Verdict::Passed if counts.skipped && !some(wanted) => Verdict::Skipped,
        Verdict::Passed | Verdict::Cut if !some(wanted) => Verdict::Failed,
        Verdict::Passed if some("models_cut") || some("not_tried") => Verdict::Cut,
        ended => ended,
    }
}

/// What stands above the parts: the machine is asked.
fn head(minutes: u64, seed: u64) -> Result<String> {
    let mut sh = shell::command("sh");
    sh.args(["-c", r#"
        echo "* date: $(date -u '+%Y-%m-%d %H:%M UTC')"
        echo "* commit: $(git rev-parse --short=12 HEAD)$(git diff --quiet HEAD || echo ', with changes that are not committed')"
        echo "* machine:$(sed -n 's/^model name.*: / /p' /proc/cpuinfo | head -1), $(nproc) cores,$(sed -n 's/^MemTotal: */ /p' /proc/meminfo), $(uname -sr)"
        echo "* compiler: $(rustc --version)""#]);
    let machine = shell::read(sh)?;
    Ok(format!(
        "# Campaign\n\n{machine}* asked for: {minutes} minutes, seeds from {seed}\n\n\
         | part | verdict | time | counts |\n| --- | --- | --- | --- |\n"
    ))
}

/// A part's line; and what failed in it, with what shows it again.
fn row(part: &Part, verdict: &Verdict, counts: &Counts, time: Duration) -> String {
    let sums = counts
        .sums
        .iter()
        .map(|(name, sum)| format!("{sum} {}", name.replace('_', " ")));
    let sums = sums.chain(counts.failures.iter().map(|line| format!("`{line}`")));
    let sums = sums.collect::<Vec<_>>().join(", ");
    let name = part.name;
    let log = match verdict {
        Verdict::Failed => format!("see target/campaign/{name}.log: "),
        _ => String::new(),
    };
    format!("| {name} | {verdict:?} | {} | {log}{sums} |\n", table::time(time))
}

fn minutes_since_1970() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.map_or(0, |time| time.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    //! Goal: a campaign runs what is asked for, counts what was printed and hides no failure.
    //! Method: lines as they stand in logs.
    use super::*;

    #[test]
    fn parts_are_chosen_by_name_and_can_be_started() {
        assert_eq!(chosen(&[]).unwrap().len(), 11);
        let two = chosen(&["shuttle".into(), "loom".into()]).unwrap();
        assert_eq!([two[0].name, two[1].name], ["shuttle", "loom"]);
        assert!(chosen(&["luck".into()]).is_err());
        for part in parts() {
            let commands = commands(&part, Duration::from_secs(600), 7, Path::new("x")).unwrap();
            let line = shell::describe(&commands[0]);
            assert!(!line.contains(['{', '}']), "{line}");
        }
    }

    #[test]
    fn a_part_passes_when_it_did_something_and_nothing_failed() {
        let verdict = |log: &str, ended| judge(ended, &read(log), "tests_passed");
        let ok = "test result: ok. 3 passed; 0 failed\n";
        assert_eq!(verdict(ok, Verdict::Passed), Verdict::Passed);
        assert_eq!(verdict(ok, Verdict::Cut), Verdict::Cut);
        assert_eq!(verdict(ok, Verdict::Failed), Verdict::Failed);
        assert_eq!(
            verdict("Miri: SKIPPED (get it)", Verdict::Passed),
            Verdict::Skipped
        );
        assert_eq!(verdict("0 passed", Verdict::Passed), Verdict::Failed);
        for failure in [
            "campaign failure: seed 4",
            "test a ... FAILED",
            "failing schedule persisted to file: x",
        ] {
            assert_eq!(verdict(&format!("{ok}{failure}"), Verdict::Cut), Verdict::Failed);
        }
    }

    #[test]
    fn the_worst_end_of_commands_counts() {
        let log = shell::target().join("campaign-test.log");
        let ended = |programs: &[&str]| {
            let commands: Vec<Command> = programs.iter().map(Command::new).collect();
            play(&commands, Duration::from_secs(20), &log).unwrap()
        };
        assert_eq!(ended(&["true"]), Verdict::Passed);
        assert_eq!(ended(&["false", "true"]), Verdict::Failed);
        fs::remove_file(log).unwrap();
    }
}
