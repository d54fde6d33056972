//! Plain text tables, and the units that stand in them.

use std::time::Duration;

/// Lines up columns: words to the left, figures to the right. The first row is the heading.
pub(crate) fn render(rows: &[Vec<String>]) -> String {
    let mut rows = rows.to_vec();
    for column in 0..rows[0].len() {
        let cells = || rows.iter().map(move |row| row[column].as_str());
        let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let has_words = cells().skip(1).any(|cell| cell.starts_with(char::is_alphabetic));
        for row in &mut rows {
            row[column] = match has_words {
                true => format!("{:<width$}", row[column]),
                false => format!("{:>width$}", row[column]),
            };
        }
    }
    let dashes = rows[0]
        .iter()
        .map(|cell| "-".repeat(cell.chars().count()))
        .collect();
    rows.insert(1, dashes);
    let lines = rows.iter().map(|row| row.join("  ").trim_end().to_owned() + "\n");
    lines.collect()
}

/// Bytes for people: three digits that matter, binary units.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1000.0 {
            let decimals = if unit == "B" || value >= 100.0 { 0 } else { 1 };
            return format!("{value:.decimals$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A time for people.
pub(crate) fn time(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    //! Goal: what people read is right. Method: by example.
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["name".into(), "n".into()], vec!["a".into(), "100".into()]];
        assert_eq!(render(&rows), "name    n\n----  ---\na     100\n");
    }

    #[test]
    fn units_are_chosen_by_size() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(4096), "4.0 KiB");
        assert_eq!(bytes(256 << 20), "256 MiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(time(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(time(Duration::from_secs(125)), "2 min 05 s");
    }
}
