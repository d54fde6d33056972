//! What the opening of a window costs: run by hand, with `--ignored --nocapture`.

use crate::stamps::stamped;
use memfold::Memory;
use std::time::Instant;

/// Goal: a fork stays at a few microseconds, whatever the host does to keep windows safe. Method:
/// the median of many.
#[test]
#[ignore = "a measurement, for people"]
fn a_fork() {
    let memory = Memory::builder().background(false).build().expect("userfaultfd");
    let parent = stamped(&memory, 1);
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (mut forks, mut drops) = (Vec::new(), Vec::new());
    for _ in 0..5000 {
        let begin = Instant::now();
        let child = parent.fork().expect("a fork");
        forks.push(begin.elapsed().as_secs_f64() * 1e6);
        let begin = Instant::now();
        drop(child);
        drops.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    println!(
        "a fork {:.2} us, its drop {:.2} us (medians of 5000)",
        median(forks),
        median(drops)
    );
}
