//! Tables as values: cells, sorting, filtering, and what fits a width.

use std::cmp::Ordering;

use sluice_process::config::ConfigError;

use crate::top::words::printable;

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// In one word, by which it can be sorted as well.
    pub(super) name: &'static str,
    /// Figures stand at the right, and sort the largest first.
    pub(super) is_figure: bool,
    /// Where there is no place for all, those with the highest number go first; 0 never goes.
    pub(super) spare: u8,
}

impl Column {
    pub(super) const fn text(name: &'static str, spare: u8) -> Self {
        Self { name, is_figure: false, spare }
    }

    pub(super) const fn figure(name: &'static str, spare: u8) -> Self {
        Self { name, is_figure: true, spare }
    }
}

/// How a cell is to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
}

/// What stands in a column of a row, and what it sorts by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// `None`: by its text.
    key: Option<f64>,
    pub(super) tone: Tone,
}

impl Cell {
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self { text: printable(text.as_ref()), key: None, tone: Tone::Plain }
    }

    pub(super) fn figure(key: f64, text: impl Into<String>) -> Self {
        Self { text: text.into(), key: Some(key), tone: Tone::Plain }
    }

    pub(super) fn count(n: impl Into<u64>) -> Self {
        let n: u64 = n.into();
        Self::figure(n as f64, n.to_string())
    }

    /// A figure that may not be known: then it sorts below all others.
    pub(super) fn measured(value: Option<f64>, words: fn(f64) -> String) -> Self {
        Self::figure(value.unwrap_or(f64::NEG_INFINITY), value.map_or("-".to_owned(), words))
    }

    /// A text that has a place of its own among others.
    pub(super) fn ranked(self, rank: usize) -> Self {
        Self { key: Some(rank as f64), ..self }
    }

    pub(super) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self.key, other.key) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => self.text.cmp(&other.text),
        }
    }
}

/// Rows under columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<Cell>>,
}

/// By which column rows are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sorting {
    pub(super) column: usize,
    pub(super) reversed: bool,
}

impl Sorting {
    /// Of a column's name, with `-` before it for the other way round.
    /// `flag` is where it was given.
    pub(super) fn named(
        columns: &[Column],
        flag: &str,
        name: Option<&str>,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(given) = name else { return Ok(None) };
        let bare = given.strip_prefix('-').unwrap_or(given);
        let column = columns.iter().position(|column| column.name == bare).ok_or_else(|| {
            let names: Vec<_> = columns.iter().map(|column| column.name).collect();
            ConfigError::value(flag, given, names.join(", "))
        })?;
        Ok(Some(Self { column, reversed: bare != given }))
    }
}

impl Table {
    /// Rows with `filter` in one of their cells, sorted. Rows that are equal stay in their order.
    pub(super) fn arranged(mut self, filter: &str, sorting: Sorting) -> Self {
        let wanted = filter.to_lowercase();
        self.rows.retain(|row| row.iter().any(|cell| cell.text.to_lowercase().contains(&wanted)));
        let largest_first = self.columns[sorting.column].is_figure != sorting.reversed;
        self.rows.sort_by(|a, b| {
            let order = a[sorting.column].order(&b[sorting.column]);
            if largest_first { order.reverse() } else { order }
        });
        self
    }

    /// Width of every column; 0 for one that has no place in `most`. The last one takes what is left.
    pub(super) fn widths(&self, most: usize) -> Vec<usize> {
        let mut widths: Vec<_> = (0..self.columns.len()).map(|n| self.width(n)).collect();
        let last = widths.len() - 1;
        // A reason is of use from about here on; all of it need not fit.
        let least_of_last = widths[last].min(12);
        loop {
            let others: usize =
                widths[..last].iter().filter(|width| **width > 0).map(|width| width + GAP).sum();
            if others + least_of_last <= most {
                widths[last] = most - others;
                return widths;
            }
            let dispensable = (0..last).filter(|n| widths[*n] > 0 && self.columns[*n].spare > 0);
            let Some(first) = dispensable.max_by_key(|n| self.columns[*n].spare) else {
                widths[last] = most.saturating_sub(others);
                return widths;
            };
            widths[first] = 0;
        }
    }

    /// What a column's name and cells need, in characters.
    pub(super) fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].text.chars().count());
        cells.chain([self.columns[column].name.len()]).max().unwrap_or(0)
    }
}

/// Blanks between columns.
pub(super) const GAP: usize = 2;
