//! What is shown and how: changed by keys, asked by whoever draws.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::top::Site;
use crate::top::table::{Sorting, Table};
use crate::top::tables::Pane;

/// How far PgUp and PgDn go, in rows.
const PAGE: usize = 10;

/// The state of the view.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Screen {
    pub(super) focus: Pane,
    sorting: [Sorting; 3],
    scrolled: [usize; 3],
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) typing: bool,
    /// Nothing new is shown.
    pub(super) paused: bool,
}

/// Whether to go on after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    GoOn,
    Quit,
}

impl Screen {
    pub(super) fn new(filter: String) -> Self {
        let sorting = Pane::ALL.map(|pane| Sorting { column: pane.first_sorting(), reversed: false });
        Self { focus: Pane::Classes, sorting, scrolled: [0; 3], filter, typing: false, paused: false }
    }

    /// `None` leaves it as it is.
    pub(super) fn sort(&mut self, pane: Pane, by: Option<Sorting>) {
        if let Some(by) = by {
            self.sorting[pane as usize] = by;
        }
    }

    pub(super) fn sorting(&self, pane: Pane) -> Sorting {
        self.sorting[pane as usize]
    }

    /// Rows of a pane as they are to be shown.
    pub(super) fn table(&self, pane: Pane, site: &Site) -> Table {
        // Lanes are few and have an order of their own.
        let filter = if pane == Pane::Lanes { "" } else { &self.filter };
        pane.table(site).arranged(filter, self.sorting(pane))
    }

    /// The first row shown of `rows`, where `visible` of them fit.
    pub(super) fn first_row(&self, pane: Pane, rows: usize, visible: usize) -> usize {
        self.scrolled[pane as usize].min(rows.saturating_sub(visible))
    }

    /// `rows`: how many the focused pane has, so that one can not scroll past its end.
    pub(super) fn key(&mut self, key: KeyEvent, rows: usize) -> After {
        let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if with_control => return After::Quit,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            code if self.typing => self.edit(code),
            KeyCode::Char('q') => return After::Quit,
            code => self.command(code, rows),
        }
        After::GoOn
    }

    fn edit(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) => self.filter.push(c),
            _ => {}
        }
    }

    fn command(&mut self, code: KeyCode, rows: usize) {
        match code {
            KeyCode::Tab => self.go(1),
            KeyCode::BackTab => self.go(Pane::ALL.len() - 1),
            KeyCode::Char('s') => self.sort_further(1),
            KeyCode::Char('S') => self.sort_further(self.focus.columns().len() - 1),
            KeyCode::Char('r') => self.sorting[self.focus as usize].reversed ^= true,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char(' ') => self.paused ^= true,
            _ => self.scroll(code, rows),
        }
    }

    fn scroll(&mut self, code: KeyCode, rows: usize) {
        let at = &mut self.scrolled[self.focus as usize];
        *at = match code {
            KeyCode::Down | KeyCode::Char('j') => *at + 1,
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::PageDown => *at + PAGE,
            KeyCode::PageUp => at.saturating_sub(PAGE),
            KeyCode::Home => 0,
            KeyCode::End => rows,
            _ => *at,
        }
        .min(rows.saturating_sub(1));
    }

    fn go(&mut self, steps: usize) {
        self.focus = Pane::ALL[(self.focus as usize + steps) % Pane::ALL.len()];
    }

    fn sort_further(&mut self, steps: usize) {
        let columns = self.focus.columns().len();
        let by = &mut self.sorting[self.focus as usize];
        *by = Sorting { column: (by.column + steps) % columns, reversed: false };
    }
}
