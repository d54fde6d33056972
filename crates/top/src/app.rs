//! What the user chose, and how keys change it: [`App`]. Plain values; one thread.

use crate::rows::{SortBy, SpaceLine, lines};
use crate::source::Source;
use crate::window::Window;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    On,
    Off,
}

/// What becomes of the program after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Go,
    Quit,
}

pub(crate) struct App {
    pub colours: Colours,
    /// The sample that is looked at.
    pub sample: usize,
    /// Whether the next one is looked at when it comes, or when its time has come.
    pub going: bool,
    pub sort: SortBy,
    pub turned: bool,
    pub filter: String,
    /// Whether keys are letters of the filter.
    pub typing: bool,
    pub help: bool,
    /// Whether parts of the budget are shown in bytes.
    pub exact: bool,
    /// The space whose pages are shown.
    pub chosen: Option<u64>,
    pub window: Window,
    pub lines: Vec<SpaceLine>,
}

/// Rows that a page key passes.
const PAGE: usize = 10;
/// Samples that a large step passes.
const LARGE: usize = 50;

impl App {
    /// At the newest sample of a process, or at a record's last one.
    pub fn new(source: &dyn Source, colours: Colours) -> Self {
        let mut app = Self {
            colours,
            sample: source.len() - 1,
            going: source.is_live(),
            sort: SortBy::Holds,
            turned: false,
            filter: String::new(),
            typing: false,
            help: false,
            exact: false,
            chosen: None,
            window: Window::new(source.schema()),
            lines: Vec::new(),
        };
        app.look(source);
        app
    }

    /// Looks at the sample again, after it or what is shown of it has changed.
    pub fn look(&mut self, source: &dyn Source) {
        self.sample = self.sample.min(source.len() - 1);
        self.window = source.window(self.sample);
        self.arrange();
    }

    fn arrange(&mut self) {
        self.lines = lines(&self.window.now, self.sort, self.turned, &self.filter);
        let there = |chosen| self.lines.iter().any(|line| line.birth == chosen);
        if !self.chosen.is_some_and(there) {
            // The template with the most clones is what most programs are about; then the one for
            // which most is held.
            let alive = self.lines.iter().filter(|line| line.row.is_some());
            let holds = |line: &SpaceLine| line.row.as_ref().and_then(|row| row.holds());
            let most = alive.rev().max_by_key(|line| (line.clones, holds(line)));
            self.chosen = most.map(|line| line.birth);
        }
    }

    /// More samples are there: the newest one is looked at, unless the user has stopped. The oldest
    /// ones may be gone.
    pub fn came(&mut self, source: &dyn Source) {
        let (last, at_us) = (source.len() - 1, self.window.now.at_us);
        let same = (0..last).find(|&sample| source.at_us(sample) >= at_us);
        self.sample = same.filter(|_| !self.going).unwrap_or(last);
        self.look(source);
    }

    /// Where the chosen space stands.
    pub fn at(&self) -> usize {
        let chosen = |line: &SpaceLine| Some(line.birth) == self.chosen;
        self.lines.iter().position(chosen).unwrap_or(0)
    }

    pub fn chosen_line(&self) -> Option<&SpaceLine> {
        self.lines.get(self.at())
    }

    pub fn key(&mut self, key: KeyEvent, source: &dyn Source) -> Next {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Next::Quit,
            _ if self.typing => self.type_filter(key.code),
            KeyCode::Char('q') => return Next::Quit,
            _ if self.help => self.help = false,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('b') => self.exact = !self.exact,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.turned = !self.turned,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.at().saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.at() + 1),
            KeyCode::PageUp => self.choose(self.at().saturating_sub(PAGE)),
            KeyCode::PageDown => self.choose(self.at() + PAGE),
            KeyCode::Char('g') => self.choose(0),
            KeyCode::Char('G') => self.choose(usize::MAX),
            _ => return self.scrub(key.code, source),
        }
        self.arrange();
        Next::Go
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Esc => {
                self.filter.clear();
                self.typing = false;
            }
            KeyCode::Enter => self.typing = false,
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.filter.len() < 60 => self.filter.push(letter),
            _ => (),
        }
    }

    fn choose(&mut self, at: usize) {
        let last = self.lines.len().saturating_sub(1);
        self.chosen = self.lines.get(at.min(last)).map(|line| line.birth);
    }

    /// Another moment.
    fn scrub(&mut self, key: KeyCode, source: &dyn Source) -> Next {
        let last = source.len() - 1;
        let to = match key {
            KeyCode::Left => self.sample.saturating_sub(1),
            KeyCode::Right => self.sample + 1,
            KeyCode::Char('[') => self.sample.saturating_sub(LARGE),
            KeyCode::Char(']') => self.sample + LARGE,
            KeyCode::Home => 0,
            KeyCode::End => last,
            KeyCode::Char(' ') => {
                self.going = !self.going;
                // From the beginning, when it is at the end of a record.
                match (self.going, source.is_live()) {
                    (true, true) => last,
                    (true, false) if self.sample == last => 0,
                    _ => self.sample,
                }
            }
            _ => return Next::Go,
        };
        if key != KeyCode::Char(' ') {
            self.going = key == KeyCode::End && source.is_live();
        }
        self.sample = to.min(last);
        self.look(source);
        Next::Go
    }
}
