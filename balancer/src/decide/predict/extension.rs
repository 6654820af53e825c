//! What a path's extension, or a content type, says about a response.

use serde::{Deserialize, Serialize};

/// Families of content: few, so that each has evidence soon and the table is a small array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtensionKey {
    /// The path ends in no extension: a view, a folder, an API.
    Bare,
    Html,
    Json,
    Xml,
    Text,
    Style,
    Script,
    Font,
    Image,
    Audio,
    Video,
    Pdf,
    Office,
    Archive,
    /// Programs, disk images and what says no more than that it is bytes.
    Binary,
    /// An extension or type that is in no list here.
    Other,
}

/// Longer ones are in no list.
const LONGEST: usize = 5;

impl ExtensionKey {
    /// In the order of the variants: `ALL[key as usize] == key`.
    pub const ALL: [Self; 16] = [
        Self::Bare,
        Self::Html,
        Self::Json,
        Self::Xml,
        Self::Text,
        Self::Style,
        Self::Script,
        Self::Font,
        Self::Image,
        Self::Audio,
        Self::Video,
        Self::Pdf,
        Self::Office,
        Self::Archive,
        Self::Binary,
        Self::Other,
    ];

    /// The family of a path without its query, by the last segment's extension, in any case.
    pub fn of_path(path: &str) -> Self {
        let Some(extension) = extension(path.as_bytes()) else { return Self::Bare };
        let mut lower = [0; LONGEST];
        let lower = &mut lower[..extension.len()];
        lower.copy_from_slice(extension);
        lower.make_ascii_lowercase();
        Self::of_lower_case(lower)
    }

    fn of_lower_case(extension: &[u8]) -> Self {
        match extension {
            b"html" | b"htm" | b"xhtml" | b"php" | b"asp" | b"aspx" | b"jsp" | b"pt" => Self::Html,
            b"json" | b"map" => Self::Json,
            b"xml" | b"rss" | b"atom" | b"rdf" => Self::Xml,
            b"txt" | b"csv" | b"md" | b"ics" | b"log" => Self::Text,
            b"css" => Self::Style,
            b"js" | b"mjs" => Self::Script,
            b"woff" | b"woff2" | b"ttf" | b"otf" | b"eot" => Self::Font,
            b"png" | b"jpg" | b"jpeg" | b"gif" | b"webp" | b"avif" | b"svg" | b"ico" | b"bmp" | b"tif"
            | b"tiff" => Self::Image,
            b"mp3" | b"ogg" | b"oga" | b"wav" | b"flac" | b"m4a" | b"aac" | b"opus" => Self::Audio,
            b"mp4" | b"webm" | b"mov" | b"avi" | b"mkv" | b"m4v" | b"ogv" | b"mpg" | b"mpeg" => Self::Video,
            b"pdf" => Self::Pdf,
            b"doc" | b"docx" | b"xls" | b"xlsx" | b"ppt" | b"pptx" | b"odt" | b"ods" | b"odp" => Self::Office,
            b"zip" | b"gz" | b"tgz" | b"tar" | b"bz2" | b"xz" | b"7z" | b"rar" | b"zst" => Self::Archive,
            b"bin" | b"exe" | b"dmg" | b"iso" | b"img" | b"msi" | b"deb" | b"rpm" | b"apk" => Self::Binary,
            _ => Self::Other,
        }
    }

    /// The family of a `Content-Type` field, parameters and case aside.
    pub fn of_content_type(value: &str) -> Self {
        let essence = value.split(';').next().unwrap_or(value).trim();
        let Some((kind, subtype)) = essence.split_once('/') else { return Self::Other };
        let is = |name: &str| kind.eq_ignore_ascii_case(name);
        if is("image") {
            Self::Image
        } else if is("video") {
            Self::Video
        } else if is("audio") {
            Self::Audio
        } else if is("font") {
            Self::Font
        } else if is("text") {
            Self::of_text(subtype)
        } else if is("application") {
            Self::of_application(subtype)
        } else {
            Self::Other
        }
    }

    fn of_text(subtype: &str) -> Self {
        let is = |name: &str| subtype.eq_ignore_ascii_case(name);
        if is("html") {
            Self::Html
        } else if is("css") {
            Self::Style
        } else if is("javascript") {
            Self::Script
        } else if is("xml") {
            Self::Xml
        } else {
            Self::Text
        }
    }

    fn of_application(subtype: &str) -> Self {
        const NAMES: [(&str, ExtensionKey); 13] = [
            ("json", ExtensionKey::Json),
            ("xml", ExtensionKey::Xml),
            ("xhtml+xml", ExtensionKey::Html),
            ("javascript", ExtensionKey::Script),
            ("pdf", ExtensionKey::Pdf),
            ("zip", ExtensionKey::Archive),
            ("gzip", ExtensionKey::Archive),
            ("x-gzip", ExtensionKey::Archive),
            ("x-tar", ExtensionKey::Archive),
            ("x-7z-compressed", ExtensionKey::Archive),
            ("zstd", ExtensionKey::Archive),
            ("octet-stream", ExtensionKey::Binary),
            ("msword", ExtensionKey::Office),
        ];
        // RFC 6839: what follows the last `+` says how the rest is written.
        const SUFFIXES: [(&str, ExtensionKey); 2] =
            [("+json", ExtensionKey::Json), ("+xml", ExtensionKey::Xml)];
        const PREFIXES: [(&str, ExtensionKey); 2] =
            [("vnd.openxmlformats", ExtensionKey::Office), ("vnd.oasis.opendocument", ExtensionKey::Office)];
        let find = |list: &[(&str, Self)], matches: fn(&str, &str) -> bool| {
            list.iter().find(|(name, _)| matches(subtype, name)).map(|(_, key)| *key)
        };
        find(&NAMES, str::eq_ignore_ascii_case)
            .or_else(|| find(&PREFIXES, starts_with))
            .or_else(|| find(&SUFFIXES, ends_with))
            .unwrap_or(Self::Other)
    }
}

/// What follows the last dot of the last segment, if something goes before and after it. Looks at
/// no more than the end of the path: `.well-known`, `v1.` and `mr.smith-and-co` have none.
fn extension(path: &[u8]) -> Option<&[u8]> {
    let least = path.len().saturating_sub(LONGEST + 1);
    let at = (least..path.len()).rev().find(|at| matches!(path[*at], b'.' | b'/'))?;
    let has_stem = at > 0 && path[at - 1] != b'/';
    (path[at] == b'.' && has_stem && at + 1 < path.len()).then(|| &path[at + 1..])
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn ends_with(text: &str, suffix: &str) -> bool {
    let start = text.len().checked_sub(suffix.len());
    start.and_then(|at| text.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_paths() {
        use ExtensionKey::*;
        for (path, family) in [
            ("/", Bare),
            ("", Bare),
            ("/news/2024", Bare),
            ("/file.zip/@@download", Bare),
            ("/.well-known", Bare),
            ("/archive.", Bare),
            ("/mr.smith-and-co", Bare),
            ("/a/index.html", Html),
            ("/a/photo.JPeG", Image),
            ("/a.b/film.mp4", Video),
            ("/backup.tar.gz", Archive),
            ("/report.pdf", Pdf),
            ("/setup.exe", Binary),
            ("/v1.2", Other),
            ("/é.ü", Other),
            ("/x.ééé", Bare),
        ] {
            assert_eq!(ExtensionKey::of_path(path), family, "{path}");
        }
    }

    #[test]
    fn families_of_content_types() {
        use ExtensionKey::*;
        for (value, family) in [
            ("text/html; charset=utf-8", Html),
            ("Image/PNG", Image),
            ("image/svg+xml", Image),
            ("video/mp4", Video),
            ("application/pdf", Pdf),
            (" application/zip ;x=y", Archive),
            ("application/octet-stream", Binary),
            ("application/problem+JSON", Json),
            ("application/atom+xml", Xml),
            ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", Office),
            ("application/é", Other),
            ("text/calendar", Text),
            ("", Other),
            ("nonsense", Other),
        ] {
            assert_eq!(ExtensionKey::of_content_type(value), family, "{value}");
        }
    }

    #[test]
    fn keys_index_the_list_of_all() {
        for (index, key) in ExtensionKey::ALL.into_iter().enumerate() {
            assert_eq!(key as usize, index);
        }
    }
}
