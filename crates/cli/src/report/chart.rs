//! Bars of block characters. Pure.

/// Cells of a full bar.
const WIDTH: usize = 40;
/// A cell that is filled by so many eighths; none is a space.
const CELLS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A bar whose length is to the full one as `part` is to `whole`, padded to
/// the full width. What is not nothing shows at least one eighth of a cell.
pub(super) fn bar(part: u64, whole: u64) -> String {
    let most = WIDTH * 8;
    let share = part as f64 / whole.max(1) as f64;
    let exact = (share * most as f64).round() as usize;
    let mut left = exact.clamp(usize::from(part > 0), most);
    let mut text = String::new();
    for _ in 0..WIDTH {
        let eighths = left.min(8);
        text.push(CELLS[eighths]);
        left -= eighths;
    }
    text
}

#[cfg(test)]
mod tests {
    //! Goal: a bar is as long as its number, whatever the numbers. Method: by example.
    use super::*;

    fn filled(part: u64, whole: u64) -> usize {
        let bar = bar(part, whole);
        assert_eq!(bar.chars().count(), WIDTH, "{part} of {whole}");
        let eighths = bar
            .chars()
            .map(|cell| CELLS.iter().position(|&c| c == cell).unwrap());
        eighths.sum()
    }

    #[test]
    fn bars_are_in_proportion() {
        assert_eq!(filled(0, 100), 0);
        assert_eq!(filled(50, 100), WIDTH * 4);
        assert_eq!(filled(100, 100), WIDTH * 8);
        assert_eq!(filled(1, 320), 1);
        assert_eq!(filled(9, 320), 9);
        assert_eq!(filled(1, u64::MAX), 1);
        assert_eq!(filled(u64::MAX, 1), WIDTH * 8);
        assert_eq!(filled(0, 0), 0);
    }
}
