//! From a line to an [`Entry`], by a [`Format`].

use std::borrow::Cow;

use super::{Entry, Field, Format, Piece, escape, number};

impl Format {
    /// What a line says, without its line feed. `None`: it is not one of this format.
    pub fn read<'a>(&'a self, line: &'a str) -> Option<Entry<'a>> {
        let mut entry = Entry::default();
        let rest = from_left(&self.head, line, &mut entry)?;
        if self.tail.is_empty() {
            if self.closed && !rest.is_empty() {
                return None;
            }
        } else {
            from_right(&self.tail, rest, &mut entry)?;
        }
        entry.settle_bytes();
        (!entry.method.is_empty() && is_path(&entry.path)).then_some(entry)
    }
}

/// Reads `pieces` and gives what is left of the line.
fn from_left<'a>(pieces: &'a [Piece], line: &'a str, entry: &mut Entry<'a>) -> Option<&'a str> {
    let mut rest = line;
    let mut in_quotes = false;
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(text) => {
                rest = rest.strip_prefix(&**text)?;
                in_quotes = text.ends_with('"');
            }
            Piece::Field(field) => {
                let after = match pieces.get(at + 1) {
                    Some(Piece::Literal(text)) => Some(&**text),
                    Some(Piece::Field(_)) | None => None,
                };
                let end = field_end(field, rest, after, in_quotes)?;
                entry.take(field, &rest[..end])?;
                rest = &rest[end..];
            }
        }
    }
    Some(rest)
}

fn field_end(field: &Field, rest: &str, after: Option<&str>, in_quotes: bool) -> Option<usize> {
    match after {
        None => Some(rest.len()),
        Some(after) if in_quotes && after.starts_with('"') => escape::quoted_end(rest, after),
        Some(after) if is_list(field) => list_end(rest, after),
        Some(after) => rest.find(after),
    }
}

/// Reads `pieces`, the rightmost first, off the end of what is left.
fn from_right<'a>(pieces: &'a [Piece], line: &'a str, entry: &mut Entry<'a>) -> Option<()> {
    let mut rest = line;
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(text) => rest = rest.strip_suffix(&**text)?,
            Piece::Field(field) => {
                let before = match pieces.get(at + 1) {
                    Some(Piece::Literal(text)) => &**text,
                    Some(Piece::Field(_)) | None => return None,
                };
                let start = list_start(field, rest, before)?;
                entry.take(field, &rest[start..])?;
                rest = &rest[..start];
            }
        }
    }
    Some(())
}

/// Whether nginx may write several figures for it, such as `0.010, 0.020 : 0.030`.
fn is_list(field: &Field) -> bool {
    matches!(field, Field::TookBehind | Field::FirstByteBehind)
}

fn goes_on(text: &str) -> bool {
    text.ends_with(',') || text.ends_with(" :")
}

/// Where a list ends that `after` follows, which may look like what is between its figures.
fn list_end(rest: &str, after: &str) -> Option<usize> {
    let mut ends = rest.match_indices(after).map(|(at, _)| at);
    ends.find(|at| !goes_on(&rest[..*at]) && !rest[*at..].starts_with(" :"))
}

/// Where the field at the end of `rest` starts, after `before`.
fn list_start(field: &Field, rest: &str, before: &str) -> Option<usize> {
    let mut end = rest.len();
    loop {
        let at = rest[..end].rfind(before)?;
        let left = &rest[..at];
        if !(is_list(field) && (goes_on(left) || rest[at..].starts_with(" : "))) {
            return Some(at + before.len());
        }
        end = at;
    }
}

/// `*` as of `OPTIONS *`.
fn is_path(path: &str) -> bool {
    path.starts_with('/') || path == "*"
}

impl<'a> Entry<'a> {
    /// Takes in what a field says; `None` if that can not be.
    fn take(&mut self, field: &'a Field, text: &'a str) -> Option<()> {
        match field {
            Field::Skip => {}
            Field::Request => self.take_request(escape::unescaped(text))?,
            Field::Method => self.method = escape::unescaped(text),
            Field::Path => self.take_target(escape::unescaped(text)),
            Field::Status => self.status = number::status(text).ok()?,
            Field::Bytes | Field::BytesWithHead => self.bytes = number::bytes(text).ok()?,
            Field::Length => self.length = number::bytes(text).ok()?,
            Field::Took(unit) => self.took = number::time(text, *unit).ok()?,
            Field::TookBehind => self.took = number::last_time(text).ok()?,
            Field::FirstByteBehind => self.first_byte = number::last_time(text).ok()?,
            Field::Host => self.host = Some(escape::unescaped(text)).filter(|host| is_said(host)),
            Field::Header(name) => {
                let value = escape::unescaped(text);
                if is_said(&value) {
                    self.headers.push((name, value));
                }
            }
        }
        Some(())
    }

    /// Takes the length that the response declared, if it had a body. Without it, zero says nothing of a response that
    /// should have one: gunicorn writes it of files that the kernel sends.
    fn settle_bytes(&mut self) {
        let has_body = self.method != "HEAD" && !matches!(self.status, 204 | 304);
        if has_body && self.length.is_some() {
            self.bytes = self.length;
        }
        if self.method == "GET" && matches!(self.status, 200 | 206) {
            self.bytes = self.bytes.filter(|bytes| *bytes > 0);
        }
    }

    /// `GET /path HTTP/1.1`, or without the version, as HTTP/0.9 has it.
    fn take_request(&mut self, text: Cow<'a, str>) -> Option<()> {
        let (method, target) = match &text {
            Cow::Borrowed(text) => request(text).map(|(m, t)| (Cow::Borrowed(m), Cow::Borrowed(t)))?,
            Cow::Owned(text) => request(text).map(|(m, t)| (m.to_owned().into(), t.to_owned().into()))?,
        };
        self.method = method;
        self.take_target(target);
        Some(())
    }

    /// Also in absolute form, which proxies send: `http://host/path`.
    fn take_target(&mut self, target: Cow<'a, str>) {
        let absolute = target.split_once("://").filter(|_| !target.starts_with('/'));
        let Some((_, rest)) = absolute else {
            self.path = target;
            return;
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        let path = if path.is_empty() { "/" } else { path };
        (self.host, self.path) = (Some(host.to_owned().into()), path.to_owned().into());
    }
}

fn request(text: &str) -> Option<(&str, &str)> {
    let (method, rest) = text.split_once(' ')?;
    let target = match rest.rsplit_once(' ') {
        Some((target, version)) if version.starts_with("HTTP/") => target,
        _ => rest,
    };
    Some((method, target))
}

fn is_said(text: &str) -> bool {
    !matches!(text, "" | "-")
}
