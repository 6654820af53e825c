//! Tables as plain text: for scripts, pipes and the demo.

use std::fmt::Write;

use crate::top::Site;
use crate::top::screen::Screen;
use crate::top::table::{GAP, Table};
use crate::top::tables::Pane;

/// Classes in the demo: a screenful.
const CLASSES: usize = 20;

/// Everything, as wide as it is.
pub(super) fn tables(site: &Site, screen: &Screen) -> String {
    let mut out = format!("{}\n", site.health().text);
    for pane in Pane::ALL {
        let _infallible = write!(out, "\n{}", text(&screen.table(pane, site)));
    }
    out
}

/// A screenful: how the site is, its instances, and the classes with the most requests.
pub(crate) fn screen(site: &Site) -> String {
    let screen = Screen::new(String::new());
    let mut classes = screen.table(Pane::Classes, site);
    classes.rows.truncate(CLASSES);
    let instances = screen.table(Pane::Instances, site);
    format!("{}\n\n{}\n{}", site.health().text, text(&instances), text(&classes))
}

/// A header and a line per row.
fn text(table: &Table) -> String {
    let widths: Vec<_> = (0..table.columns.len()).map(|n| table.width(n)).collect();
    let header = table.columns.iter().map(|column| column.name);
    let mut out = line(table, &widths, header);
    for row in &table.rows {
        out += &line(table, &widths, row.iter().map(|cell| cell.text.as_str()));
    }
    out
}

fn line<'a>(table: &Table, widths: &[usize], cells: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for ((column, width), cell) in table.columns.iter().zip(widths).zip(cells) {
        let _infallible = match column.is_figure {
            true => write!(out, "{cell:>width$}{:GAP$}", ""),
            false => write!(out, "{cell:<width$}{:GAP$}", ""),
        };
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}
