//! Tells systemd, or who else started this program, how it is (`sd_notify(3)`).
//!
//! Nothing is done, and nothing said, where nobody asked for it (`NOTIFY_SOCKET`).

use sd_notify::NotifyState;
use tokio::time::sleep;

use crate::Watch;

/// Work can come: what waits for this program may start.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// Says that it is alive as often as is wanted (`WatchdogSec=`), and that it is stopping. To be run where it stops if
/// the program does: among its other tasks.
pub async fn keep_informed(stop: Watch) {
    let alive = async {
        match sd_notify::watchdog_enabled() {
            // Half the time, as sd_watchdog_enabled(3) advises.
            Some(limit) => loop {
                tell(NotifyState::Watchdog);
                sleep(limit / 2).await;
            },
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = alive => {}
        () = stop.requested() => tell(NotifyState::Stopping),
    }
    alive_until_the_end().await;
}

/// A drain may take longer than the watchdog waits.
async fn alive_until_the_end() {
    if let Some(limit) = sd_notify::watchdog_enabled() {
        loop {
            tell(NotifyState::Watchdog);
            sleep(limit / 2).await;
        }
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager can not be told how this program is");
    }
}
