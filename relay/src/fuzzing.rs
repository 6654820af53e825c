//! Doors for fuzzers into what is nobody else's to call.

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::h1::{Arriving, Decoder, Piece};
use crate::limits::ClientLimits;
use crate::screen::HeadLimits;
use crate::screen::messages::{Messages, Verdict};

/// What became of the bytes of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screening {
    /// How many may be read.
    pub passed: usize,
    /// Heads among them.
    pub heads: u64,
    /// Status and reason of the refusal that ended it.
    pub refused: Option<(u16, String)>,
}

/// Screens `bytes` as they arrive in pieces that end at `cuts`, which ascend.
pub fn screen(bytes: &[u8], cuts: &[usize]) -> Screening {
    let mut messages = Messages::new(HeadLimits::from(&ClientLimits::default()));
    let mut passed = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        // A piece may end before what has passed already.
        match messages.follow(&bytes[passed..end.max(passed)]) {
            Verdict::Pass(more) => passed += more,
            Verdict::Refuse { passed: more, refusal, .. } => {
                let refused = Some((refusal.status().as_u16(), refusal.to_string()));
                return Screening { passed: passed + more, heads: messages.heads(), refused };
            }
        }
    }
    Screening { passed, heads: messages.heads(), refused: None }
}

/// What was read of the bytes of one connection to an instance, until it closed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Status and fields of the response, or what is said in its stead.
    pub head: Result<(u16, HeaderMap), &'static str>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// Whether the body came to its end, and what follows it.
    pub end: Option<Vec<u8>>,
}

/// Reads the response to a request with `method` from `bytes`, which arrive in pieces that end at `cuts`, which ascend.
pub fn respond(bytes: &[u8], cuts: &[usize], method: &Method) -> Reading {
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let mut pieces = starts.zip(ends).map(|(start, end)| &bytes[start..end]);
    let mut arriving = Arriving::default();
    let arrived = pieces.by_ref().find_map(|piece| {
        arriving.bytes.extend_from_slice(piece);
        arriving.next(method).transpose()
    });
    let arrived = arrived.unwrap_or_else(|| Err(arriving.end()));
    let (head, mut decoder, mut ahead) = match arrived {
        Ok(arrived) => arrived,
        Err(error) => {
            let head = Err(error.failure().label());
            return Reading { head, body: Vec::new(), trailers: None, end: None };
        }
    };
    let head = Ok((head.status().as_u16(), head.headers().clone()));
    let mut reading = Reading { head, body: Vec::new(), trailers: None, end: None };
    let mut whole = reading.take(&mut decoder, &mut ahead);
    for piece in pieces {
        ahead = [&ahead, piece].concat().into();
        whole = whole.and_then(|()| reading.take(&mut decoder, &mut ahead));
    }
    reading.end = whole.and_then(|()| decoder.close()).is_ok().then(|| ahead.to_vec());
    reading
}

impl Reading {
    /// Takes what there is of the body.
    fn take(&mut self, decoder: &mut Decoder, ahead: &mut Bytes) -> std::io::Result<()> {
        loop {
            match decoder.next(ahead)? {
                Piece::Data(data) => self.body.extend_from_slice(&data),
                Piece::Trailers(trailers) => self.trailers = Some(trailers),
                Piece::Missing | Piece::End => return Ok(()),
            }
        }
    }
}
