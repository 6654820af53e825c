//! The loop: news in, keys in, a picture out.

use std::io::{IsTerminal, stdin};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use sluice_process::RunError;

use crate::top::Site;
use crate::top::draw::{Picture, paint};
use crate::top::fetch::{self, News, Source};
use crate::top::screen::{After, Screen};

/// How long a key may wait for the loop to look for news, and the other way round.
const LOOK: Duration = Duration::from_millis(50);
/// The age shown moves by itself.
const REDRAW: Duration = Duration::from_millis(500);

/// What was last heard.
struct Heard {
    site: Site,
    at: Instant,
    /// Since then only this.
    failure: Option<String>,
}

/// Shows until told to quit; the terminal is as it was after that, whatever happens.
pub(super) fn run(source: Source, every: Duration, screen: Screen) -> Result<(), RunError> {
    let admin = source.admin.clone();
    // A wrong address is told on the command line, where it can be corrected.
    let site = fetch::once(&source)?;
    let (sender, news) = channel();
    fetch::start(source, every, sender)?;
    let heard = Heard { site, at: Instant::now(), failure: None };
    let mut terminal = ratatui::try_init().map_err(RunError::failed)?;
    let shown = show(&mut terminal, &admin, &news, heard, screen);
    ratatui::restore();
    shown.map_err(RunError::failed)
}

fn show(
    terminal: &mut DefaultTerminal,
    admin: &str,
    news: &Receiver<News>,
    mut heard: Heard,
    mut screen: Screen,
) -> std::io::Result<()> {
    let attached = stdin().is_terminal();
    let mut drawn = None;
    loop {
        let mut changed = drawn.is_none_or(|at: Instant| at.elapsed() >= REDRAW);
        match take(news, &mut heard, screen.paused) {
            Some(any) => changed |= any,
            None => return Ok(()),
        }
        while event::poll(if changed { Duration::ZERO } else { LOOK })? {
            changed = true;
            if attached && !stdin().is_terminal() {
                // Its window was closed: reading on would give nothing, for ever.
                return Ok(());
            }
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                let rows = screen.table(screen.focus, &heard.site).rows.len();
                if screen.key(key, rows) == After::Quit {
                    return Ok(());
                }
            }
        }
        if changed {
            let (site, age, failure) = (&heard.site, heard.at.elapsed(), heard.failure.as_deref());
            let picture = Picture { admin, site, age, failure, screen: &screen };
            terminal.draw(|frame| paint(&picture, frame.area(), frame.buffer_mut()))?;
            drawn = Some(Instant::now());
        }
    }
}

/// Takes in all news. Whether there were any; `None`: it is the end.
fn take(news: &Receiver<News>, heard: &mut Heard, paused: bool) -> Option<bool> {
    let mut any = false;
    loop {
        match news.try_recv() {
            Ok(News::Site(site)) if !paused => {
                *heard = Heard { site: *site, at: Instant::now(), failure: None };
            }
            Ok(News::Site(_)) => {}
            Ok(News::Failed(failure)) => heard.failure = Some(failure),
            Ok(News::End) | Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => return Some(any),
        }
        any = true;
    }
}
