//! What is told, and in which order. Plain values; `report` explores them.

use memfold_mm::rules;
use memfold_sync::model::Rule;

/// Rules that belong together.
#[derive(Clone)]
pub struct Chapter {
    /// A heading.
    pub title: &'static str,
    /// What it is about: a paragraph.
    pub about: &'static str,
    /// Its rules, each with its defects.
    pub rules: Vec<Rule>,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The race that memfold was born from, and the question that it raised.
    Seed,
    /// Also the words that have nothing to do with it, but the same discipline.
    All,
}

/// The chapters, in their order.
#[must_use]
pub fn chapters(extent: Extent) -> Vec<Chapter> {
    let mut chapters = vec![
        Chapter {
            title: "The hole",
            about: "A write fault that finds itself the only user of a frame takes it over: it writes the frame's mapping \
                    word, which says who owns it and in which way. Reclaim reads that word without the frame's lock, to \
                    decide how to ask the mappers whether the frame is in use. In 2015 Linux wrote the word by what a \
                    compiler may make two stores, and the mend was to write it by one. In memfold it is one 64-bit \
                    atomic with one writer function, and who reads it decodes one load.",
            rules: rules::of_the_mapping_word(),
        },
        Chapter {
            title: "The second question",
            about: "Reclaim holds a reference to the frame that it looks at. May the frame become a merged one meanwhile, \
                    between two looks at its word? Not if merging refuses a frame that somebody else holds. Linux \
                    compares the counts for that, and only for some states of the page-table entry. memfold proves them \
                    for every state: it exchanges the expected counts for 'frozen', converts, and thaws.",
            rules: rules::of_the_counts(),
        },
    ];
    if extent == Extent::All {
        chapters.push(Chapter {
            title: "The same discipline elsewhere",
            about: "Other words are read without a lock, too: how many parents a table has, who uses a swap slot, how much \
                    of the budget is taken.",
            rules: rules::of_other_words(),
        });
    }
    chapters.push(Chapter {
        title: "The whole manager",
        about: "A round of merging against the eviction of one of two siblings whose pages are equal: every word, lock, \
                list and table of the manager at once, on a machine of two pages. After each execution every byte is \
                compared, and every invariant of the manager is checked.",
        rules: rules::of_the_manager(),
    });
    chapters
}

/// The names of all defects and what each does, in order.
#[must_use]
pub fn defects() -> Vec<(&'static str, &'static str)> {
    let chapters = chapters(Extent::All);
    let rules = chapters.iter().flat_map(|chapter| &chapter.rules);
    rules
        .flat_map(|rule| &rule.defects)
        .map(|defect| (defect.name, plain(defect.title)))
        .collect()
}

/// What of it has this defect: one chapter with one rule with one defect.
#[must_use]
pub fn only(name: &str) -> Option<Vec<Chapter>> {
    for mut chapter in chapters(Extent::All) {
        for mut rule in std::mem::take(&mut chapter.rules) {
            rule.defects.retain(|defect| defect.name == name);
            if !rule.defects.is_empty() {
                chapter.rules = vec![rule];
                return Some(vec![chapter]);
            }
        }
    }
    None
}

/// A model's title without the room of the manager that stands before it.
pub(crate) fn plain(title: &'static str) -> &'static str {
    title.split_once(": ").map_or(title, |(_, title)| title)
}
