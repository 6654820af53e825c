//! One message after the other.

use super::chunked::{Chunked, Step};
use super::fields::Framing;
use super::head::{HeadEnd, HeadLimits, read_head};
use super::refusal::Refusal;

/// What the next byte belongs to.
#[derive(Debug)]
enum State {
    Head(HeadEnd),
    Length(u64),
    Chunked(Chunked),
    /// The message before asked for another protocol: nobody knows yet what this is.
    Undecided,
    /// Another protocol.
    Raw,
}

/// Follows the messages of one connection.
#[derive(Debug)]
pub(crate) struct Messages {
    state: State,
    limits: HeadLimits,
    heads: u64,
    /// The message under way asks for an upgrade.
    upgrade: bool,
}

/// What may be read of the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// So many bytes may; the rest waits for more.
    Pass(usize),
    /// So many may, and what follows them is refused.
    Refuse { passed: usize, refusal: Refusal, within: Within },
}

/// Where a refusal came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// In a head, of which nothing has passed.
    Head,
    /// In a body, whose request is being served.
    Body,
}

impl Messages {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { state: State::Head(HeadEnd::default()), limits, heads: 0, upgrade: false }
    }

    /// Heads that have passed so far.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte is of a head of which nothing has come yet.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.state, State::Undecided)
    }

    /// The upgrade was agreed to: everything passes from here on.
    pub(crate) fn agree(&mut self) {
        self.state = State::Raw;
    }

    /// The upgrade was declined: what follows is a request.
    pub(crate) fn decline(&mut self) {
        self.state = State::Head(HeadEnd::default());
    }

    /// `bytes`: those that the call before held back, and more.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Verdict {
        let mut passed = 0;
        while passed < bytes.len() {
            match self.step(&bytes[passed..]) {
                Ok(0) => break,
                Ok(n) => passed += n,
                Err((refusal, within)) => return Verdict::Refuse { passed, refusal, within },
            }
        }
        Verdict::Pass(passed)
    }

    /// How many of `bytes` belong to what is under way and may pass; 0 if more must be seen first.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, (Refusal, Within)> {
        match &mut self.state {
            State::Head(end) => match end.find(bytes, &self.limits).map_err(in_head)? {
                Some(length) => {
                    let start = end.start();
                    self.begin(&bytes[start..length]).map_err(in_head)?;
                    Ok(length)
                }
                None => Ok(0),
            },
            State::Length(left) => {
                let passed = (*left).min(bytes.len() as u64);
                *left -= passed;
                if *left == 0 {
                    self.end();
                }
                Ok(passed as usize)
            }
            State::Chunked(chunked) => {
                match chunked.advance(bytes).map_err(|refusal| (refusal, Within::Body))? {
                    Step::More => Ok(bytes.len()),
                    Step::Ended(length) => {
                        self.end();
                        Ok(length)
                    }
                }
            }
            State::Undecided => Ok(0),
            State::Raw => Ok(bytes.len()),
        }
    }

    fn begin(&mut self, head: &[u8]) -> Result<(), Refusal> {
        let head = read_head(head)?;
        self.heads += 1;
        self.upgrade = head.asks_for_upgrade;
        match head.framing {
            Framing::Length(0) => self.end(),
            Framing::Length(left) => self.state = State::Length(left),
            Framing::Chunked => self.state = State::Chunked(Chunked::new()),
        }
        Ok(())
    }

    fn end(&mut self) {
        self.state = if self.upgrade { State::Undecided } else { State::Head(HeadEnd::default()) };
    }
}

fn in_head(refusal: Refusal) -> (Refusal, Within) {
    (refusal, Within::Head)
}
