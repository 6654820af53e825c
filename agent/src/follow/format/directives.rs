//! Directives as servers have them, so that the format in a server's configuration can be used as it is:
//! Apache's `%>s`, gunicorn's `%(s)s` (Apache's letters), translogger's `%(REQUEST_URI)s`, nginx's `$status`.

use super::{Field, FormatError, Piece, Unit};

/// Splits a format into literals and fields.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let (field, after) = match c {
            '%' if rest.starts_with('%') => {
                literal.push('%');
                rest = &rest[1..];
                continue;
            }
            '%' => percent(rest).ok_or_else(|| FormatError::directive(c, rest))?,
            '$' => dollar(rest).ok_or_else(|| FormatError::directive(c, rest))?,
            c => {
                literal.push(c);
                continue;
            }
        };
        rest = after;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
        }
        pieces.push(Piece::Field(field));
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    Ok(pieces)
}

/// What follows a `%`: the field, and the rest of the text.
fn percent(text: &str) -> Option<(Field, &str)> {
    if let Some(text) = text.strip_prefix('(') {
        let (name, rest) = text.split_once(')')?;
        return Some((parenthesised(name)?, rest.strip_prefix('s')?));
    }
    // `%>s` and `%<s`: the last and the first request of internal redirects.
    let text = text.strip_prefix(['>', '<']).unwrap_or(text);
    let (argument, text) = match text.strip_prefix('{') {
        Some(text) => text.split_once('}')?,
        None => ("", text),
    };
    let letter = text.chars().next()?;
    Some((apache(letter, argument)?, &text[letter.len_utf8()..]))
}

fn apache(letter: char, argument: &str) -> Option<Field> {
    Some(match (letter, argument) {
        ('T', "") => Field::Took(Unit::WholeSeconds),
        ('T', "s") => Field::Took(Unit::Seconds),
        ('T', "ms") => Field::Took(Unit::Millis),
        ('T', "us") => Field::Took(Unit::Micros),
        ('i', name) => header(name),
        ('o', name) => response_header(name),
        ('v' | 'V', _) => Field::Host,
        ('O', _) => Field::BytesWithHead,
        ('l', _) => Field::Skip,
        _ => letter_of(letter).or_else(|| letter.is_ascii_alphabetic().then_some(Field::Skip))?,
    })
}

/// The letters that Apache and gunicorn have in common.
fn letter_of(letter: char) -> Option<Field> {
    Some(match letter {
        'r' => Field::Request,
        'm' => Field::Method,
        'U' => Field::Path,
        's' => Field::Status,
        'b' | 'B' => Field::Bytes,
        'D' => Field::Took(Unit::Micros),
        _ => return None,
    })
}

/// Gunicorn's atoms are one letter or `{name}i`; translogger's names are longer.
fn parenthesised(name: &str) -> Option<Field> {
    if let Some(name) = name.strip_prefix('{') {
        let (name, letter) = name.split_once('}')?;
        return Some(match letter {
            "i" => header(name),
            "o" => response_header(name),
            _ => Field::Skip,
        });
    }
    Some(match name {
        "" => return None,
        "T" => Field::Took(Unit::WholeSeconds),
        "M" => Field::Took(Unit::Millis),
        "L" => Field::Took(Unit::Seconds),
        "REQUEST_METHOD" => Field::Method,
        "REQUEST_URI" | "PATH_INFO" => Field::Path,
        "status" => Field::Status,
        "bytes" => Field::Bytes,
        _ => match (name.strip_prefix("HTTP_"), name.chars().next()) {
            (Some("VERSION"), _) => Field::Skip,
            (Some(name), _) => header(&name.replace('_', "-")),
            (None, Some(letter)) if name.len() == 1 => letter_of(letter).unwrap_or(Field::Skip),
            (None, _) => Field::Skip,
        },
    })
}

/// What follows a `$`: the field, and the rest of the text.
fn dollar(text: &str) -> Option<(Field, &str)> {
    let (name, rest) = match text.strip_prefix('{') {
        Some(text) => text.split_once('}')?,
        None => {
            text.split_at(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()))
        }
    };
    let field = match name {
        "" => return None,
        "request" => Field::Request,
        "request_method" => Field::Method,
        "request_uri" | "uri" | "document_uri" => Field::Path,
        "status" => Field::Status,
        "body_bytes_sent" => Field::Bytes,
        "bytes_sent" => Field::BytesWithHead,
        "sent_http_content_length" => Field::Length,
        "request_time" => Field::Took(Unit::Seconds),
        "upstream_response_time" => Field::TookBehind,
        "upstream_header_time" => Field::FirstByteBehind,
        "host" | "server_name" => Field::Host,
        name => name.strip_prefix("http_").map_or(Field::Skip, |name| header(&name.replace('_', "-"))),
    };
    Some((field, rest))
}

fn response_header(name: &str) -> Field {
    if name.eq_ignore_ascii_case("content-length") { Field::Length } else { Field::Skip }
}

fn header(name: &str) -> Field {
    match name.to_ascii_lowercase() {
        name if name == "host" => Field::Host,
        name => Field::Header(name.into()),
    }
}
