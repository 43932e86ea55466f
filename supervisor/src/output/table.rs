//! Tables and wrapped text that fit a terminal. Without a width, nothing is dropped or cut.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns between two columns.
const GAP: usize = 2;
/// Fewest columns that a column without a limit of its own is cut to.
const LEAST: usize = 8;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    heading: &'static str,
    /// Those of the highest rank are dropped first when there is no space; 0 is never dropped.
    rank: u8,
    /// Columns that it can be cut to.
    least: Option<usize>,
    /// Whether its cells are words for states, and coloured so.
    pub(super) is_state: bool,
}

impl Column {
    /// A column that is neither dropped nor cut.
    pub const fn kept(heading: &'static str) -> Self {
        Self { heading, rank: 0, least: None, is_state: false }
    }

    /// A column that is dropped when there is no space, those of the highest rank first.
    pub const fn dropped(heading: &'static str, rank: u8) -> Self {
        Self { heading, rank, least: None, is_state: false }
    }

    /// A kept column of words for states.
    pub const fn state(heading: &'static str) -> Self {
        Self { heading, rank: 0, least: None, is_state: true }
    }

    pub const fn heading(&self) -> &'static str {
        self.heading
    }

    /// The same column, which is cut when dropping others is not enough.
    pub const fn cut_to(self, least: usize) -> Self {
        Self { least: Some(least), ..self }
    }
}

impl From<&'static str> for Column {
    /// A column that is kept, and cut when there is no space.
    fn from(heading: &'static str) -> Self {
        Self::kept(heading).cut_to(LEAST)
    }
}

/// Widths of the columns that are shown; `None` for one that is dropped.
pub(super) fn fit(columns: &[Column], natural: &[usize], available: Option<usize>) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = natural.iter().copied().map(Some).collect();
    let Some(available) = available else { return widths };
    let total = |widths: &[Option<usize>]| {
        let shown = widths.iter().flatten();
        shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1)
    };
    while total(&widths) > available {
        let droppable = (0..columns.len()).filter(|at| widths[*at].is_some() && columns[*at].rank > 0);
        match droppable.max_by_key(|at| columns[*at].rank) {
            Some(at) => widths[at] = None,
            None => break,
        }
    }
    while total(&widths) > available {
        let over = total(&widths) - available;
        let room = |at: &usize| Some(widths[*at]?.saturating_sub(columns[*at].least?)).filter(|room| *room > 0);
        let widest = (0..columns.len()).filter(|at| room(at).is_some()).max_by_key(|at| widths[*at]);
        let Some(at) = widest else { break };
        let cut = over.min(room(&at).unwrap_or_default());
        widths[at] = widths[at].map(|width| width - cut);
    }
    widths
}

/// The lines of a table: for each, the cells of the columns that are shown, padded but for the last.
pub(super) fn lines(columns: &[Column], rows: &[Vec<String>], available: Option<usize>) -> Vec<Vec<(Column, String)>> {
    let natural: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width());
            cells.chain([column.heading.width()]).max().unwrap_or(0)
        })
        .collect();
    let widths = fit(columns, &natural, available);
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    let last = widths.iter().rposition(Option::is_some);
    let line = |row: &Vec<String>| {
        let cells = columns.iter().zip(row).enumerate().filter_map(|(at, (column, cell))| {
            let width = widths[at]?;
            let cell = cut(cell, width);
            let padding = if Some(at) == last { 0 } else { width.saturating_sub(cell.width()) };
            Some((*column, format!("{cell}{:padding$}", "")))
        });
        cells.collect()
    };
    [&headings].into_iter().chain(rows).map(line).collect()
}

/// A text cut to a width, with `…` at its end if something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let needed = c.width().unwrap_or(0);
        let fits = needed <= left;
        left = left.saturating_sub(needed);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// A text broken at spaces so that its lines fit a width. A word that is longer stays whole.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && shown_width(&line) + 1 + shown_width(word) > width {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Columns of a text that may have colours.
fn shown_width(text: &str) -> usize {
    anstream::adapter::strip_str(text).map(UnicodeWidthStr::width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [Column::kept("ID").cut_to(4), Column::state("STATE"), Column::dropped("RTT", 1), Column::dropped("PATH", 2)];

    #[test]
    fn columns_are_dropped_by_rank_and_then_cut() {
        let natural = [10, 9, 6, 8];
        for (available, expected) in [
            (None, [Some(10), Some(9), Some(6), Some(8)]),
            (Some(39), [Some(10), Some(9), Some(6), Some(8)]),
            (Some(38), [Some(10), Some(9), Some(6), None]),
            (Some(28), [Some(10), Some(9), None, None]),
            (Some(19), [Some(8), Some(9), None, None]),
            (Some(5), [Some(4), Some(9), None, None]),
        ] {
            assert_eq!(fit(&COLUMNS, &natural, available), expected, "{available:?}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_whatever_it_is_written_in() {
        let rows = [vec!["名前の長いノード".to_owned(), "ready".into(), "1 ms".into(), "direct".into()]];
        for width in 14..60 {
            for line in lines(&COLUMNS, &rows, Some(width)) {
                let text: Vec<_> = line.iter().map(|(_, cell)| cell.as_str()).collect();
                assert!(text.join("  ").width() <= width, "{width}: {text:?}");
            }
        }
        assert_eq!(cut("名前の長い", 6), "名前…");
    }

    #[test]
    fn text_is_broken_at_spaces_only() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a\n/a/long/path it", 5), ["a", "/a/long/path", "it"]);
        assert_eq!(wrap("\x1b[32mone\x1b[0m two", 7).len(), 1, "colours take no space");
    }
}
