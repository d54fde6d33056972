//! Goal: a page says what its record says, needs nothing else, and takes no text for HTML. Method:
//! a record that is made here; the page's own numbers.

use crate::render;
use crate::saved::{Saved, changed};
use memfold_record::{
    Encoder, Latency, Made, Nature, PageMap, PageState, Recording, Row, Sample, Schema, Series, Unit,
};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

fn row(parent: Option<u64>, told: &[(PageState, u32)]) -> Arc<Row> {
    let mut map = PageMap {
        cell_pages: 1,
        ..PageMap::default()
    };
    let mut pages = [0; PageState::ALL.len()];
    for &(state, count) in told {
        map.push(state, count);
        pages[state as usize] += count;
    }
    let made = if parent.is_some() {
        Made::Forked
    } else {
        Made::Frozen
    };
    let len = pages.iter().sum();
    Arc::new(Row {
        parent,
        made,
        len,
        pages: Some(pages),
        map,
        ..Row::default()
    })
}

fn sample(no: u64) -> Sample {
    use PageState::{Absent, Compressed, Exclusive, Inherited, Shared};
    let template = row(None, &[(Shared, 60), (Absent, 40)]);
    let first = row(
        Some(1),
        &[(Inherited, 10), (Exclusive, 5), (Compressed, 1), (Inherited, 84)],
    );
    let second = row(Some(1), &[(Inherited, 12), (Exclusive, 1), (Inherited, 87)]);
    let mut latency = Latency::default();
    latency.counts[90] = no;
    let (private, shared) = (no * 10_000, 2 * MIB);
    let values = [
        64 * MIB,
        62 * MIB - private,
        0,
        private + shared,
        private,
        shared,
        no * 10,
        no,
        0,
        0,
        5,
    ];
    Sample {
        at_us: no * 100_000,
        values: values.map(Some).to_vec(),
        latencies: vec![latency],
        spaces: [(1, template), (2, first), (3, second)].into(),
        marks: if no == 3 {
            vec!["<b>calls".to_owned()]
        } else {
            Vec::new()
        },
    }
}

fn recording(samples: u64) -> Recording {
    let names = [
        "budget.limit",
        "budget.free",
        "budget.reserve",
        "held.total",
        "held.private",
        "held.shared",
        "count.faults",
        "count.evictions",
        "count.refaults",
        "count.direct_reclaims",
        "store.pages",
    ];
    let schema = Schema {
        labels: vec![(
            "program".to_owned(),
            "<script>alert(1)</script> & \"x\"".to_owned(),
        )],
        series: names
            .map(|name| Series::new(name, Unit::Bytes, Nature::Gauge))
            .to_vec(),
        latencies: vec!["store".to_owned()],
        ..Schema::default()
    };
    let mut encoder = Encoder::new(&schema);
    let mut bytes = encoder.begin();
    (0..samples).for_each(|no| bytes.extend(encoder.sample(&sample(no))));
    Recording::of(bytes).expect("it is one").expect("it has samples")
}

#[test]
fn a_page_says_what_its_record_says() {
    let page = render(&recording(700)).expect("it is whole");
    let last = sample(699);
    for bytes in last.values.iter().take(6).flatten().filter(|bytes| **bytes > 0) {
        assert!(page.contains(&format!("<data value=\"{bytes}\">")), "{bytes}");
    }
    for part in [
        "at most it was ?",
        "69.9 s long",
        "#2 fork of #1",
        "2 MiB",
        "Pages went to the store",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    // Names that others gave are text, wherever they stand.
    assert!(page.contains("&lt;script&gt;") && page.contains("&lt;b&gt;calls"));
    for bad in ["<script", "<b>", "http://", "https://", "@import", "url("] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("role=\"img\"").count());
    for tag in [
        "section", "table", "details", "svg", "div", "ul", "header", "main",
    ] {
        let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
        assert_eq!(page.matches(&open).count(), page.matches(&close).count(), "{tag}");
    }
    assert!(page.len() < 400_000, "{}", page.len());
}

#[test]
fn short_records_are_shown_as_well() {
    for samples in 1..4 {
        assert!(render(&recording(samples)).expect("it is whole").contains("<h1>"));
    }
    let mut encoder = Encoder::new(&Schema::default());
    let mut bytes = encoder.begin();
    bytes.extend(encoder.sample(&Sample::default()));
    let nothing = Recording::of(bytes).expect("it is one").expect("a sample");
    assert!(
        render(&nothing)
            .expect("it is whole")
            .contains("At the end ? were held; there was no budget")
    );
}

#[test]
fn what_is_saved_is_counted_by_what_each_space_sees() {
    let saved = Saved::of(&sample(9), &Default::default());
    let pages = |pages: u64| pages * 4096;
    // 60 of the template, of which each clone sees those that it did not change.
    assert_eq!(saved.stock, pages(60 + 60 + 60));
    assert_eq!((saved.own, saved.stored), (pages(6), pages(1)));
    assert_eq!(saved.shared, pages(60 + 54 + 59));
    // What a template was that has ended is what it was when it was last seen.
    let mut orphans = sample(9);
    let template = orphans.spaces.remove(&1).expect("it lived");
    let known = Saved::of(&orphans, &[(1, template)].into());
    assert_eq!((known.shared, known.others), (pages(54 + 59), 0));
    let unknown = Saved::of(&orphans, &Default::default());
    assert_eq!((unknown.shared, unknown.others), (0, pages(94 + 99)));
    let (counts, clones) = changed(&sample(9), 1);
    assert_eq!((clones, counts.len()), (2, 100));
    assert_eq!(&counts[9..17], [0, 1, 1, 2, 1, 1, 1, 0]);
}
