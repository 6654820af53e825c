//! Quoted fields: where they end, and what they say.

use std::borrow::Cow;

/// Where a quoted field ends: at the first quote that is not escaped and that `after` (which begins with it) fits.
///
/// Not all servers escape the backslash itself: if none fits that way, the first quote that fits is taken.
pub(super) fn quoted_end(text: &str, after: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' if text[at..].starts_with(after) => return Some(at),
            _ => at += 1,
        }
    }
    text.find(after)
}

/// What a field says that is escaped as nginx (`\x22`) and Apache (`\"`, `\\`) do it.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let (byte, rest) = match (first, rest) {
            (b'\\', [b'x', high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), rest)
            }
            (b'\\', [quoted @ (b'"' | b'\\'), rest @ ..]) => (*quoted, rest),
            (byte, rest) => (*byte, rest),
        };
        out.push(byte);
        bytes = rest;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        letter => (letter | 0x20) - b'a' + 10,
    }
}
