//! `sluice-balancer top`: a running balancer in the terminal.
//!
//! ```text
//!  fetch (a thread) ── Site or why not, each second ──► live ◄── keys
//!                                                        │ Screen: what is shown, how sorted, what is typed
//!  Site ──► tables: Table of cells ──► draw: a buffer ◄──┘
//!                    └──────────────► plain: text, for `--once` and the demo
//! ```
//!
//! Tables, screen and drawing are values and pure functions; only `live` and `fetch` touch anything.

mod draw;
mod fetch;
mod live;
mod plain;
mod screen;
mod site;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sluice_process::{RunError, Span};

pub(crate) use plain::screen;
pub(crate) use site::Site;

use fetch::Source;
use table::Sorting;
use tables::Pane;

/// What the keys do.
const KEYS: &str = "\
Keys: q quits, Tab goes to the next table, s and S sort by the next or previous column, r the other way round, \
/ filters by a text, Esc shows all again, the arrows and PgUp, PgDn, Home, End scroll, Space stops and goes on.

Where standard output is no terminal, use --once or --json.";

/// What `top` can be asked.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = KEYS)]
pub struct TopOptions {
    /// The balancer's admin address
    #[arg(long, value_name = "URL", env = "SLUICE_TOP_ADMIN", default_value = "http://127.0.0.1:9900")]
    admin: String,
    /// A PEM file with the authorities that vouch for an https:// address [default: those of this system]
    #[arg(long, value_name = "FILE", env = "SLUICE_TOP_CA")]
    ca: Option<PathBuf>,
    /// A file with the balancer's token, if reading needs it there
    #[arg(long, value_name = "FILE", env = "SLUICE_TOP_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Span,
    /// Only rows with this text in them, in capitals or not
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Column of the instances to sort by, such as workers; with a minus sign before it the other way round
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort_instances: Option<String>,
    /// Column of the classes to sort by, such as p99
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort_classes: Option<String>,
    /// Print tables once and end
    #[arg(long)]
    once: bool,
    /// Print everything once as JSON and end
    #[arg(long, conflicts_with = "once")]
    json: bool,
}

/// Shows until told to quit, or once.
///
/// # Errors
/// If the balancer does not answer the first time, or there is no terminal.
pub fn main(options: &TopOptions) -> Result<(), RunError> {
    let sorting =
        |pane: Pane, flag: &str, by: &Option<String>| Sorting::named(pane.columns(), flag, by.as_deref());
    let mut screen = screen::Screen::new(options.filter.clone());
    screen.sort(Pane::Instances, sorting(Pane::Instances, "--sort-instances", &options.sort_instances)?);
    screen.sort(Pane::Classes, sorting(Pane::Classes, "--sort-classes", &options.sort_classes)?);
    let source = Source::new(&options.admin, options.ca.clone(), options.token_file.as_deref())?;
    if !(options.once || options.json) {
        if !io::stdout().is_terminal() {
            return Err(RunError::failed("standard output is no terminal: use --once or --json"));
        }
        let every = options.interval.duration().max(Duration::from_millis(100));
        return live::run(source, every, screen);
    }
    let site = fetch::once(&source)?;
    let text = if options.json { site.json() } else { plain::tables(&site, &screen) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever looked at the first lines has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(RunError::failed(error)),
        _ => Ok(()),
    }
}

/// Draws text over what was there: home, each line, clear the rest. No flicker.
pub(crate) fn draw(screen: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "\x1b[H{}\x1b[J", screen.replace('\n', "\x1b[K\n"))?;
    out.flush()
}
