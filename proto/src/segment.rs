//! One segment of a path: does it name a place in the application, or only number a thing?

/// A literal longer than this says less than its length costs.
const MAX_LITERAL: usize = 40;

/// The same for what Plone marks as a name itself (`++resource++some.package.with.a.long.name`).
const MAX_MARKED: usize = 64;

/// Names that applications give to views rather than to content. They stay literal whatever is
/// learned of their neighbours: what they cost is not what the neighbours cost.
const VIEW_NAMES: [&str; 40] = [
    "acl_users",
    "admin",
    "api",
    "at_download",
    "delete_confirmation",
    "download",
    "edit",
    "export",
    "favicon.ico",
    "feed",
    "folder_contents",
    "folder_factories",
    "folder_listing",
    "folder_summary_view",
    "full_view",
    "image",
    "image_icon",
    "image_large",
    "image_listing",
    "image_mini",
    "image_preview",
    "image_thumb",
    "image_tile",
    "index.html",
    "index_html",
    "listing_view",
    "login",
    "login_form",
    "logout",
    "manage_main",
    "manage_workspace",
    "preview",
    "robots.txt",
    "RSS",
    "search",
    "sendto_form",
    "sharing",
    "sitemap.xml.gz",
    "tabular_view",
    "view",
];

/// Writes a segment, or the placeholder of what only identifies a thing.
pub(crate) fn write(segment: &str, out: &mut String) {
    let marked = marked_len(segment);
    let suffix = extension(&segment[marked..]);
    let stem = &segment[marked..segment.len() - suffix.len()];
    match placeholder(stem, marked > 0) {
        Some(name) => [&segment[..marked], name, suffix].iter().for_each(|part| push_clean(part, out)),
        None => push_clean(segment, out),
    }
}

/// Adds `text` with every character that a header, a label or a log line would have to escape, and
/// every space, which parts a class name, replaced.
pub(crate) fn push_clean(text: &str, out: &mut String) {
    if text.bytes().all(is_clean) {
        out.push_str(text);
    } else {
        out.extend(text.chars().map(|c| if u8::try_from(c).is_ok_and(is_clean) { c } else { '~' }));
    }
}

fn is_clean(b: u8) -> bool {
    crate::class::is_name_byte(b) && b != b' '
}

/// Whether a written segment is never replaced by what is learned: views, and what is replaced already.
pub(crate) fn stays(segment: &str) -> bool {
    matches!(segment.bytes().next(), None | Some(b'@' | b'{' | b'*'))
        || segment.starts_with("++")
        || VIEW_NAMES.contains(&segment)
}

/// The length of what marks a name as one in Plone: `++resource++` and `@@`.
fn marked_len(segment: &str) -> usize {
    if segment.starts_with("@@") {
        return 2;
    }
    let close = segment.strip_prefix("++").and_then(|rest| rest.find("++"));
    close.map_or(0, |at| at + 4)
}

/// What a segment that only identifies a thing is replaced by; `None`: it is a word, keep it.
///
/// Thresholds: shorter hexadecimal runs are words ("decade", "face"), and names like `plone5`,
/// `v2` or `image_400` carry meaning. Source: algorithms.md 1.7 and the sources named there.
fn placeholder(stem: &str, is_marked: bool) -> Option<&'static str> {
    if stem.is_empty() {
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
    let most = if is_marked { MAX_MARKED } else { MAX_LITERAL };
    // A marked name with a number in it is still a name: `@@export2024`.
    let opaque = !is_marked && (digits >= 4 || (stem.len() >= 20 && digits >= 2 && !stem.contains('-')));
    (opaque || stem.len() > most).then_some("{id}")
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// `.jpg` of `photo.jpg`: one to five letters or digits, at least one letter, after a stem.
pub(crate) fn extension(segment: &str) -> &str {
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
