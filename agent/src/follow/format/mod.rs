//! From a line of an access log to what it says. No I/O, no clock; never fails on what it reads, whoever wrote it.
//!
//! ```text
//!  "%h %l %u %t \"%r\" %>s %b %D"  ──directives──►  pieces  ──compile──►  Format  ──read──►  Entry
//! ```
//!
//! A [`Format`] is read from the left as far as clients have no say in what is between the quotes, and from the right
//! from there on, so that a made-up `User-Agent` can not stand in for the time that follows it.

mod compile;
mod directives;
mod escape;
mod number;
mod read;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use sluice_proto::{Measured, Quality, Source};

pub use compile::FormatError;

/// How a log's lines are made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// As the operator said it.
    text: String,
    /// From the left.
    head: Vec<Piece>,
    /// From the right, the rightmost first. Empty: the line may go on after `head`.
    tail: Vec<Piece>,
    /// Whether the line ends with what `head` says.
    closed: bool,
}

/// One part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Field(Field),
}

/// What a directive stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// `GET /path HTTP/1.1`.
    Request,
    Method,
    /// With or without a query.
    Path,
    Status,
    Bytes,
    /// The head of the response among them.
    BytesWithHead,
    /// As the response's `Content-Length` has it.
    Length,
    /// How long it took, to the last byte.
    Took(Unit),
    /// The same, of the server behind: if there were several, the last one counts.
    TookBehind,
    /// To the head of the response, of the server behind.
    FirstByteBehind,
    Host,
    /// Of the request, by its name in lower case.
    Header(Box<str>),
    /// Not of interest.
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    /// Without a fraction: nothing else is as coarse.
    WholeSeconds,
    Millis,
    Micros,
}

/// One request as the log tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    pub method: Cow<'a, str>,
    /// `None`: not in the log.
    pub host: Option<Cow<'a, str>>,
    /// With the query, if the log has it.
    pub path: Cow<'a, str>,
    /// 100 to 599.
    pub status: u16,
    /// Of the body. `None`: not in the log, `-`, or zero where there is a body.
    pub bytes: Option<u64>,
    /// The response's `Content-Length`, also of one without a body. `None`: not in the log, or `-`.
    pub length: Option<u64>,
    /// To the last byte, as the server saw it. `None`: not in the log, or `-`.
    pub took: Option<Duration>,
    /// To the head of the response. `None`: not in the log, or `-`.
    pub first_byte: Option<Duration>,
    /// Of the request, by their names in lower case; those that are in the log and not `-`.
    pub headers: Vec<(&'a str, Cow<'a, str>)>,
}

/// What gunicorn, nginx, and Zope (by translogger, and ZServer before it) write unless told otherwise.
const COMBINED: &str = r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#;

/// Formats that have a name: what servers write unless told otherwise, and that with a time at its end.
const PRESETS: [(&str, &str); 11] = [
    ("common", r#"%h %l %u %t "%r" %>s %b"#),
    ("combined", COMBINED),
    ("gunicorn", COMBINED),
    ("nginx", COMBINED),
    ("zope", COMBINED),
    ("combined-us", r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D"#),
    ("combined-ms", r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %{ms}T"#),
    ("combined-s", r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" $request_time"#),
    ("common-us", r#"%h %l %u %t "%r" %>s %b %D"#),
    ("common-s", r#"%h %l %u %t "%r" %>s %b $request_time"#),
    ("uvicorn", r#"%h - "%r" %>s %x"#),
];

impl Format {
    /// The names of the formats that need not be spelled out.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What lines of this format tell.
    pub fn measured(&self) -> Measured {
        let has = |is: &dyn Fn(&Field) -> bool| self.fields().any(is);
        let if_so = |so: bool, quality: Quality| if so { quality } else { Quality::Unmeasured };
        let took = has(&|field| matches!(field, Field::Took(_) | Field::TookBehind));
        let bytes = match has(&|field| *field == Field::BytesWithHead) {
            true => Quality::Estimated,
            false => if_so(has(&|field| matches!(field, Field::Bytes | Field::Length)), Quality::Measured),
        };
        Measured {
            by: vec![Source::AccessLog],
            // A worker is held for about as long as the server takes for the response.
            held_us: if_so(took, Quality::Estimated),
            ttfb_us: if_so(has(&|field| *field == Field::FirstByteBehind), Quality::Measured),
            response_bytes: bytes,
            errors: Quality::Measured,
            in_flight: Quality::Unmeasured,
            heavy_urls: bytes,
        }
    }

    /// Whether a request's header field would be told.
    pub fn tells(&self, header: &str) -> bool {
        self.fields().any(|field| matches!(field, Field::Header(name) if **name == *header))
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.head.iter().chain(&self.tail).filter_map(|piece| match piece {
            Piece::Field(field) => Some(field),
            Piece::Literal(_) => None,
        })
    }
}

impl FromStr for Format {
    type Err = FormatError;

    /// A preset's name, or directives.
    fn from_str(text: &str) -> Result<Self, FormatError> {
        let spelled = PRESETS.iter().find(|(name, _)| *name == text).map_or(text, |(_, spelled)| spelled);
        compile::compile(text, spelled)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

sluice_process::serde_as_text!(Format, "the format of an access log, such as combined-us");
