//! Range requests: RFC 9110, section 14, on values.

/// Ranges of one request, at most; one that wants more gets the whole. 32: readers of PDF, the most demanding clients
/// there are, ask for a few; Apache's limit is 200, each of which would cost a part's head.
const MOST: usize = 32;

/// Bytes between two ranges below which they become one: about what the head of a part takes (RFC 9110, 15.3.7.2).
const GAP: u64 = 80;

/// Bytes of a representation, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    pub first: u64,
    pub last: u64,
}

impl ByteRange {
    /// Never zero, and at most the length of a file.
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }

    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether less lies between them than it costs to keep them apart.
    fn is_near(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(GAP) && other.first <= self.last.saturating_add(GAP)
    }

    fn with(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// What is to be sent of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200: no range is asked for that could be understood, or that is worth being obeyed.
    Whole,
    /// 206
    One(ByteRange),
    /// 206 in parts: two or more, disjoint, in the order in which they were asked for.
    Several(Vec<ByteRange>),
    /// 416: nothing that is asked for is there.
    Unsatisfiable,
}

/// Reads the value of a `Range` field for a representation of `length` bytes.
///
/// A value that is not valid is ignored; so is one with more than two ranges that overlap, or more than 32
/// (RFC 9110, 14.2: "A server that supports range requests MAY ignore or reject"). Of an empty representation there
/// are no ranges.
pub fn select(value: &[u8], length: u64) -> Selection {
    if length == 0 {
        return Selection::Whole;
    }
    let Some(specs) = parse(value) else { return Selection::Whole };
    let ranges: Vec<_> = specs.iter().filter_map(|spec| spec.of(length)).collect();
    if specs.len() > MOST || overlapping(&ranges) > 2 {
        return Selection::Whole;
    }
    let mut ranges = coalesced(ranges);
    match ranges.len() {
        0 => Selection::Unsatisfiable,
        1 => Selection::One(ranges.remove(0)),
        _ => Selection::Several(ranges),
    }
}

/// As asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

impl Spec {
    /// `None` if there is nothing of it.
    fn of(self, length: u64) -> Option<ByteRange> {
        let end = length.checked_sub(1)?;
        let (first, last) = match self {
            Self::From(first) => (first, end),
            Self::Between(first, last) => (first, last.min(end)),
            Self::Last(0) => return None,
            Self::Last(n) => (length.saturating_sub(n), end),
        };
        (first <= end).then_some(ByteRange { first, last })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        match (&text[..dash], &text[dash + 1..]) {
            ([], last) => number(last).map(Self::Last),
            (first, []) => number(first).map(Self::From),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                // "An int-range is invalid if the last-pos value is present and less than first-pos."
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }
}

/// Digits alone. What no file is long enough for is all the same.
fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |sum: u64, byte| Some(sum.saturating_mul(10).saturating_add(digit(byte)?));
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

fn parse(value: &[u8]) -> Option<Vec<Spec>> {
    let equals = value.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = (&value[..equals], &value[equals + 1..]);
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    // A list may have empty elements (RFC 9110, 5.6.1.2).
    let elements = set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|text| !text.is_empty());
    let specs: Vec<_> = elements.map(Spec::parse).collect::<Option<_>>()?;
    (!specs.is_empty()).then_some(specs)
}

/// How many of them overlap another one.
fn overlapping(ranges: &[ByteRange]) -> usize {
    let overlaps_another = |(index, range): &(usize, &ByteRange)| {
        ranges.iter().enumerate().any(|(other, with)| other != *index && range.overlaps(*with))
    };
    ranges.iter().enumerate().filter(overlaps_another).count()
}

/// Those that are near each other as one, in the place of the first of them.
fn coalesced(ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut apart: Vec<ByteRange> = Vec::with_capacity(ranges.len());
    for mut range in ranges {
        let mut place = apart.len();
        // What has grown may have come near another one.
        while let Some(near) = apart.iter().position(|other| other.is_near(range)) {
            range = range.with(apart.remove(near));
            place = place.min(near);
        }
        apart.insert(place.min(apart.len()), range);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(first: u64, last: u64) -> Selection {
        Selection::One(ByteRange { first, last })
    }

    fn several(ranges: &[(u64, u64)]) -> Selection {
        Selection::Several(ranges.iter().map(|&(first, last)| ByteRange { first, last }).collect())
    }

    #[test]
    fn a_range_is_what_the_rfc_says() {
        use Selection::{Unsatisfiable, Whole};
        for (value, wanted) in [
            // The examples of 14.1.2, for a representation of 10,000 bytes.
            ("bytes=0-499", one(0, 499)),
            ("bytes=500-999", one(500, 999)),
            ("bytes=-500", one(9500, 9999)),
            ("bytes=9500-", one(9500, 9999)),
            ("bytes=0-0,-1", several(&[(0, 0), (9999, 9999)])),
            ("bytes= 0-999, 4500-5499, -1000", several(&[(0, 999), (4500, 5499), (9000, 9999)])),
            ("bytes=500-600,601-999", one(500, 999)),
            ("bytes=500-700,601-999", one(500, 999)),
            // Ends.
            ("bytes=0-", one(0, 9999)),
            ("bytes=0-9999", one(0, 9999)),
            ("bytes=0-10000", one(0, 9999)),
            ("bytes=9999-", one(9999, 9999)),
            ("bytes=9999-9999", one(9999, 9999)),
            ("bytes=10000-", Unsatisfiable),
            ("bytes=10000-10001", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=-1", one(9999, 9999)),
            ("bytes=-10000", one(0, 9999)),
            ("bytes=-10001", one(0, 9999)),
            ("bytes=0-99999999999999999999999999", one(0, 9999)),
            ("bytes=99999999999999999999999999-", Unsatisfiable),
            ("bytes=-99999999999999999999999999", one(0, 9999)),
            ("bytes=18446744073709551615-18446744073709551615", Unsatisfiable),
            // Lists.
            ("bytes=20000-,0-0", one(0, 0)),
            ("bytes=20000-,-0", Unsatisfiable),
            ("bytes=,0-0,, ,", one(0, 0)),
            ("bytes=9000-9099,0-99", several(&[(9000, 9099), (0, 99)])),
            ("bytes=0-0,80-80", one(0, 80)),
            ("bytes=80-80,0-0", one(0, 80)),
            ("bytes=0-0,81-81", several(&[(0, 0), (81, 81)])),
            ("bytes=81-81,0-0", several(&[(81, 81), (0, 0)])),
            ("bytes=0-9,1000-1009,500-509,10-999", one(0, 1009)),
            // Not valid, and so as if it were not there.
            ("bytes=", Whole),
            ("bytes=,", Whole),
            ("bytes", Whole),
            ("bytes=-", Whole),
            ("bytes=5-4", Whole),
            ("bytes=0-1,5-4", Whole),
            ("bytes=a-b", Whole),
            ("bytes=0x0-1", Whole),
            ("bytes=+0-1", Whole),
            ("bytes=0 - 1", Whole),
            ("bytes=1", Whole),
            ("bytes=--1", Whole),
            ("bytes=0-1-2", Whole),
            ("bytes=0-1;2-3", Whole),
            ("items=0-1", Whole),
            ("0-1", Whole),
            ("", Whole),
            ("BYTES=0-1", one(0, 1)),
        ] {
            assert_eq!(select(value.as_bytes(), 10_000), wanted, "{value}");
        }
    }

    #[test]
    fn of_nothing_there_are_no_ranges() {
        for value in ["bytes=0-", "bytes=-5", "bytes=0-0", "bytes=7-"] {
            assert_eq!(select(value.as_bytes(), 0), Selection::Whole, "{value}");
        }
    }

    #[test]
    fn what_is_made_to_cost_much_gets_the_whole_once() {
        let list = |ranges: Vec<String>| format!("bytes={}", ranges.join(","));
        let apart = |n: usize| list((0..n).map(|i| format!("{}-{}", i * 200, i * 200)).collect());
        let Selection::Several(most) = select(apart(MOST).as_bytes(), 10_000) else { panic!("as many") };
        assert_eq!(most.len(), MOST);
        assert_eq!(select(apart(MOST + 1).as_bytes(), 10_000), Selection::Whole);
        for overlapping in ["bytes=0-,0-,0-", "bytes=0-500,400-900,800-1200", "bytes=-1,-2,-3,0-0"] {
            assert_eq!(select(overlapping.as_bytes(), 10_000), Selection::Whole, "{overlapping}");
        }
        assert_eq!(select(b"bytes=0-,0-", 10_000), one(0, 9999), "two are forgiven");
    }

    /// Whatever is asked for: what is sent is disjoint, within the file, and never longer than it.
    #[test]
    fn ranges_never_add_up_to_more_than_the_file() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let length = rng.u64(0..2_000);
            let mut specs = Vec::new();
            for _ in 0..rng.usize(1..6) {
                let (a, b) = (rng.u64(0..2_200), rng.u64(0..2_200));
                specs.push(match rng.u8(0..4) {
                    0 => format!("{a}-"),
                    1 => format!("-{a}"),
                    _ => format!("{}-{}", a.min(b), a.max(b)),
                });
            }
            let value = format!("bytes={}", specs.join(","));
            let ranges = match select(value.as_bytes(), length) {
                Selection::One(range) => vec![range],
                Selection::Several(ranges) => ranges,
                Selection::Whole | Selection::Unsatisfiable => continue,
            };
            let context = format!("seed {seed}: {value} of {length}: {ranges:?}");
            assert!(ranges.iter().all(|r| r.first <= r.last && r.last < length), "{context}");
            assert_eq!(overlapping(&ranges), 0, "{context}");
            assert!(ranges.iter().map(|r| r.length()).sum::<u64>() <= length, "{context}");
        }
    }
}
