//! Where a response's body ends, followed as it arrives.

use std::io;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::SizeHint;

use super::response::{FIELDS, collect};
use crate::screen::chunked::{Chunked, Span};

/// What is yet to come of a body.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// So many bytes.
    Length(u64),
    /// All that comes before the end of the connection.
    UntilClose,
    /// Chunks, then trailers, of which the bytes so far are kept.
    Chunked { at: Chunked, trailers: Vec<u8> },
}

/// The next of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// What is there does not hold the next piece.
    Missing,
    End,
}

impl Decoder {
    pub(crate) fn length(length: u64) -> Self {
        Self::Length(length)
    }

    pub(crate) fn until_close() -> Self {
        Self::UntilClose
    }

    pub(crate) fn chunked() -> Self {
        Self::Chunked { at: Chunked::of_response(), trailers: Vec::new() }
    }

    /// Takes the next piece out of what was read and not passed on.
    ///
    /// # Errors
    /// `InvalidData`: no chunked coding.
    pub(crate) fn next(&mut self, ahead: &mut Bytes) -> io::Result<Piece> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            _ if ahead.is_empty() => Ok(Piece::Missing),
            Self::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(ahead.len());
                *left -= n as u64;
                Ok(Piece::Data(ahead.split_to(n)))
            }
            Self::UntilClose => Ok(Piece::Data(std::mem::take(ahead))),
            Self::Chunked { at, trailers } => {
                let piece = next_of_chunks(at, trailers, ahead)?;
                if matches!(piece, Piece::End | Piece::Trailers(_)) {
                    *self = Self::Length(0);
                }
                Ok(piece)
            }
        }
    }

    /// Whether nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Bytes that are yet to come, if that was said.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::UntilClose | Self::Chunked { .. } => None,
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// The connection has come to its end.
    ///
    /// # Errors
    /// `UnexpectedEof` if the body has not.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Self::Length(0)) {
            Self::UntilClose | Self::Length(0) => Ok(()),
            Self::Length(_) | Self::Chunked { .. } => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn next_of_chunks(at: &mut Chunked, trailers: &mut Vec<u8>, ahead: &mut Bytes) -> io::Result<Piece> {
    while !ahead.is_empty() {
        match at.span(ahead).map_err(|refusal| garbage(refusal.to_string()))? {
            Span::Data(n) => return Ok(Piece::Data(ahead.split_to(n))),
            Span::Framing(n) => ahead.advance(n),
            Span::Trailers(n) => trailers.extend_from_slice(&ahead.split_to(n)),
            Span::Ended(n) => {
                trailers.extend_from_slice(&ahead.split_to(n));
                return read_trailers(trailers);
            }
        }
    }
    Ok(Piece::Missing)
}

/// `lines`: with the empty one that ends them.
fn read_trailers(lines: &[u8]) -> io::Result<Piece> {
    if lines == b"\r\n" {
        return Ok(Piece::End);
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    match httparse::parse_headers(lines, &mut fields) {
        Ok(httparse::Status::Complete((_, fields))) => {
            collect(fields, Bytes::copy_from_slice).map(Piece::Trailers).map_err(garbage)
        }
        Ok(httparse::Status::Partial) => Err(garbage("incomplete trailers")),
        Err(error) => Err(garbage(error)),
    }
}

fn garbage(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
