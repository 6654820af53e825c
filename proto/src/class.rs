//! Request classes: requests that cost alike, under a name that a person recognises.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::template::write_template;

/// The longest class name; what is longer is cut at a character.
pub const MAX_LEN: usize = 200;

/// Name of a class: a method and a path template, such as `GET /news/{n}/image.jpg`.
///
/// Printable ASCII without quotes or backslashes, so that it goes unescaped into a header, a
/// metric label and a log line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClassName(Arc<str>);

impl ClassName {
    /// What does not fit the bounded table of classes is counted here.
    pub const OTHER: &'static str = "other";

    pub fn other() -> Self {
        Self(Self::OTHER.into())
    }

    /// Takes a name that came over the wire; `None` if it is not one that [`write_name`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(is_name_byte);
        valid.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes the class name of a request to `out`, which is cleared first.
///
/// `path` is the request target's path; a query, if there is one, is ignored. The caller keeps
/// `out` between requests, so that a request of a known class allocates nothing.
pub fn write_name(method: &str, path: &str, out: &mut String) {
    out.clear();
    out.push_str(method);
    out.push(' ');
    let path = path.split(['?', '#']).next().unwrap_or_default();
    write_template(path, out);
    sanitize(out);
}

/// Cuts to [`MAX_LEN`] and replaces what a header, label or log line would have to escape.
fn sanitize(name: &mut String) {
    if name.bytes().any(|b| !is_name_byte(b)) {
        *name = name.chars().map(|c| if is_name_char(c) { c } else { '~' }).collect();
    }
    name.truncate(MAX_LEN);
}

fn is_name_char(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_name_byte)
}

fn is_name_byte(b: u8) -> bool {
    matches!(b, b' '..=b'~') && b != b'"' && b != b'\\'
}

impl TryFrom<String> for ClassName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
            .ok_or_else(|| format!("class name must be 1 to {MAX_LEN} printable ASCII characters"))
    }
}

impl From<ClassName> for String {
    fn from(name: ClassName) -> Self {
        name.0.as_ref().to_owned()
    }
}

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

    fn name(method: &str, path: &str) -> String {
        let mut out = String::from("left over");
        write_name(method, path, &mut out);
        out
    }

    #[test]
    fn what_numbers_a_thing_goes_and_what_names_it_stays() {
        for (path, class) in [
            ("/", "GET /"),
            ("", "GET /"),
            ("/news", "GET /news"),
            ("/news/", "GET /news/"),
            ("/news/17", "GET /news/{n}"),
            ("/news/17?page=2", "GET /news/{n}"),
            ("/news/17/image.jpg", "GET /news/{n}/image.jpg"),
            ("/img/0012345.jpg", "GET /img/{n}.jpg"),
            ("/u/1b4e28ba-2fa1-11d2-883f-0016d3cca427", "GET /u/{uuid}"),
            ("/blob/deadbeef01", "GET /blob/{hex}"),
            ("/decade/face", "GET /decade/face"),
            ("/api/v2/users/81234", "GET /api/v2/users/{n}"),
            ("/plone5/front-page", "GET /plone5/front-page"),
            ("/a/@@images/1b4e28ba-2fa1-11d2-883f-0016d3cca427.png", "GET /a/@@images/{uuid}.png"),
            ("/a/@@images/image/preview", "GET /a/@@images/image/preview"),
            ("/++api++/news/@search", "GET /++api++/news/@search"),
            ("/s/QmFzZTY0dGV4dCBvZiBzb21l12", "GET /s/{id}"),
            ("/1/2/3/4/5/6/7/8/9/x.pdf", "GET /{n}/{n}/{n}/{n}/{n}/{n}/{n}/{n}/{rest}.pdf"),
            ("/caf\u{e9}", "GET /caf~"),
            ("/a\"b", "GET /a~b"),
        ] {
            assert_eq!(name("GET", path), class, "{path}");
        }
    }

    #[test]
    fn a_written_name_is_always_one_that_can_be_read_back() {
        for path in ["/", "/é/ü", &"/x".repeat(500), &format!("/{}", "é".repeat(300)), "/a\\b\"c\n"] {
            let written = name("PROPFIND", path);
            assert_eq!(ClassName::parse(&written).expect(&written).as_str(), written);
        }
    }

    #[test]
    fn names_from_the_wire_are_checked() {
        for bad in ["", "a\nb", "a\"b", "caf\u{e9}", &"x".repeat(MAX_LEN + 1)] {
            assert_eq!(ClassName::parse(bad), None, "{bad:?}");
        }
    }
}
