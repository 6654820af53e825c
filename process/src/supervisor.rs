//! Tells systemd, or who else started this program, how it is (`sd_notify(3)`).
//!
//! Nothing is done, and nothing said, where nobody asked for it (`NOTIFY_SOCKET`).

use sd_notify::NotifyState;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::{Watch, shutdown::Stage};

/// Work can come: what waits for this program may start.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The configuration is being read again; [`ready`] ends that. What systemd waits for with `Type=notify-reload`, which
/// tells an answer to its own SIGHUP from an older one by the time.
pub fn reloading() {
    let told =
        NotifyState::monotonic_usec_now().and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now]));
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager can not be told of a reload");
    }
}

/// It is about to end. To be said at the end as well: who has nothing to finish may end before
/// [`keep_informed`] has its turn.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Another process does the work from now on. systemd takes this from the main process alone, whose word it then is no
/// more.
pub fn succeeded_by(pid: u32) {
    tell(NotifyState::MainPid(pid));
}

/// Says that it is alive as often as is wanted (`WatchdogSec=`), and that it is stopping. To be run where it stops if
/// the program does: among its other tasks.
pub async fn keep_informed(stop: Watch) {
    let alive = async {
        match sd_notify::watchdog_enabled() {
            // Half the time, as sd_watchdog_enabled(3) advises.
            Some(limit) => loop {
                still_alive().await;
                sleep(limit / 2).await;
            },
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = alive => {}
        () = stop.leaving() => {}
    }
    if stop.stage() == Stage::HandedOver {
        return; // the successor speaks for the service
    }
    stopping();
    alive_until_the_end().await;
}

/// A drain may take longer than the watchdog waits.
async fn alive_until_the_end() {
    if let Some(limit) = sd_notify::watchdog_enabled() {
        loop {
            still_alive().await;
            sleep(limit / 2).await;
        }
    }
}

/// A service manager that does not read holds up whoever tells it something: not the other tasks.
async fn still_alive() {
    if let Err(error) = spawn_blocking(|| tell(NotifyState::Watchdog)).await {
        tracing::warn!(%error, "the service manager was not told that this program is alive");
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager can not be told how this program is");
    }
}
