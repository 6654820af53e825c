//! HAProxy's `agent-check`: it connects, gets one line, and the connection ends (configuration manual, "agent-check").
//!
//! HAProxy keeps what a line does not change: `drain` holds until `ready`, `down` until `up`, a weight until another.
//! So each line says everything. What it does not hear from a port that nobody listens on changes nothing either: that
//! the instance is gone is for HAProxy's own `check`.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use sluice_process::upgrade::Sockets;
use sluice_proto::State;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::listen;
use crate::shared::Shared;

/// HAProxy takes the line at once; its own patience is `timeout check`, a few seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Far more HAProxys than anyone runs; whoever connects without end waits for its turn.
const MOST_CONNECTIONS: usize = 64;

/// Of `agent-send`, which is read and not looked at.
const LONGEST_SENT: u64 = 4096;

/// Of what a person reads in HAProxy's statistics, in bytes.
const LONGEST_REASON: usize = 100;

/// When a listener fails, it is for lack of descriptors, which come back.
const PAUSE: Duration = Duration::from_millis(100);

/// What a line is made from.
#[derive(Clone, Debug, PartialEq)]
struct Figures<'a> {
    state: State,
    reason: Option<&'a str>,
    /// See [`super::Load::utilization`].
    utilization: Option<f64>,
    workers: u32,
    /// HAProxys that send requests here, each with a connection limit of its own. At least 1.
    peers: u32,
}

/// The line without its end.
fn line(figures: &Figures<'_>) -> String {
    match (figures.state, figures.reason) {
        (State::Ready, _) => {
            let weight = figures.utilization.map(|taken| format!(" {}%", weight_percent(taken)));
            let connections = (figures.workers / figures.peers.max(1)).max(1);
            format!("ready up{} maxconn:{connections}", weight.unwrap_or_default())
        }
        // It is well, which has to be said as well: sessions that stick to it are still served.
        (State::Draining, _) => "up drain".to_owned(),
        (State::Down, reason) => format!("down #{}", harmless(reason.unwrap_or("down"))),
    }
}

/// The share that is free for new work. Never 0, which would be a drain: an instance that is full gets little, and all
/// that are full get the same.
fn weight_percent(utilization: f64) -> u32 {
    (((1.0 - utilization) * 100.0).round() as u32).clamp(1, 100)
}

/// One line of printable ASCII.
fn harmless(reason: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    reason.chars().take(LONGEST_REASON).map(printable).collect()
}

/// How often HAProxys were told of a drain.
#[derive(Debug, Default)]
pub struct Told(watch::Sender<u64>);

impl Told {
    /// Resolves when `peers` of them have asked since the drain began.
    pub async fn of_drain(&self, peers: u32) {
        let mut told = self.0.subscribe();
        told.wait_for(|times| *times >= u64::from(peers)).await.expect("the sender is in self");
    }

    fn drain(&self) {
        self.0.send_modify(|times| *times += 1);
    }
}

/// The listener, and whom it answers for.
pub struct AgentCheck {
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
}

impl AgentCheck {
    pub fn new(listener: std::net::TcpListener, shared: Arc<Shared>) -> Self {
        Self { listener, shared }
    }

    /// Takes the address, by the socket in `inherited` if there is one for it, and leaves one in `heritage`; port 0 takes
    /// a free one.
    ///
    /// # Errors
    /// If the address is taken.
    pub fn bind(
        address: SocketAddr,
        inherited: &Sockets,
        heritage: &Sockets,
    ) -> io::Result<std::net::TcpListener> {
        listen("agent-check", "--agent-check", address, inherited, heritage)
    }

    /// Answers for as long as the agent runs, also while it drains.
    pub async fn run(self) {
        let Self { listener, shared } = self;
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "agent-check can not listen"),
        };
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let place = places.clone().acquire_owned().await.expect("never closed");
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        answer(&shared, stream, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "agent-check can not take a connection; trying on");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn answer(shared: &Shared, stream: TcpStream, peer: SocketAddr) {
    let (state, reason) = shared.state.standing().word();
    let config = &shared.config.languages;
    let line = line(&Figures {
        state,
        reason: reason.as_deref(),
        utilization: shared.load.utilization(),
        workers: shared.workers(),
        peers: config.agent_check_peers,
    });
    match timeout(PATIENCE, tell(stream, &line)).await {
        Ok(Ok(())) => {
            shared.languages.told(state);
            if state == State::Draining {
                shared.told.drain();
            }
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "agent-check was not answered"),
        Err(_elapsed) => tracing::debug!(%peer, "agent-check was not answered in time"),
    }
}

async fn tell(mut stream: TcpStream, line: &str) -> io::Result<()> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    stream.shutdown().await?;
    // What was sent by `agent-send` and not read would make the end a reset, which may overtake the line.
    tokio::io::copy(&mut stream.take(LONGEST_SENT), &mut tokio::io::sink()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(utilization: Option<f64>, workers: u32, peers: u32) -> Figures<'static> {
        Figures { state: State::Ready, reason: None, utilization, workers, peers }
    }

    #[test]
    fn each_line_says_everything() {
        let down =
            |reason| Figures { state: State::Down, reason, utilization: Some(0.0), workers: 2, peers: 1 };
        for (figures, expected) in [
            (ready(Some(0.25), 2, 1), "ready up 75% maxconn:2"),
            (ready(Some(0.0), 4, 2), "ready up 100% maxconn:2"),
            (ready(Some(1.0), 4, 3), "ready up 1% maxconn:1"),
            (ready(Some(7.5), 1, 8), "ready up 1% maxconn:1"),
            (ready(Some(0.999), 1, 1), "ready up 1% maxconn:1"),
            (ready(None, 3, 1), "ready up maxconn:3"),
            (Figures { state: State::Draining, ..ready(Some(0.5), 2, 1) }, "up drain"),
            (down(Some("not checked yet")), "down #not checked yet"),
            (down(Some("a\nready up\u{e9}")), "down #a?ready up?"),
            (down(None), "down #down"),
        ] {
            assert_eq!(line(&figures), expected, "{figures:?}");
        }
    }

    /// The grammar of the manual: words, a percentage of 0 to 256 times the configured weight, a connection limit, and a
    /// description from `#` to the end of the line.
    fn is_accepted(line: &str) -> bool {
        let (words, description) = line.split_once('#').unwrap_or((line, ""));
        let number = |text: &str, most: u32| text.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n));
        let accepted = |word: &str| match (word.strip_suffix('%'), word.strip_prefix("maxconn:")) {
            (Some(percent), _) => number(percent, 100),
            (_, Some(most)) => number(most, 10_000),
            _ => matches!(word, "ready" | "up" | "drain" | "down"),
        };
        words.split_whitespace().all(accepted)
            && line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
            && description.len() <= LONGEST_REASON
    }

    #[test]
    fn whatever_the_figures_haproxy_accepts_the_line() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..10_000 {
            let reason: String = (0..rng.usize(..200)).map(|_| rng.char(..)).collect();
            let utilization = [f64::NAN, f64::INFINITY, -1.0, rng.f64() * 4.0][rng.usize(..4)];
            let figures = Figures {
                state: [State::Ready, State::Draining, State::Down][rng.usize(..3)],
                reason: rng.bool().then_some(&*reason),
                utilization: rng.bool().then_some(utilization),
                workers: rng.u32(1..=10_000),
                peers: rng.u32(1..=1000),
            };
            let line = line(&figures);
            assert!(is_accepted(&line), "{line:?} from {figures:?}");
        }
    }
}
