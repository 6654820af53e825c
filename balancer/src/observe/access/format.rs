//! `--access-log-format`: from a finished request to a line.

use std::fmt::{self, Write};
use std::str::FromStr;

use crate::observe::Finished;
use crate::observe::access::escape::{self, Forbidden};
use crate::observe::access::field::{Field, Value};

/// How a line looks.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessFormat {
    /// As it was asked for.
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// One JSON object with every field.
    Json,
    /// Text with fields in it.
    Template(Vec<Piece>),
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Field(Field, Forbidden),
}

/// Combined Log Format, as Apache and nginx write it and every log reader knows it.
const COMBINED: &str =
    r#"$client - - [$time_clf] "$method $target $protocol" $status $response_bytes "$referer" "$user_agent""#;
const COMBINED_NAME: &str = "combined";
const JSON_NAME: &str = "json";

/// Why a format can not be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("there is no field ${name}; there are {}", names())]
    UnknownField { name: String },
    #[error("{0:?} is neither combined nor json nor a text with fields such as '$client $status \"$class\"'")]
    NoField(String),
    #[error("a line must not contain a line break")]
    LineBreak,
}

fn names() -> String {
    Field::ALL.iter().map(|field| format!("${}", field.name())).collect::<Vec<_>>().join(" ")
}

impl AccessFormat {
    /// Combined Log Format.
    pub fn combined() -> Self {
        COMBINED_NAME.parse().expect("it has only fields that there are")
    }

    /// The line for a request, with its end.
    pub fn line(&self, finished: &Finished<'_>) -> String {
        let mut line = String::with_capacity(512);
        match &self.kind {
            Kind::Json => json(&mut line, finished),
            Kind::Template(pieces) => pieces.iter().for_each(|piece| piece.append(&mut line, finished)),
        }
        line.push('\n');
        line
    }
}

impl Piece {
    fn append(&self, line: &mut String, finished: &Finished<'_>) {
        let (field, forbidden) = match self {
            Self::Text(text) => return line.push_str(text),
            Self::Field(field, forbidden) => (field, forbidden),
        };
        match field.value(finished) {
            Value::Foreign(text) if !text.is_empty() => escape::append(line, &text, *forbidden),
            Value::None | Value::Foreign(_) => line.push('-'),
            Value::Own(text) => line.push_str(&text),
            Value::Number(n) => append_display(line, n),
            Value::Millis(ms) => append_display(line, format_args!("{ms:.3}")),
        }
    }
}

fn json(line: &mut String, finished: &Finished<'_>) {
    for (n, field) in Field::ALL.iter().filter(|field| **field != Field::TimeClf).enumerate() {
        append_display(line, format_args!("{}\"{}\":", if n == 0 { '{' } else { ',' }, field.name()));
        match field.value(finished) {
            Value::None => line.push_str("null"),
            Value::Foreign(text) => {
                let text = &text[..text.len().min(escape::LONGEST)];
                append_display(line, serde_json::Value::from(String::from_utf8_lossy(text)));
            }
            Value::Own(text) => append_display(line, format_args!("\"{text}\"")),
            Value::Number(n) => append_display(line, n),
            Value::Millis(ms) => append_display(line, format_args!("{ms:.3}")),
        }
    }
    line.push('}');
}

fn append_display(line: &mut String, value: impl fmt::Display) {
    write!(line, "{value}").expect("a String takes everything");
}

impl FromStr for AccessFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let kind = match text {
            JSON_NAME => Kind::Json,
            COMBINED_NAME => Kind::Template(pieces(COMBINED)?),
            own => Kind::Template(pieces(own)?),
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

/// Fields and what stands between them. In double quotes a field's text may contain blanks.
fn pieces(template: &str) -> Result<Vec<Piece>, FormatError> {
    if template.contains(['\n', '\r']) {
        return Err(FormatError::LineBreak);
    }
    if !template.contains('$') {
        return Err(FormatError::NoField(template.to_owned()));
    }
    let mut split = template.split('$');
    let first = split.next().unwrap_or_default();
    let mut pieces = vec![Piece::Text(first.to_owned())];
    let mut quoted = first.matches('"').count() % 2 == 1;
    let bare = Forbidden::bare(&separators(template));
    for part in split {
        let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(part.len());
        let (name, text) = part.split_at(end);
        let field = Field::named(name).ok_or_else(|| FormatError::UnknownField { name: name.to_owned() })?;
        pieces.push(Piece::Field(field, if quoted { Forbidden::QUOTED } else { bare }));
        pieces.push(Piece::Text(text.to_owned()));
        quoted ^= text.matches('"').count() % 2 == 1;
    }
    Ok(pieces)
}

/// All of a template that is no field's name.
fn separators(template: &str) -> String {
    let text = |part: &str| part.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_').to_owned();
    template.split('$').map(text).collect()
}

impl fmt::Display for AccessFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

sluice_process::serde_as_text!(
    AccessFormat,
    "combined, json, or a text with fields such as \"$client $status\""
);
