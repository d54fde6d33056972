//! A record, to be looked at at any of its moments. Nothing of it changes.

use super::{Source, SourceError, title};
use crate::window::{LONGEST, Window};
use memfold_record::{Recording, Schema};
use std::path::Path;

pub(crate) struct Replay(Recording);

impl Replay {
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        Ok(Self(Recording::open(path)?))
    }

    #[cfg(test)]
    pub fn of(recording: Recording) -> Self {
        Self(recording)
    }
}

impl Source for Replay {
    fn schema(&self) -> &Schema {
        self.0.schema()
    }

    fn title(&self) -> String {
        title(self.0.schema())
    }

    fn poll(&mut self) -> bool {
        false
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn at_us(&self, sample: usize) -> u64 {
        self.0.at_us(sample)
    }

    fn window(&self, sample: usize) -> Window {
        let first = (sample + 1).saturating_sub(LONGEST);
        let mut window = Window::new(self.0.schema());
        // What is damaged there was found when the record was opened, or ends what is shown.
        let _ = self.0.each(first..sample + 1, |sample| window.push(sample));
        window
    }

    fn ending(&self) -> Option<String> {
        self.0.ending()
    }

    fn is_live(&self) -> bool {
        false
    }
}
