//! The order in which the steps of an execution are told.
//!
//! Loom lets a load return a value that was overwritten before, where nothing orders the two; its
//! log then has the load after a store that it did not see. If there is an order of the same steps
//! in which every load sees the newest value, each thread goes its way, and locks and plain data
//! are used in turn, then that is a plain interleaving of the same steps with the same values, and
//! easier to follow. If there is none, the execution exists only because of weak memory.

use super::{Event, What};

/// Such an order, nearest to the log's; `None` if there is none.
pub(super) fn interleaving(events: &[Event]) -> Option<Vec<usize>> {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); events.len()];
    for (n, event) in events.iter().enumerate() {
        before[n].extend((0..n).filter(|&m| keeps_order(&events[m], event)));
        if let What::Load(value) | What::Refused(_, value) = event.what {
            let writes = || (0..events.len()).filter(|&m| is_write_of(&events[m], event.on));
            let source = writes().rfind(|&m| m < n && events[m].what.leaves() == Some(value));
            before[n].extend(source);
            // The value is still the newest: its successor comes later.
            let next = writes().find(|&m| source.is_none_or(|source| m > source));
            next.into_iter().for_each(|next| before[next].push(n));
        }
    }
    let mut order: Vec<usize> = Vec::new();
    while order.len() < events.len() {
        let ready = |&n: &usize| !order.contains(&n) && before[n].iter().all(|m| order.contains(m));
        // What a thread says about a step stands right after it.
        let last = order.last().map(|&last| events[last].by);
        let says = |&n: &usize| last == Some(events[n].by) && matches!(events[n].what, What::Note(_));
        let mut all = (0..events.len()).filter(ready);
        order.push(all.clone().find(says).or_else(|| all.next())?);
    }
    Some(order)
}

/// Whether two events, the earlier first, may not be told the other way round.
fn keeps_order(first: &Event, second: &Event) -> bool {
    if first.by == second.by || first.of_model() || second.of_model() {
        return true;
    }
    if first.on != second.on || first.on == 0 {
        return false;
    }
    match (&first.what, &second.what) {
        (What::Read, What::Read) => false,
        // Loads find their place by what they saw.
        (What::Load(_) | What::Refused(..), _) | (_, What::Load(_) | What::Refused(..)) => false,
        _ => true,
    }
}

fn is_write_of(event: &Event, on: usize) -> bool {
    event.on == on && event.what.leaves().is_some()
}

#[cfg(test)]
mod tests {
    use super::super::By;
    use super::*;
    use std::panic::Location;

    fn events(steps: &[(usize, What)]) -> Vec<Event> {
        let event = |(part, what): &(usize, What)| Event {
            by: By::Part(*part),
            on: 1,
            what: what.clone(),
            ordering: None,
            at: Location::caller(),
        };
        steps.iter().map(event).collect()
    }

    /// Goal: a load that saw an older value is told before the store that it did not see. Method:
    /// the seed's steps.
    #[test]
    fn an_old_value_is_told_where_it_was_new() {
        let log = events(&[(0, What::Store(1)), (0, What::Store(2)), (1, What::Load(1))]);
        assert_eq!(interleaving(&log), Some(vec![0, 2, 1]));
        let log = events(&[(0, What::Store(2)), (1, What::Load(0)), (1, What::Load(2))]);
        assert_eq!(interleaving(&log), Some(vec![1, 0, 2]));
    }

    /// Goal: what no interleaving explains is not made one. Method: a thread that loads the newer
    /// value first.
    #[test]
    fn weak_memory_stays_as_it_was() {
        let log = events(&[(0, What::Store(2)), (1, What::Load(2)), (1, What::Load(0))]);
        assert_eq!(interleaving(&log), None);
    }
}
