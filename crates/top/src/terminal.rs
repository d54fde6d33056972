//! The terminal: it is asked for keys, and drawn to; and the same as one text.

use crate::app::{App, Colours, Next};
use crate::screen::{LEAST, draw};
use crate::source::{Live, Replay, Source, SourceError};
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyEventKind, poll, read};
use ratatui::{DefaultTerminal, Terminal};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks for samples.
const TICK: Duration = Duration::from_millis(100);
/// How long [`once`] waits for samples, so that there are rates.
const GATHER: Duration = Duration::from_millis(1200);

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The one process of this user that serves a socket where it is looked for.
    Own,
    /// The process behind this socket.
    Socket(PathBuf),
    /// This record.
    Record(PathBuf),
}

/// What is looked at, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What is looked at.
    pub what: What,
    /// Without colours, whatever `NO_COLOR` says, which otherwise decides
    /// (<https://no-color.org>).
    pub no_colour: bool,
}

/// Cells of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Cells from left to right.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl std::str::FromStr for Size {
    type Err = TopError;

    /// `80x24`.
    fn from_str(text: &str) -> Result<Self, TopError> {
        let bad = || TopError::BadSize(text.to_owned());
        let (columns, rows) = text.split_once('x').ok_or_else(bad)?;
        let cells = |text: &str, least: u16| text.parse().ok().filter(|cells| (least..=1000).contains(cells));
        Ok(Self {
            columns: cells(columns, LEAST.0).ok_or_else(bad)?,
            rows: cells(rows, LEAST.1).ok_or_else(bad)?,
        })
    }
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopError {
    /// There is nothing to look at.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Nobody could see it, or press a key.
    #[error("this needs a terminal, for its input and its output; --once prints one screen as text")]
    NoTerminal,
    /// The terminal refuses.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[source] io::Error),
    /// A size cannot be meant.
    #[error("{0:?} is no size of a screen: say columns and rows, as 80x24, from {least}x{rows} to 1000x1000", least = LEAST.0, rows = LEAST.1)]
    BadSize(String),
}

impl Options {
    fn source(&self) -> Result<Box<dyn Source>, SourceError> {
        Ok(match &self.what {
            What::Own => Box::new(Live::own()?),
            What::Socket(path) => Box::new(Live::connect(path)?),
            What::Record(path) => Box::new(Replay::open(path)?),
        })
    }

    fn colours(&self) -> Colours {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
        if self.no_colour || unwanted {
            Colours::Off
        } else {
            Colours::On
        }
    }
}

/// Shows it until the user quits. The terminal is as it was afterwards, also after a panic.
///
/// # Errors
/// [`TopError`].
pub fn watch(options: &Options) -> Result<(), TopError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let mut source = options.source()?;
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    let watched = turn(&mut terminal, source.as_mut(), options.colours());
    ratatui::restore();
    watched.map_err(TopError::Terminal)
}

fn turn(terminal: &mut DefaultTerminal, source: &mut dyn Source, colours: Colours) -> io::Result<()> {
    let mut app = App::new(source, colours);
    let mut since = Instant::now();
    // Ends with the user.
    loop {
        terminal.draw(|frame| draw(frame, &app, source))?;
        if poll(TICK)? {
            match read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if app.key(key, source) == Next::Quit {
                        return Ok(());
                    }
                    since = Instant::now();
                }
                // The next drawing asks for the size.
                _ => (),
            }
        }
        if source.poll() {
            app.came(source);
        }
        if !source.is_live() && app.going {
            let passed = since.elapsed();
            since = Instant::now();
            play(&mut app, source, passed);
        }
    }
}

/// A record goes on as fast as it was made, at the least one sample at a time.
fn play(app: &mut App, source: &dyn Source, passed: Duration) {
    let last = source.len() - 1;
    let due = source.at_us(app.sample) + passed.as_micros() as u64;
    let next = (app.sample + 1..=last)
        .take_while(|&next| source.at_us(next) <= due)
        .last();
    app.sample = next.unwrap_or(app.sample + 1).min(last);
    app.going = app.sample < last;
    app.look(source);
}

/// One screen as text, without colours: the newest sample of a process, or a record's last one.
///
/// # Errors
/// [`TopError`].
pub fn once(options: &Options, size: Size) -> Result<String, TopError> {
    let mut source = options.source()?;
    let begin = Instant::now();
    while source.is_live() && begin.elapsed() < GATHER {
        thread::sleep(TICK);
        source.poll();
    }
    Ok(text(
        &App::new(source.as_ref(), Colours::Off),
        source.as_ref(),
        size,
    ))
}

/// What a screen of this size shows, line by line.
pub(crate) fn text(app: &App, source: &dyn Source, size: Size) -> String {
    let backend = TestBackend::new(size.columns, size.rows);
    let Ok(mut terminal) = Terminal::new(backend);
    let Ok(_) = terminal.draw(|frame| draw(frame, app, source));
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content().chunks(size.columns.into()) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}
