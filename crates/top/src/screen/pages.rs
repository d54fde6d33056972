//! The pages of the chosen space, cell by cell, each with a colour and a letter; what they mean.

use super::style::{Paint, of_page};
use crate::app::App;
use memfold_record::{PageMap, PageState};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, paint: Paint) {
    let Some(line) = app.chosen_line() else { return };
    let unknown = |why: &str| Line::from(paint.dim(format!("{} {why}", line.name())));
    let Some(row) = &line.row else {
        frame.render_widget(unknown("while clones of it go on"), area);
        return;
    };
    let Some(counts) = row.pages else {
        frame.render_widget(unknown("has not been looked at yet"), area);
        return;
    };
    let legend = legend(&counts, area.width, paint);
    let room = usize::from(area.height).saturating_sub(legend.len() + 1);
    let (cells, per_cell) = fold(&row.map, room * usize::from(area.width));
    let ago = app.window.now.at_us.saturating_sub(row.looked_at_us) / 1_000_000;
    let seen = if ago > 1 {
        format!(", {ago} s ago")
    } else {
        String::new()
    };
    let pages = per_cell * row.map.cell_pages;
    let each = if pages == 1 {
        "page".to_owned()
    } else {
        format!("{pages} pages")
    };
    let head = format!("{} a cell is {each}{seen}", line.name());
    let mut lines = vec![Line::from(paint.strong(head))];
    for cells in cells.chunks(area.width.into()) {
        let spans = cells.chunk_by(|a, b| a == b).map(|same| {
            let text: String = same.iter().map(|state| state.letter()).collect();
            Span::styled(text, paint.on(of_page(same[0])))
        });
        lines.push(Line::from(spans.collect::<Vec<_>>()));
    }
    lines.extend(legend);
    for (line, at) in lines.into_iter().zip(area.rows()) {
        frame.render_widget(line, at);
    }
}

/// At most so many cells: each is what most of its own are. And how many those are.
fn fold(map: &PageMap, most: usize) -> (Vec<PageState>, u32) {
    let all = map.cells() as usize;
    let per_cell = all.div_ceil(most.max(1)).max(1);
    let states = map
        .stretches
        .iter()
        .flat_map(|stretch| std::iter::repeat_n(stretch.state, stretch.cells as usize));
    let states: Vec<PageState> = states.collect();
    let cells = states.chunks(per_cell).map(|cell| {
        let of = |state: &PageState| cell.iter().filter(|other| *other == state).count();
        *PageState::ALL
            .iter()
            .max_by_key(|&state| of(state))
            .unwrap_or(&PageState::Absent)
    });
    (cells.collect(), per_cell as u32)
}

/// The states that there are, each with its letter and how many pages.
fn legend<'a>(counts: &[u32; PageState::ALL.len()], width: u16, paint: Paint) -> Vec<Line<'a>> {
    let mut lines = vec![Line::default()];
    for (state, &count) in PageState::ALL.into_iter().zip(counts) {
        if count == 0 {
            continue;
        }
        let letter = Span::styled(state.letter().to_string(), paint.on(of_page(state)));
        let text = format!(" {} {count}  ", state.name());
        let last = lines.last().map_or(0, Line::width);
        if last > 0 && last + 1 + text.trim_end().len() > width.into() {
            lines.push(Line::default());
        }
        lines
            .last_mut()
            .expect("there is one")
            .spans
            .extend([letter, text.into()]);
    }
    lines
}
