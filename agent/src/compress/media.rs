//! Which media types are worth compressing.

use std::{fmt, str::FromStr};

/// A media type such as `application/json`, or many: `text/*`, `*/*+xml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPattern {
    /// `None`: any.
    kind: Option<String>,
    subtype: Subtype,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subtype {
    Any,
    Exactly(String),
    /// A structured syntax suffix (RFC 6838, 4.2.8), with its `+`.
    Suffix(String),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a media type: write TYPE/SUBTYPE, TYPE/*, */* or */*+SUFFIX, as in application/json, text/*, */*+xml"
)]
pub struct MediaPatternError(String);

/// Text in all its forms. What is compressed by its nature (images, video, archives, WOFF, PDF, office documents)
/// would only cost time.
pub fn default_types() -> Vec<MediaPattern> {
    const TYPES: [&str; 13] = [
        "text/*",
        "application/json",
        "application/javascript",
        "application/x-javascript",
        "application/xml",
        "application/wasm",
        "application/x-ndjson",
        "application/rtf",
        "application/vnd.ms-fontobject",
        "font/ttf",
        "font/otf",
        "*/*+json",
        "*/*+xml",
    ];
    TYPES.iter().map(|text| text.parse().expect("well-formed, as a test shows")).collect()
}

impl MediaPattern {
    /// Whether `essence`, such as `text/html`, is meant. The case does not matter.
    pub(super) fn matches(&self, essence: &str) -> bool {
        let Some((kind, subtype)) = essence.split_once('/') else { return false };
        self.kind.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(kind))
            && match &self.subtype {
                Subtype::Any => true,
                Subtype::Exactly(own) => own.eq_ignore_ascii_case(subtype),
                Subtype::Suffix(own) => ends_with(subtype, own),
            }
    }
}

fn ends_with(text: &str, suffix: &str) -> bool {
    let start = text.len().checked_sub(suffix.len());
    start.and_then(|start| text.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

impl FromStr for MediaPattern {
    type Err = MediaPatternError;

    fn from_str(text: &str) -> Result<Self, MediaPatternError> {
        let refused = || MediaPatternError(text.to_owned());
        let (kind, subtype) = text.trim().split_once('/').ok_or_else(refused)?;
        let kind = match kind {
            "*" => None,
            kind if is_token(kind) => Some(kind.to_ascii_lowercase()),
            _ => return Err(refused()),
        };
        let subtype = match subtype.strip_prefix('*') {
            Some("") => Subtype::Any,
            Some(suffix) if suffix.len() > 1 && suffix.starts_with('+') && is_token(suffix) => {
                Subtype::Suffix(suffix.to_ascii_lowercase())
            }
            None if kind.is_some() && is_token(subtype) => Subtype::Exactly(subtype.to_ascii_lowercase()),
            _ => return Err(refused()),
        };
        Ok(Self { kind, subtype })
    }
}

/// RFC 9110, 5.6.2, without `*`, which stands for others here.
fn is_token(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_allowed)
}

impl fmt::Display for MediaPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_deref().unwrap_or("*");
        match &self.subtype {
            Subtype::Any => write!(f, "{kind}/*"),
            Subtype::Exactly(subtype) => write!(f, "{kind}/{subtype}"),
            Subtype::Suffix(suffix) => write!(f, "{kind}/*{suffix}"),
        }
    }
}

sluice_process::serde_as_text!(MediaPattern, "a media type such as \"application/json\" or \"text/*\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_worth_it_and_what_is_compressed_is_not() {
        let defaults = default_types();
        let is_default = |essence: &str| defaults.iter().any(|pattern| pattern.matches(essence));
        for essence in [
            "text/html",
            "TEXT/CSS",
            "application/json",
            "application/javascript",
            "text/javascript",
            "application/xml",
            "image/svg+xml",
            "application/atom+xml",
            "application/ld+json",
            "application/wasm",
            "font/ttf",
        ] {
            assert!(is_default(essence), "{essence}");
        }
        for essence in [
            "image/png",
            "image/jpeg",
            "video/mp4",
            "application/zip",
            "application/gzip",
            "font/woff2",
            "application/pdf",
            "application/octet-stream",
            "multipart/byteranges",
            "textual/html",
            "text",
            "",
            "application/jsonp",
            "xml",
        ] {
            assert!(!is_default(essence), "{essence}");
        }
    }

    #[test]
    fn reads_what_people_write_and_prints_it_back() {
        for text in ["text/*", "*/*", "*/*+xml", "application/*+json", "image/svg+xml"] {
            assert_eq!(text.parse::<MediaPattern>().expect(text).to_string(), text);
        }
        for text in [
            "",
            "text",
            "/",
            "text/",
            "/html",
            "*/html",
            "text/h*",
            "text/*x",
            "*/*+",
            "a b/c",
            "text/html; q=1",
        ] {
            let message = text.parse::<MediaPattern>().expect_err(text).to_string();
            assert!(message.contains("application/json, text/*, */*+xml"), "{message}");
        }
    }
}
