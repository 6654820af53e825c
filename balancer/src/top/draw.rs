//! Paints a picture of a site into a buffer.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell as Place, Row, Table as Widget, Widget as _};

use crate::top::Site;
use crate::top::screen::Screen;
use crate::top::table::{Cell, GAP, Table, Tone};
use crate::top::tables::Pane;
use crate::top::words::millis;

/// All that there is to see.
pub(super) struct Picture<'a> {
    pub(super) admin: &'a str,
    pub(super) site: &'a Site,
    /// Of what is shown.
    pub(super) age: Duration,
    /// Why there is nothing newer.
    pub(super) failure: Option<&'a str>,
    pub(super) screen: &'a Screen,
}

const KEYS: &str = " q quit  Tab next table  s sort  r reverse  / filter  Space pause  arrows scroll";

pub(super) fn paint(picture: &Picture<'_>, area: Rect, buffer: &mut Buffer) {
    let tables = Pane::ALL.map(|pane| picture.screen.table(pane, picture.site));
    let heights = heights(area.height, tables.each_ref().map(|table| table.rows.len()), picture.screen.focus);
    let rows = [1, heights[0], heights[1], heights[2], 1].map(Constraint::Length);
    let [top, instances, lanes, classes, bottom] = Layout::vertical(rows).areas(area);
    header(picture).render(top, buffer);
    for ((pane, table), area) in Pane::ALL.into_iter().zip(&tables).zip([instances, lanes, classes]) {
        paint_table(picture.screen, pane, table, area, buffer);
    }
    footer(picture.screen).render(bottom, buffer);
}

/// Lines for each table, its title, its head and an empty line included. The focused one gets what it needs, the others
/// a quarter of all at least if they need it; what is left goes to the others, then to the classes. A table of which
/// there would be no row is not shown.
fn heights(height: u16, rows: [usize; 3], focus: Pane) -> [u16; 3] {
    let all = height.saturating_sub(2);
    let needed = rows.map(|rows| u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(3));
    let share = if all / 4 > 3 { all / 4 } else { 0 };
    let mut heights = needed.map(|needed| needed.min(share));
    let mut left = all - heights.iter().sum::<u16>();
    for n in std::iter::once(focus as usize).chain(0..3) {
        let more = (needed[n] - heights[n]).min(left);
        if heights[n] + more > 3 {
            heights[n] += more;
            left -= more;
        }
    }
    heights[2] += left;
    heights
}

fn header<'a>(picture: &Picture<'a>) -> Line<'a> {
    let health = picture.site.health();
    let age = millis(picture.age.as_secs_f64() * 1e3);
    let (text, color) = match (picture.failure, picture.screen.paused) {
        (Some(why), _) => (format!(" STALE, {age} old: {why}"), Color::Red),
        (None, true) => (format!(" paused, {age} old: {}", health.text), Color::Yellow),
        (None, false) if health.is_well => (format!(" {}", health.text), Color::Green),
        (None, false) => (format!(" {}", health.text), Color::Red),
    };
    let bold = Style::new().fg(color).add_modifier(Modifier::BOLD);
    Line::from(vec![Span::styled(text, bold), Span::raw(format!("  {}", picture.admin))])
}

fn footer(screen: &Screen) -> Line<'_> {
    let dim = Style::new().add_modifier(Modifier::DIM);
    match (screen.typing, screen.filter.is_empty()) {
        (true, _) => Line::from(format!(" filter: {}_  (Enter keeps it, Esc shows all)", screen.filter)),
        (false, false) => Line::from(vec![
            Span::raw(format!(" filter: {}  (Esc shows all) ", screen.filter)),
            Span::styled(KEYS, dim),
        ]),
        (false, true) => Line::styled(KEYS, dim),
    }
}

fn paint_table(screen: &Screen, pane: Pane, table: &Table, area: Rect, buffer: &mut Buffer) {
    if area.height < 4 {
        return;
    }
    let [title, body, _gap] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    let visible = usize::from(body.height.saturating_sub(1));
    let first = screen.first_row(pane, table.rows.len(), visible);
    self::title(screen, pane, table, first, visible).render(title, buffer);
    let widths = table.widths(usize::from(area.width.saturating_sub(1)));
    let shown = |cells: Vec<Place<'static>>| {
        let some = cells.into_iter().zip(&widths).filter(|(_, width)| **width > 0).map(|(cell, _)| cell);
        Row::new(some.collect::<Vec<_>>())
    };
    let rows = table.rows.iter().skip(first).take(visible);
    let rows = rows
        .map(|row| shown(table.columns.iter().zip(row).map(|(c, cell)| place(c.is_figure, cell)).collect()));
    let lengths = widths.iter().filter(|width| **width > 0);
    let lengths = lengths.map(|width| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX)));
    let widget =
        Widget::new(rows, lengths).column_spacing(GAP as u16).header(shown(head(screen, pane, table)));
    let inner = Rect { x: body.x + 1, width: body.width.saturating_sub(1), ..body };
    ratatui::widgets::Widget::render(widget, inner, buffer);
}

fn title(screen: &Screen, pane: Pane, table: &Table, first: usize, visible: usize) -> Line<'static> {
    let all = table.rows.len();
    let focused = screen.focus == pane;
    let mut text = format!("{} {}", if focused { ">" } else { " " }, pane.title());
    if all > visible {
        text += &format!("  {} to {} of {all}", first + 1, (first + visible).min(all));
    }
    let style = if focused { Style::new().fg(Color::Cyan) } else { Style::new() };
    Line::styled(text, style.add_modifier(Modifier::BOLD))
}

/// The names of the columns; that which sorts is marked.
fn head(screen: &Screen, pane: Pane, table: &Table) -> Vec<Place<'static>> {
    let sorting = screen.sorting(pane);
    let name = |(n, column): (usize, &crate::top::table::Column)| {
        let style =
            if n == sorting.column { Modifier::UNDERLINED | Modifier::BOLD } else { Modifier::UNDERLINED };
        aligned(column.is_figure, column.name.to_owned(), Style::new().add_modifier(style))
    };
    table.columns.iter().enumerate().map(name).collect()
}

fn place(is_figure: bool, cell: &Cell) -> Place<'static> {
    let style = match cell.tone {
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Warning => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
    };
    aligned(is_figure, cell.text.clone(), style)
}

fn aligned(is_figure: bool, text: String, style: Style) -> Place<'static> {
    let alignment = if is_figure { Alignment::Right } else { Alignment::Left };
    Place::from(Text::from(text).alignment(alignment)).style(style)
}
