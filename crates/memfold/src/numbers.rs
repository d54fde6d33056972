//! The numbers of a sample, each with its name and unit. Plain values; what a record does not name
//! was not measured.

use crate::inner::Inner;
use crate::manager::Entered;
use crate::stats::MemoryStats;
use memfold_linux::thread_cpu_time;
use memfold_mm::{Living, Stats, UNLIMITED, Usage};
use memfold_record::{Nature, Series, Unit};

/// Readings of the budget until its parts are of one moment; after that they are a few pages off.
const READINGS: u32 = 16;

/// A series and its value; `None` where there is none, as of a budget that is not limited.
pub(crate) type Number = (Series, Option<u64>);

/// What the memory holds and did, the budget's parts of one moment. `None` in a child of `fork(2)`.
pub(crate) fn at_one_moment(inner: &Inner) -> Option<MemoryStats> {
    let usage = one_moment(&inner.mm().ok()?);
    Some(MemoryStats {
        usage,
        ..MemoryStats::read(inner)
    })
}

/// The budget's numbers at one moment: such whose parts come to their sum.
fn one_moment(mm: &Entered<'_>) -> Usage {
    let mut usage = mm.usage();
    for _ in 0..READINGS {
        let Usage {
            private,
            pool,
            stored,
            tables,
            page_tables,
            native,
            total,
            ..
        } = usage;
        let sum = private + pool + stored + tables + native;
        if sum + page_tables == total || sum == total {
            break;
        }
        usage = mm.usage();
    }
    usage
}

/// All of them, always in the same order.
pub(crate) fn numbers(stats: &MemoryStats, alive: &[Living]) -> Vec<Number> {
    let bytes = bytes(stats).map(|(name, bytes)| gauge(name, Unit::Bytes, bytes));
    let pages = pages(stats).map(|(name, pages)| gauge(name, Unit::Pages, Some(pages)));
    let condemned = alive.iter().filter(|living| living.condemned);
    let spaces = [
        ("spaces.living", alive.len()),
        ("spaces.condemned", condemned.count()),
    ];
    let spaces = spaces.map(|(name, spaces)| gauge(name, Unit::Count, Some(spaces as u64)));
    let counts = stats.counts.counters();
    let counts = counts.map(|(name, count)| counter(&format!("count.{name}"), Unit::Count, count));
    let times = [
        ("cpu.merge", stats.merge_cpu.as_nanos() as u64),
        // Of the thread that asks: the one that records.
        ("cpu.record", thread_cpu_time().as_nanos() as u64),
    ];
    let times = times.map(|(name, ns)| counter(name, Unit::Nanoseconds, ns));
    let gauges = bytes.into_iter().chain(pages).chain(spaces);
    gauges.chain(counts).chain(times).collect()
}

fn gauge(name: &str, unit: Unit, value: Option<u64>) -> Number {
    (Series::new(name, unit, Nature::Gauge), value)
}

fn counter(name: &str, unit: Unit, value: u64) -> Number {
    (Series::new(name, unit, Nature::Counter), Some(value))
}

fn bytes(stats: &MemoryStats) -> [(&'static str, Option<u64>); 13] {
    let Usage {
        limit,
        total,
        peak,
        free,
        private,
        pool,
        stored,
        tables,
        page_tables,
        native,
    } = stats.usage;
    let limited = |bytes| (limit != UNLIMITED).then_some(bytes);
    // What is neither held nor free is kept for reclaim and for pages that come back.
    let reserve = limit.saturating_sub(total).saturating_sub(free);
    [
        ("budget.limit", limited(limit)),
        ("budget.free", limited(free)),
        ("budget.reserve", limited(reserve)),
        ("held.total", Some(total)),
        ("held.peak", Some(peak)),
        ("held.private", Some(private)),
        ("held.shared", Some(pool)),
        ("held.compressed", Some(stored)),
        ("held.tables", Some(tables)),
        ("held.page_tables", Some(page_tables)),
        ("held.native", Some(native)),
        ("kernel.pool", Some(stats.pool_bytes)),
        ("store.encoded", Some(stats.store.encoded_bytes)),
    ]
}

fn pages(stats: &MemoryStats) -> [(&'static str, u64); 12] {
    let (store, files) = (stats.store, stats.files);
    let Stats {
        active_frames,
        inactive_frames,
        unevictable_frames,
        locked_pages,
        standby_pages,
        ..
    } = stats.counts;
    [
        ("store.pages", store.pages),
        ("store.same_filled", store.same_filled),
        ("store.duplicates", store.duplicates),
        ("store.deltas", store.deltas),
        ("store.raw", store.raw),
        ("files.resident", files.resident),
        ("files.dirty", files.dirty),
        ("pages.active", active_frames.into()),
        ("pages.inactive", inactive_frames.into()),
        ("pages.unevictable", unevictable_frames.into()),
        ("pages.locked", locked_pages),
        ("pages.standby", standby_pages.into()),
    ]
}
