//! Others' text in a line of ours: it must not end the line, a quoted string or a field.

/// The longest text of others in one field, in bytes; the rest is left out. Lines wait in memory.
pub(super) const LONGEST: usize = 2048;

/// Characters that a text must not contain where it stands. A set of ASCII ones; others are never let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forbidden(u128);

impl Forbidden {
    /// Within double quotes.
    pub(super) const QUOTED: Self = Self(1 << b'"' | 1 << b'\\');

    /// Between blanks and whatever else separates fields in `separators`.
    pub(super) fn bare(separators: &str) -> Self {
        let own = separators.bytes().filter(|b| b.is_ascii() && !b.is_ascii_alphanumeric());
        Self(own.fold(Self::QUOTED.0 | 1 << b' ', |set, b| set | 1 << b))
    }

    fn has(self, byte: u8) -> bool {
        !(b' '..=b'~').contains(&byte) || self.0 & 1 << byte != 0
    }
}

/// Appends `text` with `\xHH` for what it must not contain, which is how nginx and Apache write it.
pub(super) fn append(line: &mut String, text: &[u8], forbidden: Forbidden) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in &text[..text.len().min(LONGEST)] {
        if forbidden.has(*byte) {
            line.push_str("\\x");
            line.push(HEX[usize::from(byte >> 4)].into());
            line.push(HEX[usize::from(byte & 15)].into());
        } else {
            line.push((*byte).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str, forbidden: Forbidden) -> String {
        let mut line = String::new();
        append(&mut line, text.as_bytes(), forbidden);
        line
    }

    #[test]
    fn what_would_end_a_line_a_string_or_a_field_is_written_otherwise() {
        let bare = Forbidden::bare("a|b, c");
        for (text, quoted, in_fields) in [
            ("/a?b=c", "/a?b=c", "/a?b=c"),
            ("a b", "a b", "a\\x20b"),
            ("a\"b", "a\\x22b", "a\\x22b"),
            ("a\\x22", "a\\x5Cx22", "a\\x5Cx22"),
            ("a\r\nb", "a\\x0D\\x0Ab", "a\\x0D\\x0Ab"),
            ("\x1b[2J", "\\x1B[2J", "\\x1B[2J"),
            ("é\u{7f}", "\\xC3\\xA9\\x7F", "\\xC3\\xA9\\x7F"),
            ("a|b,c;d", "a|b,c;d", "a\\x7Cb\\x2Cc;d"),
        ] {
            assert_eq!(escaped(text, Forbidden::QUOTED), quoted, "{text:?}");
            assert_eq!(escaped(text, bare), in_fields, "{text:?}");
        }
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(escaped(&"a".repeat(5000), Forbidden::QUOTED).len(), LONGEST);
    }
}
