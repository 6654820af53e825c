//! Request classes: requests that cost alike, under a name that a person recognises.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::text::text_on_the_wire;

/// The longest class name, in bytes.
pub const MAX_LEN: usize = 200;

/// Name of a class: an operator's rule, such as `report year=2024`, or a method, a path template and
/// a kind, such as `GET /news/{n}/image.jpg [range]`. See [`crate::classify`].
///
/// Printable ASCII without quotes or backslashes, so that it goes unescaped into a header, a
/// metric label and a log line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassName(Arc<str>);

impl ClassName {
    /// What does not fit the bounded table of classes is counted here.
    pub const OTHER: &'static str = "other";

    pub fn other() -> Self {
        Self(Self::OTHER.into())
    }

    /// Takes a name that came over the wire; `None` if it is not one that may be shown as it is.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(is_name_byte);
        valid.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts of the name.
    pub fn parts(&self) -> Parts<'_> {
        Parts::of(&self.0)
    }
}

/// A class name taken apart: `before` + `template` + `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The rule's name and groups, the method, and the space before the template.
    pub before: &'a str,
    /// From its slash on. Empty: the class is named by a rule alone.
    pub template: &'a str,
    /// The kind, and the space before it.
    pub after: &'a str,
}

impl<'a> Parts<'a> {
    /// Nothing but what parts them has a space: see [`crate::segment::push_clean`].
    pub(crate) fn of(name: &'a str) -> Self {
        let Some(slash) = name.find(" /") else { return Self { before: name, template: "", after: "" } };
        let (before, rest) = name.split_at(slash + 1);
        let (template, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        Self { before, template, after }
    }

    /// The rule that names the class, if one does, else the method: a rule's name is never a method's.
    pub fn first_word(&self) -> &'a str {
        self.before.split(' ').next().unwrap_or_default()
    }
}

pub(crate) fn is_name_byte(b: u8) -> bool {
    matches!(b, b' '..=b'~') && b != b'"' && b != b'\\'
}

impl FromStr for ClassName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
            .ok_or_else(|| format!("class name must be 1 to {MAX_LEN} printable ASCII characters"))
    }
}

text_on_the_wire!(ClassName, "a class name");

impl fmt::Display for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for ClassName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_wire_are_checked() {
        for bad in ["", "a\nb", "a\"b", "caf\u{e9}", &"x".repeat(MAX_LEN + 1)] {
            assert_eq!(ClassName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_name_has_parts() {
        for (name, before, template, after) in [
            ("GET /news/{n}", "GET ", "/news/{n}", ""),
            ("GET /a [range]", "GET ", "/a", " [range]"),
            ("report year=2024 [head]", "report year=2024 [head]", "", ""),
            ("editors GET /a [conditional]", "editors GET ", "/a", " [conditional]"),
            ("other", "other", "", ""),
        ] {
            let name = ClassName::parse(name).expect(name);
            assert_eq!(name.parts(), Parts { before, template, after });
        }
    }
}
