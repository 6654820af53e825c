//! What a client of either protocol and its server say to each other, without a wire.
//!
//! Source: "xDS REST and gRPC protocol" of Envoy's documentation.

use std::fmt;

use crate::xds::messages::{ASSIGNMENT, RpcStatus};
use crate::xds::table::Table;

/// Names of one stream, at most: a client that asks for more makes them up.
pub const MOST_NAMES: usize = 1000;
/// Bytes of one name.
pub const LONGEST_NAME: usize = 256;

/// One stream, as a state machine: it hears requests, and says what the client does not have yet.
///
/// Only one response is under way at a time. What changes until the client has answered it is said then, in one
/// response with all that changed: a client that takes its time costs no memory and misses nothing that still counts.
pub trait Conversation: Default + Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;

    /// Takes a request in.
    ///
    /// # Errors
    /// If the client asks for what it can not have; the stream is to be ended then.
    fn hear(&mut self, request: Self::Request) -> Result<Heard, Excess>;

    /// What there is to say now, if anything.
    fn say(&mut self, table: &Table) -> Option<Self::Response>;
}

/// What a request was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The last response was applied.
    Ack,
    /// It was not, for this reason.
    Nack(String),
    /// A question, or other names.
    Subscription,
    /// It answers a response that is no longer the last, or asks for another type.
    Nothing,
}

/// A client asked for too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {MOST_NAMES} resources of at most {LONGEST_NAME} bytes a name")]
pub struct Excess;

/// The responses of one stream: which one is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    said: u64,
    awaits_answer: bool,
}

impl Exchange {
    /// Whether a response may be said.
    pub(super) fn is_free(&self) -> bool {
        !self.awaits_answer
    }

    /// The nonce of the next response, which is under way from now on.
    pub(super) fn begin(&mut self) -> String {
        self.said += 1;
        self.awaits_answer = true;
        self.said.to_string()
    }

    /// Whether `nonce` answers the last response. An answer to an earlier one, or to one of another stream, does not.
    pub(super) fn answered(&mut self, nonce: &str) -> bool {
        let answers = self.awaits_answer && nonce == self.said.to_string();
        self.awaits_answer &= !answers;
        answers
    }

    /// Whether `nonce` is that of the last response, answered or not.
    pub(super) fn is_last(&self, nonce: &str) -> bool {
        self.said > 0 && nonce == self.said.to_string()
    }
}

/// Whether a request is about endpoints. A stream of their own service need not say so.
pub(super) fn is_ours(type_url: &str) -> bool {
    type_url.is_empty() || type_url == ASSIGNMENT
}

pub(super) fn check<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), Excess> {
    let (mut count, mut too_long) = (0, false);
    for name in names {
        count += 1;
        too_long |= name.len() > LONGEST_NAME;
    }
    if count > MOST_NAMES || too_long { Err(Excess) } else { Ok(()) }
}

/// An answer's meaning.
pub(super) fn verdict(error: Option<RpcStatus>) -> Heard {
    error.map_or(Heard::Ack, |error| Heard::Nack(Shown(&error.message).to_string()))
}

/// What somebody else says, for a line of the log: without line breaks, and not for ever.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(300).try_for_each(|c| write!(f, "{}", if c.is_control() { ' ' } else { c }))
    }
}
