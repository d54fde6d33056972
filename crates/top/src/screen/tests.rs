//! Goal: screens show what a record says, at each size, with keys and without colours; the screens
//! in the documents are those that are drawn. Method: a record that is made here.

use super::*;
use crate::app::Colours;
use crate::source::Replay;
use crate::terminal::{Size, text};
use memfold_record::{
    Account, Encoder, Latency, Made, Nature, PageMap, PageState, Recording, Row, Sample, Schema, Series, Unit,
};
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use std::sync::Arc;

const SERIES: [&str; 14] = [
    "budget.limit",
    "budget.free",
    "budget.reserve",
    "held.total",
    "held.peak",
    "held.private",
    "held.shared",
    "held.compressed",
    "held.tables",
    "held.page_tables",
    "count.faults",
    "count.evictions",
    "count.refaults",
    "count.direct_reclaims",
];

const MIB: u64 = 1 << 20;

fn row(parent: Option<u64>, made: Made, told: &[(PageState, u32)]) -> Row {
    let mut map = PageMap {
        cell_pages: 1,
        ..PageMap::default()
    };
    let mut pages = [0; PageState::ALL.len()];
    for &(state, count) in told {
        map.push(state, count);
        pages[state as usize] += count;
    }
    let len = pages.iter().sum();
    Row {
        parent,
        made,
        len,
        pages: Some(pages),
        map,
        ..Row::default()
    }
}

/// A template and forty clones, of which the first ones wrote most; the budget fills.
fn sample(no: u64) -> Sample {
    use PageState::{Absent, Compressed, Exclusive, Inherited, Merged, Pinned, Shared};
    let mut spaces = std::collections::BTreeMap::new();
    let template = row(
        Some(1),
        Made::Frozen,
        &[(Shared, 300), (Absent, 84), (Shared, 128)],
    );
    spaces.insert(2, Arc::new(template));
    for clone in 0..40u32 {
        let (own, stored) = (80 - clone * 2, clone % 7 * 3);
        let told = [
            (Inherited, 160),
            (Exclusive, own),
            (Compressed, stored),
            (Pinned, u32::from(clone == 3)),
            (Merged, clone % 3),
            (Inherited, 352 - own - stored - u32::from(clone == 3) - clone % 3),
        ];
        let mut row = row(Some(2), Made::Forked, &told);
        row.condemned = clone == 5;
        spaces.insert(u64::from(clone) + 10, Arc::new(row));
    }
    let mut latency = Latency::default();
    latency.counts[90] = no * 100;
    latency.counts[130] = no * 2;
    let (private, compressed) = (20 * MIB + no * 70_001, no * 30_003);
    let (shared, tables, page_tables) = (3 * MIB + 4096, 700_000, 1_300_000);
    let total = private + compressed + shared + tables + page_tables;
    let (limit, reserve) = (64 * MIB, MIB);
    let numbers = [
        limit,
        limit - reserve - total,
        reserve,
        total,
        total + MIB,
        private,
        shared,
        compressed,
        tables,
        page_tables,
        no * 5000 + no * no * 3,
        no * no,
        no / 40 * 10,
        no / 170,
    ];
    Sample {
        at_us: no * 100_000,
        values: numbers.map(Some).to_vec(),
        latencies: vec![latency, Latency::default()],
        spaces,
        marks: Vec::new(),
    }
}

fn recording() -> Recording {
    let series = SERIES.map(|name| Series::new(name, Unit::Count, Nature::Counter));
    let schema = Schema {
        labels: vec![
            ("pid".to_owned(), "4711".to_owned()),
            ("program".to_owned(), "lua.wasm".to_owned()),
        ],
        series: series.to_vec(),
        latencies: vec!["load".to_owned(), "store".to_owned()],
        ..Schema::default()
    };
    let mut encoder = Encoder::new(&schema);
    let mut bytes = encoder.begin();
    (0..180).for_each(|no| bytes.extend(encoder.sample(&sample(no))));
    Recording::of(bytes).expect("it is one").expect("it has samples")
}

fn shown(app: &App, source: &Replay, columns: u16, rows: u16) -> String {
    text(app, source, Size { columns, rows })
}

fn press(app: &mut App, source: &Replay, keys: &[KeyCode]) {
    for &key in keys {
        app.key(KeyEvent::new(key, KeyModifiers::NONE), source);
    }
}

/// What the documents show: written anew with MEMFOLD_BLESS.
#[test]
fn the_screens_of_the_documents_are_those_that_are_drawn() {
    let source = Replay::of(recording());
    let mut app = App::new(&source, Colours::Off);
    press(&mut app, &source, &[KeyCode::Down; 4]);
    for (columns, rows) in [(80, 24), (160, 50)] {
        let file = format!(
            "{}/../../docs/top-{columns}x{rows}.txt",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = shown(&app, &source, columns, rows);
        if std::env::var_os("MEMFOLD_BLESS").is_some() {
            std::fs::write(&file, &text).expect("the documents can be written");
        }
        let committed = std::fs::read_to_string(&file).expect("it is committed");
        assert_eq!(
            text, committed,
            "as it is drawn now (MEMFOLD_BLESS=1 writes it):\n{text}"
        );
    }
}

/// The number before each word, in tenths.
fn tenths(screen: &str) -> Vec<u64> {
    let legend: String = screen.lines().skip(3).take(3).collect::<Vec<_>>().join(" ");
    let numbers = legend
        .split_whitespace()
        .filter(|word| word.contains('.') && word.len() > 2);
    numbers
        .map(|word| word.replace('.', "").parse().expect("a number"))
        .collect()
}

#[test]
fn the_parts_that_are_shown_add_up() {
    let source = Replay::of(recording());
    let mut app = App::new(&source, Colours::Off);
    for sample in (0..180).step_by(7) {
        app.sample = sample;
        app.look(&source);
        let account = Account::of(&app.window.schema, &app.window.now);
        assert_eq!(account.whole, 64 * MIB);
        for (columns, rows) in [(80, 24), (160, 50), (61, 17)] {
            let screen = shown(&app, &source, columns, rows);
            let bar = screen.lines().nth(2).expect("the bar");
            assert_eq!(bar.len(), columns.into(), "the bar is whole: {bar}");
            let numbers = tenths(&screen);
            if columns > 61 {
                let (whole, parts) = numbers.split_last().expect("numbers");
                assert_eq!(
                    (parts.iter().sum::<u64>(), *whole, parts.len()),
                    (640, 640, 7),
                    "{screen}"
                );
            }
        }
    }
    press(&mut app, &source, &[KeyCode::Char('b')]);
    assert!(shown(&app, &source, 160, 50).contains("= 67108864 bytes"));
}

#[test]
fn keys_choose_sort_filter_and_scrub() {
    let source = Replay::of(recording());
    let mut app = App::new(&source, Colours::Off);
    let is = |app: &App, text: &str| {
        let screen = shown(app, &source, 100, 30);
        assert!(screen.contains(text), "no {text:?} in\n{screen}");
    };
    is(&app, "17.9 s of 17.9 s, record");
    is(&app, "41 by holds");
    is(&app, "#2 frozen a cell is page");
    is(&app, "1 condemned");
    press(
        &mut app,
        &source,
        &[KeyCode::Down, KeyCode::Char('s'), KeyCode::Char('r')],
    );
    is(&app, "41 by stored, le");
    press(
        &mut app,
        &source,
        &[KeyCode::Char('/'), KeyCode::Char('4'), KeyCode::Char('9')],
    );
    is(&app, "filter: 49_");
    is(&app, "1 by stored");
    is(&app, "#49 fork a cell is page");
    press(
        &mut app,
        &source,
        &[KeyCode::Backspace, KeyCode::Enter, KeyCode::Esc],
    );
    is(&app, "41 by stored");
    press(
        &mut app,
        &source,
        &[KeyCode::Home, KeyCode::Right, KeyCode::Right],
    );
    is(&app, "0.2 s of 17.9 s");
    press(&mut app, &source, &[KeyCode::Char(']'), KeyCode::Left]);
    is(&app, "5.1 s of 17.9 s");
    press(&mut app, &source, &[KeyCode::Char(' ')]);
    is(&app, "playing");
    press(&mut app, &source, &[KeyCode::End, KeyCode::Char('?')]);
    is(&app, "Any key closes this");
    press(&mut app, &source, &[KeyCode::Char('j')]);
    assert!(!app.help);
    let quit = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    assert_eq!(app.key(quit, &source), crate::app::Next::Quit);
}

#[test]
fn every_size_can_be_drawn() {
    let source = Replay::of(recording());
    for colours in [Colours::On, Colours::Off] {
        let mut app = App::new(&source, colours);
        for help in [false, true] {
            app.help = help;
            for (columns, rows) in [
                (1, 1),
                (59, 40),
                (60, 16),
                (80, 24),
                (81, 25),
                (200, 15),
                (300, 100),
            ] {
                let text = shown(&app, &source, columns, rows);
                assert_eq!(text.lines().count(), rows.into());
            }
        }
    }
}

/// What is not in a record is unknown, and never nought.
#[test]
fn what_is_not_known_is_said() {
    let mut encoder = Encoder::new(&Schema::default());
    let mut bytes = encoder.begin();
    let spaces = [(
        1,
        Arc::new(Row {
            len: 3,
            ..Row::default()
        }),
    )];
    bytes.extend(encoder.sample(&Sample {
        spaces: spaces.into(),
        ..Sample::default()
    }));
    let source = Replay::of(Recording::of(bytes).expect("it is one").expect("a sample"));
    let screen = shown(&App::new(&source, Colours::Off), &source, 80, 24);
    for text in [
        "held ?, no budget; at most ?",
        "faults ?/s",
        "#1 space has not been looked at",
        "        ?",
    ] {
        assert!(screen.contains(text), "no {text:?} in\n{screen}");
    }
}

#[test]
fn without_colours_there_are_none() {
    let source = Replay::of(recording());
    let colours_of = |colours| {
        let app = App::new(&source, colours);
        let mut terminal = ratatui::Terminal::new(TestBackend::new(80, 24)).expect("it is memory");
        terminal
            .draw(|frame| draw(frame, &app, &source))
            .expect("it is memory");
        let cells = terminal.backend().buffer().content().to_vec();
        cells
            .iter()
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .count()
    };
    assert_eq!(colours_of(Colours::Off), 0);
    assert!(colours_of(Colours::On) > 300);
}
