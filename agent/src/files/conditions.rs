//! Conditional requests: RFC 9110, section 13, on values.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName,
    header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE},
};

/// An entity tag (RFC 9110, 8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// `None` if `bytes` are anything else than one entity tag.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::first(bytes.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// The tag at the beginning, and what follows it.
    fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match bytes.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, bytes),
        };
        let length = quoted.strip_prefix(b"\"")?.iter().position(|byte| *byte == b'"')? + 2;
        let (opaque, rest) = quoted.split_at(length);
        let is_tag = opaque[1..length - 1].iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..));
        is_tag.then_some((Self { weak, opaque }, rest))
    }

    fn equals_strongly(self, other: Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    fn equals_weakly(self, other: Self) -> bool {
        self.opaque == other.opaque
    }
}

/// By what a representation is told from another one of the same resource.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    pub tag: Option<Tag<'a>>,
    /// Whole seconds.
    pub modified: Option<SystemTime>,
}

/// What becomes of a conditional GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The conditions hold, or there are none.
    Proceed,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// Evaluates what a GET or HEAD makes its answer depend on, in the order of RFC 9110, 13.2.2.
pub fn evaluate(fields: &HeaderMap, validators: Validators<'_>) -> Verdict {
    let is_newer = |than: SystemTime| validators.modified.is_some_and(|modified| modified > than);
    let required = if fields.contains_key(IF_MATCH) {
        names_one(fields, &IF_MATCH, |tag| validators.tag.is_some_and(|own| own.equals_strongly(tag)))
    } else {
        !date(fields, &IF_UNMODIFIED_SINCE).is_some_and(is_newer)
    };
    let known = if fields.contains_key(IF_NONE_MATCH) {
        names_one(fields, &IF_NONE_MATCH, |tag| validators.tag.is_some_and(|own| own.equals_weakly(tag)))
    } else {
        let since = date(fields, &IF_MODIFIED_SINCE);
        since.is_some_and(|since| validators.modified.is_some() && !is_newer(since))
    };
    match (required, known) {
        (false, _) => Verdict::Failed,
        (true, true) => Verdict::NotModified,
        (true, false) => Verdict::Proceed,
    }
}

/// Whether a Range is to be obeyed, as far as `If-Range` goes: there is none, or it names what there is, strongly
/// (RFC 9110, 13.1.5).
///
/// A date is strong if the file was not written to in the second before `now`: else it may be again within the second
/// that the date stands for.
pub fn if_range_holds(fields: &HeaderMap, validators: Validators<'_>, now: SystemTime) -> bool {
    let Some(value) = fields.get(IF_RANGE) else { return true };
    if let Some(tag) = Tag::parse(value.as_bytes()) {
        return validators.tag.is_some_and(|own| own.equals_strongly(tag));
    }
    let is_old = |modified: SystemTime| now >= modified + Duration::from_secs(1);
    match (date(fields, &IF_RANGE), validators.modified) {
        (Some(date), Some(modified)) => date == modified && is_old(modified),
        _ => false,
    }
}

/// Whether the list is `*` or has a tag like that. What follows something that is no tag is not looked at.
fn names_one(fields: &HeaderMap, name: &HeaderName, is_it: impl Fn(Tag<'_>) -> bool) -> bool {
    fields.get_all(name).iter().any(|value| {
        let mut rest = value.as_bytes().trim_ascii();
        if rest == b"*" {
            return true;
        }
        while let Some((tag, after)) = Tag::first(rest) {
            if is_it(tag) {
                return true;
            }
            let is_between = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
            rest = &after[after.iter().take_while(|byte| is_between(byte)).count()..];
        }
        false
    })
}

/// A date that is not valid is none: "A recipient MUST ignore [...] if the received value is not a valid HTTP-date".
/// So are several: "[...] or the field value has more than one member" (RFC 9110, 13.1.3).
fn date(fields: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = fields.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;

    /// When the file was written: `THEN`.
    const WRITTEN: u64 = 784_111_777;
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn fields(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().expect("a name");
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        map
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn validators(tag: &str) -> Validators<'_> {
        Validators { tag: Tag::parse(tag.as_bytes()), modified: Some(at(WRITTEN)) }
    }

    #[test]
    fn conditions_are_evaluated_in_the_order_of_the_rfc() {
        use Verdict::{Failed, NotModified, Proceed};
        for (asked, wanted) in [
            (&[] as &[_], Proceed),
            (&[("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "\"b\", \"a\"")], NotModified),
            (&[("if-none-match", "\"b\",,\t\"a\"")], NotModified),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "\"x,y\", \"a\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"b\"")], Proceed),
            (&[("if-none-match", "\"A\"")], Proceed),
            (&[("if-none-match", "a")], Proceed),
            (&[("if-none-match", "\"a")], Proceed),
            (&[("if-none-match", "")], Proceed),
            (&[("if-modified-since", THEN)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
            (&[("if-modified-since", "Sun Nov  6 08:49:37 1994")], NotModified),
            (&[("if-modified-since", "yesterday")], Proceed),
            (&[("if-modified-since", "784111777")], Proceed),
            (&[("if-modified-since", THEN), ("if-modified-since", THEN)], Proceed),
            // 13.1.3: ignored beside If-None-Match.
            (&[("if-modified-since", THEN), ("if-none-match", "\"b\"")], Proceed),
            (&[("if-modified-since", BEFORE), ("if-none-match", "\"a\"")], NotModified),
            (&[("if-match", "\"a\"")], Proceed),
            (&[("if-match", "\"b\", \"a\"")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "\"b\"")], Failed),
            (&[("if-match", "W/\"a\"")], Failed),
            (&[("if-match", "")], Failed),
            (&[("if-unmodified-since", THEN)], Proceed),
            (&[("if-unmodified-since", AFTER)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", "tomorrow")], Proceed),
            // 13.1.4: ignored beside If-Match.
            (&[("if-unmodified-since", BEFORE), ("if-match", "\"a\"")], Proceed),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Failed),
            (&[("if-match", "\"a\""), ("if-none-match", "\"a\"")], NotModified),
            (&[("if-unmodified-since", THEN), ("if-modified-since", THEN)], NotModified),
        ] {
            assert_eq!(evaluate(&fields(asked), validators("\"a\"")), wanted, "{asked:?}");
        }
    }

    #[test]
    fn a_weak_tag_serves_for_caches_and_for_nothing_else() {
        let weak = validators("W/\"a\"");
        assert_eq!(evaluate(&fields(&[("if-none-match", "\"a\"")]), weak), Verdict::NotModified);
        assert_eq!(evaluate(&fields(&[("if-match", "W/\"a\"")]), weak), Verdict::Failed);
        for value in ["W/\"a\"", "\"a\""] {
            assert!(!if_range_holds(&fields(&[("if-range", value)]), weak, at(2_000_000_000)), "{value}");
        }
    }

    #[test]
    fn without_validators_nothing_matches_but_everything() {
        let none = Validators::default();
        for (asked, wanted) in [
            (("if-match", "\"a\""), Verdict::Failed),
            (("if-match", "*"), Verdict::Proceed),
            (("if-none-match", "\"a\""), Verdict::Proceed),
            (("if-modified-since", AFTER), Verdict::Proceed),
            (("if-unmodified-since", BEFORE), Verdict::Proceed),
        ] {
            assert_eq!(evaluate(&fields(&[asked]), none), wanted, "{asked:?}");
        }
    }

    #[test]
    fn a_range_depends_on_just_what_there_is() {
        for (value, wanted) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("\"a\", \"b\"", false),
            ("a", false),
            ("", false),
            (THEN, true),
            ("Sunday, 06-Nov-94 08:49:37 GMT", true),
            (BEFORE, false),
            (AFTER, false),
            ("nonsense", false),
        ] {
            let asked = fields(&[("if-range", value)]);
            assert_eq!(if_range_holds(&asked, validators("\"a\""), at(WRITTEN + 100)), wanted, "{value}");
        }
        let dated = fields(&[("if-range", THEN)]);
        assert!(!if_range_holds(&dated, validators("\"a\""), at(WRITTEN)), "it may change within the second");
        assert!(if_range_holds(&dated, validators("\"a\""), at(WRITTEN + 1)));
        assert!(!if_range_holds(&dated, Validators::default(), at(WRITTEN + 100)));
        assert!(if_range_holds(&fields(&[]), Validators::default(), at(0)), "there is none");
    }

    #[test]
    fn tags_are_what_the_grammar_says() {
        for (text, is_tag) in [
            ("\"\"", true),
            ("\"a\"", true),
            (" \"a\" ", true),
            ("W/\"a\"", true),
            ("w/\"a\"", false),
            ("\"a b\"", false),
            ("\"\u{e9}\"", true),
            ("\"a\"b", false),
            ("\"a\"\"", false),
            ("\"", false),
            ("W/", false),
            ("", false),
        ] {
            assert_eq!(Tag::parse(text.as_bytes()).is_some(), is_tag, "{text}");
        }
    }
}
