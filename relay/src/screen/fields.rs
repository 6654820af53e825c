//! Field lines (RFC 9112, 5), and those of them that say where a message ends and whom it is for.

use http::StatusCode;

use super::authority::is_authority;
use super::characters::{FIELD_VALUE, TOKEN, all_in};
use super::refusal::Refusal;
use super::target::{RequestLine, Version};

/// How much follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Bytes; 0 for no body.
    Length(u64),
    Chunked,
}

/// What the fields of a head say, as far as they were read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    connection_upgrade: bool,
    expects_other: bool,
}

impl<'a> Fields<'a> {
    /// `line`: without its end.
    pub(super) fn add(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        let (name, value) = split(line)?;
        match name.len() {
            4 if is(name, b"host") => self.add_host(value),
            6 if is(name, b"expect") => {
                self.expects_other |= !is(value, b"100-continue");
                Ok(())
            }
            7 if is(name, b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            10 if is(name, b"connection") => {
                let mut options = value.split(|byte| *byte == b',');
                self.connection_upgrade |= options.any(|option| is(option.trim_ascii(), b"upgrade"));
                Ok(())
            }
            14 if is(name, b"content-length") => self.add_length(value),
            17 if is(name, b"transfer-encoding") => self.add_coding(value),
            _ => Ok(()),
        }
    }

    /// RFC 9112, 3.2: 400 "to any request message that contains more than one Host header field line or a Host header
    /// field with an invalid field value".
    fn add_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if !is_authority(value) {
            return Err(Refusal::malformed("invalid Host field"));
        }
        match self.host.replace(value) {
            Some(_) => Err(Refusal::malformed("more than one Host field")),
            None => Ok(()),
        }
    }

    /// RFC 9112, 6.3: a list of equal values may be repaired or refused; a repaired one is read differently by those
    /// who take the first number, the last, or none.
    fn add_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(value).ok().filter(|_| is_number).and_then(|text| text.parse().ok());
        let number = number.ok_or(Refusal::malformed("Content-Length is not a number"))?;
        match self.length.replace(number) {
            Some(_) => Err(Refusal::malformed("more than one Content-Length field")),
            None => Ok(()),
        }
    }

    /// RFC 9112, 6.1: "A server that receives a request message with a transfer coding it does not understand SHOULD
    /// respond with 501".
    fn add_coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.chunked, true) {
            return Err(Refusal::malformed("more than one Transfer-Encoding field"));
        }
        if is(value, b"chunked") {
            return Ok(());
        }
        let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).rev();
        let chunked_last = codings.next().is_some_and(|last| is(last, b"chunked"));
        if chunked_last && codings.all(|coding| is_coding(coding) && !is(coding, b"chunked")) {
            let phrase = "a transfer coding other than chunked";
            return Err(Refusal::with_status(StatusCode::NOT_IMPLEMENTED, phrase));
        }
        Err(Refusal::malformed("Transfer-Encoding does not say where the body ends"))
    }

    /// What all of them together mean, under that request line.
    pub(super) fn framing(&self, line: &RequestLine<'_>) -> Result<Framing, Refusal> {
        self.check_host(line)?;
        if self.expects_other && line.version == Version::Http11 {
            let status = StatusCode::EXPECTATION_FAILED;
            return Err(Refusal::with_status(status, "an expectation other than 100-continue"));
        }
        match (self.chunked, self.length) {
            (true, _) if line.version == Version::Http10 => {
                Err(Refusal::malformed("Transfer-Encoding in HTTP/1.0"))
            }
            (true, Some(_)) => Err(Refusal::malformed("both Content-Length and Transfer-Encoding")),
            (true, None) => Ok(Framing::Chunked),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }

    fn check_host(&self, line: &RequestLine<'_>) -> Result<(), Refusal> {
        match self.host {
            None if line.version == Version::Http11 => Err(Refusal::malformed("missing Host field")),
            Some(host) if !line.agrees_with(host) => {
                Err(Refusal::malformed("the Host field and the target name different hosts"))
            }
            _ => Ok(()),
        }
    }

    /// Whether what follows may be another protocol, if the server agrees.
    pub(super) fn asks_for_upgrade(&self, line: &RequestLine<'_>) -> bool {
        self.upgrade && self.connection_upgrade && line.version == Version::Http11
    }
}

/// Name and value, without the white space around it.
pub(super) fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::malformed("a folded header field"));
    }
    let colon = line.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or(Refusal::malformed("a header field without a colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !all_in(name, &TOKEN) {
        return Err(Refusal::malformed("a header field whose name is not a token"));
    }
    if !all_in(value, &FIELD_VALUE) {
        return Err(Refusal::malformed("control characters in a header field"));
    }
    Ok((name, value.trim_ascii()))
}

fn is(value: &[u8], word: &[u8]) -> bool {
    value.eq_ignore_ascii_case(word)
}

/// `token` with or without parameters.
fn is_coding(coding: &[u8]) -> bool {
    let name = coding.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    !name.is_empty() && all_in(name, &TOKEN)
}
