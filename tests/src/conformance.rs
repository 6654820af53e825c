//! What a server makes of frames, beside what RFC 9113 wants of it.

use std::fmt;

use crate::frames::{ACK, Frames, GOAWAY, HEADERS, PING, RST_STREAM, frame};
use crate::script::Answering;
use crate::site::{Chain, Settings, Site};

/// RFC 9113, 7.
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const COMPRESSION_ERROR: u32 = 9;

/// What the standard wants of the other side.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// Stream 1 is answered with 200.
    Served,
    /// The connection goes on: a PING sent afterwards comes back.
    GoesOn,
    /// The stream ends with this code; an endpoint may end the connection instead (5.4).
    StreamError(u32),
    /// The connection ends with this code, or with PROTOCOL_ERROR, which is never wrong (5.4.1).
    ConnectionError(u32),
    /// Either, as the standard leaves it open; above all no answer.
    Error(u32),
}

use Wanted::{ConnectionError, Error, GoesOn, Served, StreamError};

/// What came first of what decides a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Answer(Option<u8>),
    Reset(u32),
    Goaway(u32),
    Pong,
    Closed,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(status) => write!(f, "an answer that begins with {status:?}"),
            Self::Reset(code) => write!(f, "RST_STREAM with {code}"),
            Self::Goaway(code) => write!(f, "GOAWAY with {code}"),
            Self::Pong => write!(f, "the connection goes on"),
            Self::Closed => write!(f, "closed without a word"),
        }
    }
}

/// The indexed field `:status: 200` (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;

impl Wanted {
    fn is(self, seen: &[Seen]) -> bool {
        let any = |wanted: &dyn Fn(Seen) -> bool| seen.iter().any(|&one| wanted(one));
        let ended = |code| any(&|one| one == Seen::Goaway(code) || one == Seen::Goaway(PROTOCOL_ERROR));
        let reset = |code| any(&|one| one == Seen::Reset(code) || one == Seen::Reset(PROTOCOL_ERROR));
        match self {
            Served => any(&|one| one == Seen::Answer(Some(STATUS_200))),
            GoesOn => any(&|one| one == Seen::Pong) && !any(&|one| matches!(one, Seen::Reset(_))),
            StreamError(code) => reset(code) || ended(code),
            ConnectionError(code) => ended(code),
            Error(code) => reset(code) || ended(code) || any(&|one| one == Seen::Reset(STREAM_CLOSED)),
        }
    }
}

/// All that decides, in its order: until it is as it should be, or can be no more.
async fn observe(client: &mut Frames, wanted: Wanted) -> Vec<Seen> {
    let mut seen = Vec::new();
    if client.try_send(frame(PING, 0, 0, b"the last")).await.is_err() {
        return vec![Seen::Closed];
    }
    loop {
        let Some(frame) = client.next().await else {
            seen.push(Seen::Closed);
            return seen;
        };
        match frame.kind {
            HEADERS if frame.stream == 1 => seen.push(Seen::Answer(frame.payload.first().copied())),
            RST_STREAM => seen.push(Seen::Reset(frame.code())),
            GOAWAY => seen.push(Seen::Goaway(frame.code())),
            PING if frame.flags & ACK != 0 && frame.payload == b"the last" => seen.push(Seen::Pong),
            _ => continue,
        }
        let goes_on = seen.contains(&Seen::Pong);
        let decided = match wanted {
            Served => {
                wanted.is(&seen) || seen.iter().any(|one| matches!(one, Seen::Answer(_) | Seen::Reset(_)))
            }
            GoesOn | ConnectionError(_) => goes_on,
            StreamError(_) | Error(_) => {
                wanted.is(&seen) || (goes_on && seen.iter().any(|one| matches!(one, Seen::Answer(_))))
            }
        };
        if decided {
            return seen;
        }
    }
}

/// What it is, with its section, what is sent after preface and SETTINGS, and what should come of it.
pub type Case = (&'static str, Vec<u8>, Wanted);

/// Each case on a connection of its own, to a balancer before an instance that answers everything.
pub async fn check(cases: Vec<Case>) {
    let instance = Answering::named("fine").await;
    let settings = Settings { balancer: "--listen 127.0.0.1:0,h2c", ..Settings::default() };
    let site = Site::start(Chain::Balancer, instance.address(), settings).await;
    let mut wrong = Vec::new();
    for (case, bytes, wanted) in cases {
        let mut client = Frames::open(site.address(), &[]).await;
        // Whoever is cut off early need not have taken all.
        let _cut = client.try_send(&bytes).await;
        let seen = observe(&mut client, wanted).await;
        if !wanted.is(&seen) {
            wrong.push((case, seen));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    site.until_idle().await;
}
