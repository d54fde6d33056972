//! The budget of a sample, part by part, so that what is shown adds up: [`Account`]. Pure.

use crate::sample::{Sample, Schema};

/// A part of the budget, or of what is held where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What people call it.
    pub name: &'static str,
    /// The series that has it.
    pub series: &'static str,
    /// Bytes.
    pub bytes: u64,
    /// A letter for it, which no other part has.
    pub letter: char,
}

/// All parts, and what they come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What is held, then what is kept and free, where there is a budget. Parts that are not known
    /// are left out.
    pub parts: Vec<Part>,
    /// The sum of the parts: the budget, where there is one and all parts are known.
    pub whole: u64,
    /// The budget.
    pub limit: Option<u64>,
    /// What is held.
    pub held: Option<u64>,
    /// The most that was ever held.
    pub peak: Option<u64>,
    /// Page tables, where they are no part of the budget.
    pub on_top: Option<u64>,
}

const HELD: [(&str, &str, char); 6] = [
    ("shared", "held.shared", 'S'),
    ("private", "held.private", 'P'),
    ("compressed", "held.compressed", 'C'),
    ("tables", "held.tables", 't'),
    ("page tables", "held.page_tables", 'k'),
    ("set aside", "held.native", 'n'),
];
const REST: [(&str, &str, char); 2] = [("reserve", "budget.reserve", 'r'), ("free", "budget.free", '.')];

impl Account {
    /// The account of a sample.
    #[must_use]
    pub fn of(schema: &Schema, sample: &Sample) -> Self {
        let value = |series| sample.value(schema, series);
        let part = |(name, series, letter)| {
            let bytes = value(series)?;
            Some(Part {
                name,
                series,
                bytes,
                letter,
            })
        };
        let held = value("held.total");
        let mut parts: Vec<Part> = HELD.into_iter().filter_map(part).collect();
        let sum = |parts: &[Part]| {
            parts
                .iter()
                .fold(0u64, |sum, part| sum.saturating_add(part.bytes))
        };
        let tables = parts.iter().position(|part| part.series == "held.page_tables");
        // They are no part of the budget where the others come to the total.
        let outside = |&at: &usize| parts[at].bytes > 0 && Some(sum(&parts) - parts[at].bytes) == held;
        let on_top = tables.filter(outside).map(|at| parts.remove(at).bytes);
        parts.extend(REST.into_iter().filter_map(part));
        Self {
            whole: sum(&parts),
            parts,
            limit: value("budget.limit"),
            held,
            peak: value("held.peak"),
            on_top,
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: parts come to the budget, page tables in it or on top. Method: by example.
    use super::*;
    use crate::{Nature, Series, Unit};

    fn account(numbers: &[(&str, u64)]) -> Account {
        let series = numbers
            .iter()
            .map(|(name, _)| Series::new(name, Unit::Bytes, Nature::Gauge));
        let schema = Schema {
            series: series.collect(),
            ..Schema::default()
        };
        let values = numbers.iter().map(|&(_, bytes)| Some(bytes)).collect();
        let sample = Sample {
            values,
            ..Sample::default()
        };
        Account::of(&schema, &sample)
    }

    #[test]
    fn parts_come_to_the_budget() {
        let held = [("held.shared", 5), ("held.private", 7), ("held.page_tables", 3)];
        let budget = [
            ("budget.limit", 30),
            ("budget.reserve", 4),
            ("budget.free", 11),
            ("held.total", 15),
        ];
        let within = account(&[&held[..], &budget].concat());
        assert_eq!((within.whole, within.limit, within.on_top), (30, Some(30), None));
        let budget = [
            ("budget.limit", 30),
            ("budget.reserve", 4),
            ("budget.free", 14),
            ("held.total", 12),
        ];
        let on_top = account(&[&held[..], &budget].concat());
        assert_eq!(
            (on_top.whole, on_top.on_top, on_top.parts.len()),
            (30, Some(3), 4)
        );
        let none = account(&[("held.private", u64::MAX), ("held.shared", 9)]);
        assert_eq!((none.whole, none.limit, none.held), (u64::MAX, None, None));
    }
}
