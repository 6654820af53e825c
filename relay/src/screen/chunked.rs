//! Chunked bodies (RFC 9112, 7.1), byte by byte as they pass: clients' and instances'.

use super::characters::{FIELD_VALUE, TOKEN};
use super::refusal::Refusal;

/// Hexadecimal digits of a size: what a 64-bit number has. More of them overflow somebody's.
const SIZE_DIGITS: u8 = 16;
/// Bytes of one chunk's extensions. Nobody uses them but attackers.
const EXTENSION_BYTES: u16 = 1024;
/// Bytes of all trailers.
const TRAILER_BYTES: u16 = 16 * 1024;

/// Where in a chunked body the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size { size: u64, digits: u8 },
    Extension { size: u64, part: Part },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`, BWS being space that nobody should send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Space before a semicolon; the line must not end here.
    BeforeSemicolon,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Token,
    Quoted,
    Escaped,
    AfterValue,
}

/// Follows one body.
#[derive(Debug)]
pub(crate) struct Chunked {
    at: At,
    /// Space may stand between a size and the end of its line: some servers always write as many bytes.
    may_be_padded: bool,
    extension_bytes: u16,
    trailer_bytes: u16,
}

/// How far a body got with the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All of them belong to it.
    More,
    /// It ended after this many.
    Ended(usize),
}

/// What the next so many bytes are, one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// Sizes and ends of chunks.
    Framing(usize),
    /// Of the body itself.
    Data(usize),
    /// Of the field lines at the end.
    Trailers(usize),
    /// The last of the trailers, and of all.
    Ended(usize),
}

impl Chunked {
    pub(super) fn new() -> Self {
        let at = At::Size { size: 0, digits: 0 };
        Self { at, may_be_padded: false, extension_bytes: 0, trailer_bytes: 0 }
    }

    /// Of an instance, whose body is written anew for its client.
    pub(crate) fn of_response() -> Self {
        Self { may_be_padded: true, ..Self::new() }
    }

    /// # Errors
    /// What is no chunked coding, or only a lenient reader's.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        let mut position = 0;
        while position < bytes.len() {
            match self.span(&bytes[position..])? {
                Span::Framing(n) | Span::Data(n) | Span::Trailers(n) => position += n,
                Span::Ended(n) => return Ok(Step::Ended(position + n)),
            }
        }
        Ok(Step::More)
    }

    /// `bytes`: some.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub(crate) fn span(&mut self, bytes: &[u8]) -> Result<Span, Refusal> {
        if let At::Data { left } = self.at {
            return Ok(Span::Data(self.skip_data(left, bytes.len())));
        }
        let in_trailers = self.is_in_trailers();
        for (position, byte) in bytes.iter().enumerate() {
            if self.at == At::LastLf && *byte == b'\n' {
                return Ok(Span::Ended(position + 1));
            }
            self.at = self.step(*byte)?;
            if matches!(self.at, At::Data { .. }) || self.is_in_trailers() != in_trailers {
                return Ok(Span::Framing(position + 1));
            }
        }
        Ok(if in_trailers { Span::Trailers(bytes.len()) } else { Span::Framing(bytes.len()) })
    }

    fn is_in_trailers(&self) -> bool {
        use At::{LastLf, TrailerLf, TrailerName, TrailerStart, TrailerValue};
        matches!(self.at, TrailerStart | TrailerName | TrailerValue | TrailerLf | LastLf)
    }

    fn skip_data(&mut self, left: u64, available: usize) -> usize {
        let skipped = left.min(available as u64);
        self.at = if skipped == left { At::DataCr } else { At::Data { left: left - skipped } };
        skipped as usize
    }

    fn step(&mut self, byte: u8) -> Result<At, Refusal> {
        match (self.at, byte) {
            (At::Size { size, digits }, _) => self.size(size, digits, byte),
            (At::Extension { size, part }, _) => self.extension(size, part, byte),
            (At::SizeLf { size: 0 }, b'\n') => Ok(At::TrailerStart),
            (At::SizeLf { size }, b'\n') => Ok(At::Data { left: size }),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size { size: 0, digits: 0 }),
            (At::DataCr | At::DataLf, _) => Err(Refusal::malformed("a chunk is longer than its size")),
            (At::TrailerStart | At::TrailerName | At::TrailerValue | At::TrailerLf, _) => self.trailer(byte),
            (At::SizeLf { .. } | At::LastLf | At::Data { .. }, _) => {
                Err(Refusal::malformed("a line in a chunked body does not end with CRLF"))
            }
        }
    }

    fn size(&mut self, size: u64, digits: u8, byte: u8) -> Result<At, Refusal> {
        let value = char::from(byte).to_digit(16);
        match (value, byte) {
            (Some(digit), _) if digits < SIZE_DIGITS => {
                Ok(At::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
            }
            (None, b'\r') if digits > 0 => Ok(At::SizeLf { size }),
            (None, b';') if digits > 0 => Ok(At::Extension { size, part: Part::BeforeName }),
            (None, b' ' | b'\t') if digits > 0 => Ok(At::Extension { size, part: Part::BeforeSemicolon }),
            _ => Err(Refusal::malformed("invalid chunk size")),
        }
    }

    fn extension(&mut self, size: u64, part: Part, byte: u8) -> Result<At, Refusal> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES {
            return Err(Refusal::malformed("chunk extensions are too long"));
        }
        let is_padding = part == Part::BeforeSemicolon && self.may_be_padded;
        if byte == b'\r' && (is_padding || matches!(part, Part::Name | Part::Token | Part::AfterValue)) {
            self.extension_bytes = 0;
            return Ok(At::SizeLf { size });
        }
        let part = next_part(part, byte).ok_or(Refusal::malformed("invalid chunk extension"))?;
        Ok(At::Extension { size, part })
    }

    /// Field lines, or the empty line that ends the body.
    fn trailer(&mut self, byte: u8) -> Result<At, Refusal> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES {
            return Err(Refusal::malformed("trailers are too large"));
        }
        let token = TOKEN[usize::from(byte)];
        match (self.at, byte) {
            (At::TrailerStart, b'\r') => Ok(At::LastLf),
            (At::TrailerStart | At::TrailerName, _) if token => Ok(At::TrailerName),
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, _) if FIELD_VALUE[usize::from(byte)] => Ok(At::TrailerValue),
            (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            _ => Err(Refusal::malformed("invalid trailer")),
        }
    }
}

fn next_part(part: Part, byte: u8) -> Option<Part> {
    let space = matches!(byte, b' ' | b'\t');
    let token = TOKEN[usize::from(byte)];
    match (part, byte) {
        (Part::BeforeSemicolon | Part::Name | Part::AfterName | Part::Token | Part::AfterValue, b';') => {
            Some(Part::BeforeName)
        }
        (
            Part::BeforeSemicolon | Part::BeforeName | Part::AfterName | Part::BeforeValue | Part::AfterValue,
            _,
        ) if space => Some(part),
        (Part::BeforeName | Part::Name, _) if token => Some(Part::Name),
        (Part::Name, _) if space => Some(Part::AfterName),
        (Part::Name | Part::AfterName, b'=') => Some(Part::BeforeValue),
        (Part::BeforeValue, b'"') => Some(Part::Quoted),
        (Part::BeforeValue | Part::Token, _) if token => Some(Part::Token),
        (Part::Token, _) if space => Some(Part::AfterValue),
        (Part::Quoted, b'\\') => Some(Part::Escaped),
        (Part::Quoted, b'"') => Some(Part::AfterValue),
        (Part::Quoted | Part::Escaped, _) if FIELD_VALUE[usize::from(byte)] => Some(Part::Quoted),
        _ => None,
    }
}
