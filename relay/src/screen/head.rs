//! A request's head: where it ends, and what it says about what follows.

use http::StatusCode;

use super::fields::{Fields, Framing};
use super::refusal::Refusal;
use super::target::RequestLine;
use crate::limits::ClientLimits;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Bytes of the request line.
    pub(crate) line: usize,
    /// Bytes of the whole head.
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

impl From<&ClientLimits> for HeadLimits {
    fn from(limits: &ClientLimits) -> Self {
        Self { line: limits.request_line_bytes, bytes: limits.head_bytes, fields: limits.fields }
    }
}

/// RFC 9112, 2.2: "a server [...] SHOULD ignore at least one empty line (CRLF) received prior to the request-line".
const EMPTY_LINES: usize = 2;

/// A complete head that has one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) framing: Framing,
    pub(super) asks_for_upgrade: bool,
}

/// Looks for the end of a head that arrives in pieces; each byte is looked at once.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    scanned: usize,
    line_start: usize,
    /// Where the request line begins.
    start: usize,
    lines: usize,
}

impl HeadEnd {
    /// The length of the head at the beginning of `bytes`, with the empty line that ends it; `None` if there is more
    /// to come. `bytes` are those of the call before, and more.
    ///
    /// # Errors
    /// What is too long, and lines that do not end with CRLF.
    pub(super) fn find(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        while let Some(offset) = memchr::memchr(b'\n', &bytes[self.scanned..]) {
            let end = self.scanned + offset;
            if end == self.line_start || bytes[end - 1] != b'\r' {
                return Err(Refusal::malformed("a line that ends with LF alone"));
            }
            self.check_size(end + 1, limits)?;
            let is_empty = end - 1 == self.line_start;
            self.scanned = end + 1;
            self.line_start = self.scanned;
            match (is_empty, self.lines) {
                (true, 0) => self.skip_empty_line()?,
                (true, _) => return Ok(Some(self.scanned)),
                (false, _) => self.lines += 1,
            }
        }
        self.scanned = bytes.len();
        self.check_size(bytes.len(), limits)?;
        Ok(None)
    }

    /// Where the request line begins.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    fn skip_empty_line(&mut self) -> Result<(), Refusal> {
        self.start = self.scanned;
        let within = self.start <= 2 * EMPTY_LINES;
        within.then_some(()).ok_or(Refusal::malformed("empty lines in place of a request"))
    }

    fn check_size(&self, length: usize, limits: &HeadLimits) -> Result<(), Refusal> {
        if self.lines == 0 && length - self.start > limits.line {
            return Err(Refusal::with_status(StatusCode::URI_TOO_LONG, "the request line is too long"));
        }
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        if length > limits.bytes {
            return Err(Refusal::with_status(status, "the header fields are too large"));
        }
        if self.lines > limits.fields + 1 {
            return Err(Refusal::with_status(status, "too many header fields"));
        }
        Ok(())
    }
}

/// Reads a complete head, from its request line to the empty line.
pub(super) fn read_head(head: &[u8]) -> Result<Head, Refusal> {
    let mut lines = Lines { rest: head };
    let line = RequestLine::read(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    lines.try_for_each(|line| fields.add(line))?;
    Ok(Head { framing: fields.framing(&line)?, asks_for_upgrade: fields.asks_for_upgrade(&line) })
}

/// Lines without their CRLF, up to an empty one. Of a head whose lines all end so.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = &self.rest[..end - 1];
        self.rest = &self.rest[end + 1..];
        (!line.is_empty()).then_some(line)
    }
}
