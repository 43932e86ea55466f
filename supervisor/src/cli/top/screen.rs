//! The screen of `polypeer top`, and the cells of its table.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::COLUMNS;
use super::rates::{ProcessLine, Rates, TopDocument};
use crate::control::documents::PeerCounts;
use crate::manifest::values::shown_size;
use crate::output::{clean, cut, duration, known, style};
use crate::petname::short;

/// Columns that a name takes on the screen.
const NAME_WIDTH: u16 = 20;
/// Widths of the other columns, in the order of [`COLUMNS`].
const WIDTHS: [u16; 6] = [9, 8, 11, 11, 11, 8];

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, top: &TopDocument) {
    let [head, table, foot] =
        Layout::vertical([Constraint::Length(3), Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    let width = usize::from(head.width);
    let title = top.node_id.map(|node| format!("node {}, ", short(&node))).unwrap_or_default();
    let lines = [
        Line::from(format!("polypeer: {title}up {}", duration(top.uptime_s))),
        Line::from(cut(&totals(top), width)),
        health(top, width),
    ];
    frame.render_widget(Paragraph::new(lines.to_vec()), head);

    let bold = Style::new().add_modifier(Modifier::BOLD);
    let headings = COLUMNS.iter().map(|column| Cell::from(column.heading()).style(bold));
    let rows = top.processes.iter().map(|process| {
        let mut cells = cells(process).into_iter();
        let name = cut(&cells.next().unwrap_or_default(), usize::from(NAME_WIDTH));
        let state = cells.next().unwrap_or_default();
        let color = color_of(&state);
        let first = [Cell::from(name), Cell::from(Span::styled(state, color))];
        Row::new(first.into_iter().chain(cells.map(Cell::from)))
    });
    let widths = [NAME_WIDTH].into_iter().chain(WIDTHS).map(Constraint::Length);
    let hidden = (top.processes.len() + 1).saturating_sub(usize::from(table.height));
    frame.render_widget(Table::new(rows, widths).header(Row::new(headings)).column_spacing(1), table);
    let more = if hidden > 0 { format!("; {hidden} more do not fit") } else { String::new() };
    frame.render_widget(Paragraph::new(format!("q ends it{more}")), foot);
}

/// Peers and traffic of the whole node, in one line.
pub(super) fn totals(top: &TopDocument) -> String {
    let peers = top.peers.as_ref();
    let noun = |count: u64| if count == 1 { "peer" } else { "peers" };
    let shown =
        |peers: &PeerCounts| format!("{} {} connected, {} known", peers.connected, noun(peers.connected), peers.known);
    let peers = peers.map(shown);
    let Rates { sent_bytes_per_s, received_bytes_per_s } = top.traffic;
    let peers = peers.unwrap_or_else(|| "peers unknown".into());
    format!("{peers}; sent {}, received {}", per_second(sent_bytes_per_s), per_second(received_bytes_per_s))
}

/// The cells of one row, in the order of [`COLUMNS`].
pub(super) fn cells(process: &ProcessLine) -> Vec<String> {
    vec![
        process.name.clone(),
        process.state.clone(),
        known(process.cpu_percent.map(|percent| format!("{percent:.1} %"))),
        known(process.memory_bytes.map(shown_size)),
        per_second(process.traffic.sent_bytes_per_s),
        per_second(process.traffic.received_bytes_per_s),
        process.restarts.to_string(),
    ]
}

fn per_second(bytes: Option<u64>) -> String {
    known(bytes.map(|bytes| format!("{}/s", shown_size(bytes))))
}

fn health(top: &TopDocument, width: usize) -> Line<'static> {
    let text = match &top.problems[..] {
        [] => return Line::from("all is well").style(Style::new().fg(Color::Green)),
        [one] => format!("1 problem: {}", one.problem),
        [first, ..] => format!("{} problems, the first: {}", top.problems.len(), first.problem),
    };
    Line::from(cut(&clean(&text), width)).style(Style::new().fg(Color::Red))
}

/// The colour of a word for a state, as in the other commands.
fn color_of(state: &str) -> Style {
    match style::of_state(state) {
        style::GOOD => Style::new().fg(Color::Green),
        style::UNSURE => Style::new().fg(Color::Yellow),
        style::BAD => Style::new().fg(Color::Red),
        style::QUIET => Style::new().add_modifier(Modifier::DIM),
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::rates::{rates, tests::sample};
    use super::*;
    use crate::control::documents::ProblemDocument;

    fn drawn(top: &TopDocument, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        terminal.draw(|frame| draw(frame, top)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let line = |row: u16| (0..width).map(|column| buffer[(column, row)].symbol()).collect::<String>();
        (0..height).map(line).collect()
    }

    #[test]
    fn everything_fits_80_columns() {
        let top = rates(&sample(100), &sample(300), Duration::from_secs(2));
        let lines = drawn(&top, 80, 24);
        assert!(lines[1].contains("2 peers connected, 5 known; sent 100 KiB/s, received 100 B/s"), "{lines:?}");
        assert!(lines[2].starts_with("all is well"), "{lines:?}");
        for heading in COLUMNS.iter().map(|column| column.heading()) {
            assert!(lines[3].contains(heading), "{heading} in {:?}", lines[3]);
        }
        assert!(
            lines[6].starts_with("chat ") && lines[6].contains("2.5 %") && lines[6].contains("15 MiB"),
            "{lines:?}"
        );
        assert!(lines[23].starts_with("q ends it "), "{lines:?}");
    }

    #[test]
    fn small_terminal_says_what_is_missing() {
        let mut top = rates(&sample(1), &sample(1), Duration::ZERO);
        top.problems = vec![ProblemDocument { problem: "x\x1b".repeat(50), remedy: String::new() }];
        let lines = drawn(&top, 30, 6);
        assert!(lines[2].starts_with("1 problem: x\\u{1b}x") && lines[2].contains('…'), "{lines:?}");
        assert!(lines[5].starts_with("q ends it; 2 more do not fit"), "{lines:?}");
        for (width, height) in [(1, 1), (5, 2), (300, 100)] {
            drawn(&top, width, height);
        }
    }
}
