//! The budget as one bar, with its parts, which add up, and a sentence about how near it is.

use super::style::{Paint, of_part};
use crate::app::App;
use crate::shares::apportion;
use memfold_record::Account;
use memfold_size::show;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, paint: Paint) {
    let account = Account::of(&app.window.schema, &app.window.now);
    let mut lines = vec![sentence(&account, app, paint), bar(&account, area.width, paint)];
    lines.extend(legend(&account, area.width, app.exact, paint));
    for (line, row) in lines.into_iter().zip(area.rows()) {
        frame.render_widget(line, row);
    }
}

/// How much is held of how much, and whether somebody waits for room.
fn sentence<'a>(account: &Account, app: &App, paint: Paint) -> Line<'a> {
    let known = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), show);
    let per_cent = |bytes: Option<u64>, limit: u64| match bytes {
        Some(bytes) if limit > 0 => format!("{} %", u128::from(bytes) * 100 / u128::from(limit)),
        _ => "?".to_owned(),
    };
    let mut text = match account.limit {
        Some(limit) => format!(
            "held {} of {} ({}, at most {})",
            known(account.held),
            show(limit),
            per_cent(account.held, limit),
            per_cent(account.peak, limit)
        ),
        None => format!(
            "held {}, no budget; at most {}",
            known(account.held),
            known(account.peak)
        ),
    };
    if let Some(on_top) = account.on_top {
        text += &format!("; page tables on top {}", show(on_top));
    }
    let condemned = app.window.now.spaces.values().filter(|row| row.condemned);
    let condemned = condemned.count();
    let mut spans = vec![paint.strong(text)];
    if condemned > 0 {
        spans.push(paint.alarm(format!("; {condemned} condemned")));
    }
    let last = |of| app.window.rates(of).last().copied().flatten();
    match (last(3), last(1)) {
        (Some(stalls), _) if stalls > 0 => spans.push(paint.alarm("; threads wait for room".to_owned())),
        (_, Some(evictions)) if evictions > 0 => spans.push("; pages are evicted".into()),
        (Some(_), Some(_)) => spans.push("; nobody waits".into()),
        _ => (),
    }
    Line::from(spans)
}

fn bar<'a>(account: &Account, width: u16, paint: Paint) -> Line<'a> {
    let sizes: Vec<u64> = account.parts.iter().map(|part| part.bytes).collect();
    let cells = apportion(&sizes, width.into());
    let spans = account.parts.iter().zip(cells).map(|(part, cells)| {
        let text: String = std::iter::repeat_n(part.letter, cells as usize).collect();
        Span::styled(text, paint.on(of_part(part.letter)))
    });
    Line::from(spans.collect::<Vec<_>>())
}

/// The parts and their sum, in tenths of a unit that add up, or in bytes.
fn legend<'a>(account: &Account, width: u16, exact: bool, paint: Paint) -> Vec<Line<'a>> {
    let sizes: Vec<u64> = account.parts.iter().map(|part| part.bytes).collect();
    let (unit, bytes) = match account.whole {
        whole if whole < 10 << 20 => ("KiB", 1024),
        whole if whole < 100 << 30 => ("MiB", 1 << 20),
        _ => ("GiB", 1u64 << 30),
    };
    let tenths = (u128::from(account.whole) * 10 / u128::from(bytes)) as u64;
    let shares = apportion(&sizes, tenths);
    let number = |bytes: u64, tenths: u64| match exact {
        true => bytes.to_string(),
        false => format!("{}.{}", tenths / 10, tenths % 10),
    };
    let mut lines = vec![Line::default()];
    let mut used = 0;
    let mut put = |spans: Vec<Span<'a>>| {
        let line = Line::from(spans);
        if used > 0 && used + line.width() > width.into() {
            lines.push(Line::default());
            used = 0;
        }
        used += line.width();
        lines.last_mut().expect("there is one").spans.extend(line.spans);
    };
    for (part, tenths) in account.parts.iter().zip(shares) {
        let letter = Span::styled(part.letter.to_string(), paint.on(of_part(part.letter)));
        let text = format!(" {} {}  ", part.name, number(part.bytes, tenths));
        put(vec![letter, text.into()]);
    }
    let unit = if exact { "bytes" } else { unit };
    put(vec![
        paint.strong(format!("= {} {unit}", number(account.whole, tenths))),
    ]);
    lines
}
