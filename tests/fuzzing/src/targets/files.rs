//! Files that responses name, and which parts of them clients ask for.

use std::path::{Component, PathBuf};
use std::time::{Duration, SystemTime};

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue};
use sluice_agent::files::Offload;
use sluice_agent::files::conditions::{Tag, Validators, Verdict, evaluate, if_range_holds};
use sluice_agent::files::path::{Roots, locate};
use sluice_agent::files::ranges::{Selection, select};

use super::first_line;

/// Nothing leads out of the roots, by its text at least.
pub fn sendfile(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut roots = Roots::default();
    let dirs = ["/srv/blobs", "/srv/blobs/deeper", "/var/files"];
    dirs.iter().for_each(|dir| roots.add_directory(dir.into(), dir.into()));
    roots.add_uri("/internal/".to_owned(), "/srv/uri".into());
    for offload in [Offload::Sendfile(value.clone()), Offload::Redirect(value.clone())] {
        let Ok(place) = locate(&offload, &roots) else { continue };
        let known = dirs.iter().chain(&["/srv/uri"]).any(|dir| place.root == PathBuf::from(dir));
        assert!(known && place.beneath.is_relative(), "{place:?}");
        assert!(place.beneath.components().count() > 0, "{place:?}");
        assert!(place.beneath.components().all(|part| matches!(part, Component::Normal(_))), "{place:?}");
    }
}

/// A `Range` in the first line, conditions in those that follow.
pub fn range(bytes: &[u8]) {
    let (range, conditions) = first_line(bytes);
    for length in [0, 1, 100, 5000, u64::MAX] {
        check_selection(&select(range, length), length);
    }
    let own = Tag::parse(b"\"abc\"");
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let validators = Validators { tag: own, modified: Some(modified) };
    let mut fields = HeaderMap::new();
    let names = [IF_MATCH, IF_NONE_MATCH, IF_RANGE, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
    for (name, value) in names.into_iter().zip(conditions.split(|byte| *byte == b'\n')) {
        if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    let verdict = evaluate(&fields, validators);
    assert_eq!(evaluate(&fields, validators), verdict);
    if_range_holds(&fields, validators, modified + Duration::from_secs(60));
    fields.remove(IF_MATCH);
    fields.remove(IF_UNMODIFIED_SINCE);
    fields.insert(IF_NONE_MATCH, HeaderValue::from_static("\"abc\""));
    assert_eq!(evaluate(&fields, validators), Verdict::NotModified, "it has this very one: {fields:?}");
}

fn check_selection(selection: &Selection, length: u64) {
    let ranges = match selection {
        Selection::Whole | Selection::Unsatisfiable => return,
        Selection::One(range) => std::slice::from_ref(range),
        Selection::Several(ranges) => {
            assert!((2..=32).contains(&ranges.len()), "{ranges:?}");
            ranges
        }
    };
    for (n, range) in ranges.iter().enumerate() {
        assert!(range.first <= range.last && range.last < length, "{range:?} of {length}");
        let apart = |other: &&_| -> bool { apart(range, other) };
        assert_eq!(ranges.iter().skip(n + 1).filter(|other| !apart(other)).count(), 0, "{ranges:?} overlap");
    }
}

fn apart(
    one: &sluice_agent::files::ranges::ByteRange,
    other: &sluice_agent::files::ranges::ByteRange,
) -> bool {
    one.last < other.first || other.last < one.first
}
