//! Colours, for those who see them, and letters for everybody. Pure.

use crate::app::Colours;
use memfold_record::PageState;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

/// Paints what is drawn, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(pub Colours);

impl Paint {
    /// Black on this colour.
    pub fn on(self, colour: Color) -> Style {
        match self.0 {
            Colours::On => Style::new().fg(Color::Black).bg(colour),
            Colours::Off => Style::new(),
        }
    }

    pub fn colour(self, colour: Color) -> Style {
        match self.0 {
            Colours::On => Style::new().fg(colour),
            Colours::Off => Style::new(),
        }
    }

    pub fn strong<'a>(self, text: String) -> Span<'a> {
        Span::styled(text, Style::new().add_modifier(Modifier::BOLD))
    }

    pub fn dim<'a>(self, text: String) -> Span<'a> {
        Span::styled(text, Style::new().add_modifier(Modifier::DIM))
    }

    /// What is wrong.
    pub fn alarm<'a>(self, text: String) -> Span<'a> {
        Span::styled(text, self.colour(Color::Red).add_modifier(Modifier::BOLD))
    }

    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

/// The colour of a part of the budget, by its letter.
pub(super) fn of_part(letter: char) -> Color {
    match letter {
        'S' => Color::Blue,
        'P' => Color::LightRed,
        'C' => Color::Magenta,
        't' => Color::Yellow,
        'k' => Color::LightYellow,
        'n' => Color::Cyan,
        'r' => Color::Gray,
        _ => Color::Green,
    }
}

/// The colour of a page.
pub(super) fn of_page(state: PageState) -> Color {
    match state {
        PageState::Absent => Color::DarkGray,
        PageState::Inherited => Color::Gray,
        PageState::Exclusive => Color::LightRed,
        PageState::Exported => Color::LightBlue,
        PageState::Shared => Color::Blue,
        PageState::Merged => Color::Green,
        PageState::Compressed => Color::Magenta,
        PageState::Pinned => Color::Yellow,
        PageState::File => Color::Cyan,
        PageState::Native => Color::White,
    }
}
