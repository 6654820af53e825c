//! From a path to a template: what tells requests apart stays, what only numbers them goes.

/// Segments deeper than this are folded: a class is a place in an application, not a file path.
const MAX_SEGMENTS: usize = 8;

/// A literal longer than this says less than its length costs.
const MAX_LITERAL: usize = 40;

/// Writes the template of `path` (no query) to `out`: `/news/17/image.jpg` as `/news/{n}/image.jpg`.
pub(crate) fn write_template(path: &str, out: &mut String) {
    let mut segments = path.split('/').skip(usize::from(path.starts_with('/')));
    for segment in segments.by_ref().take(MAX_SEGMENTS) {
        out.push('/');
        write_segment(segment, out);
    }
    if let Some(last) = segments.last() {
        out.push_str("/{rest}");
        out.push_str(extension(last));
    }
}

fn write_segment(segment: &str, out: &mut String) {
    let suffix = extension(segment);
    let stem = &segment[..segment.len() - suffix.len()];
    match placeholder(stem) {
        Some(name) => {
            out.push_str(name);
            out.push_str(suffix);
        }
        None => out.push_str(segment),
    }
}

/// What a segment that only identifies a thing is replaced by; `None`: it is a word, keep it.
///
/// Thresholds: shorter hexadecimal runs are words ("decade", "face"), and names like `plone5`,
/// `v2` or `image_400` carry meaning. Source: algorithms.md 1.7 and the sources named there.
fn placeholder(stem: &str) -> Option<&'static str> {
    if stem.is_empty() || stem.starts_with("@@") || stem.starts_with("++") {
        return None;
    }
    let digits = stem.bytes().filter(u8::is_ascii_digit).count();
    if digits == stem.len() {
        return Some("{n}");
    }
    if is_uuid(stem) {
        return Some("{uuid}");
    }
    if stem.len() >= 8 && digits > 0 && stem.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some("{hex}");
    }
    let opaque = digits >= 4 || (stem.len() >= 20 && digits >= 2 && !stem.contains('-'));
    (opaque || stem.len() > MAX_LITERAL).then_some("{id}")
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// `.jpg` of `photo.jpg`: one to five letters or digits, at least one letter, after a stem.
fn extension(segment: &str) -> &str {
    match segment.rfind('.') {
        Some(dot) if dot > 0 && is_extension(&segment[dot + 1..]) => &segment[dot..],
        _ => "",
    }
}

fn is_extension(text: &str) -> bool {
    (1..=5).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}
