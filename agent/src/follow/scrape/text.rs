//! Prometheus' text format, of which only samples are of interest. No I/O; never fails on what it reads.
//!
//! Source: Prometheus, "Exposition formats", text format 0.0.4. What OpenMetrics adds (exemplars, `# EOF`) is skipped.

use std::borrow::Cow;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    pub name: &'a str,
    /// Name and labels as they are on the page: what tells the sample's series from others.
    pub series: &'a str,
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// Finite.
    pub value: f64,
}

impl Sample<'_> {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_ref())
    }
}

/// The samples of a page whose names are `wanted`. Lines that are none are passed over.
pub fn samples<'a>(page: &'a str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Sample<'a>> {
    page.lines().filter_map(move |line| {
        let line = line.trim_start_matches([' ', '\t']);
        let (name, rest) = line.split_at(name_len(line));
        if name.is_empty() || !wanted(name) { None } else { sample(line, name, rest) }
    })
}

fn name_len(line: &str) -> usize {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    line.bytes().take_while(|byte| of_name(*byte)).count()
}

fn sample<'a>(line: &'a str, name: &'a str, rest: &'a str) -> Option<Sample<'a>> {
    let mut labels = Vec::new();
    let after = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest, &mut labels)?,
        None => rest,
    };
    let series = &line[..line.len() - after.len()];
    // What follows the value is a time stamp or an exemplar.
    let value: f64 = after.strip_prefix([' ', '\t'])?.split_ascii_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some(Sample { name, series, labels, value })
}

/// Reads labels up to the closing brace, and gives what follows it.
fn read_labels<'a>(mut rest: &'a str, labels: &mut Vec<(&'a str, Cow<'a, str>)>) -> Option<&'a str> {
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (name, quoted) = rest.split_once('=')?;
        let quoted = quoted.trim_start().strip_prefix('"')?;
        let end = value_end(quoted)?;
        labels.push((name.trim_end(), unescaped(&quoted[..end])));
        rest = &quoted[end + 1..];
    }
}

/// Where the closing quote is.
fn value_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// `\\`, `\"` and `\n`.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(quoted @ ('\\' | '"'))) => out.push(quoted),
            (c, _) => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Option<Sample<'_>> {
        samples(line, |_| true).next()
    }

    #[test]
    fn samples_are_read() {
        for (line, series, labels, value) in [
            ("a 1", "a", &[][..], 1.0),
            ("a_total{} 1.5e3 1700000000000", "a_total{}", &[], 1500.0),
            (r#"a{b="c"}	2"#, r#"a{b="c"}"#, &[("b", "c")], 2.0),
            (r#"a{b="c",d="e",} 2"#, r#"a{b="c",d="e",}"#, &[("b", "c"), ("d", "e")], 2.0),
            (r#"a{ b = "c" , d="e"} 2"#, r#"a{ b = "c" , d="e"}"#, &[("b", "c"), ("d", "e")], 2.0),
            (
                r#"a{p="/x\"y\\z\n}",q=""} 0"#,
                r#"a{p="/x\"y\\z\n}",q=""}"#,
                &[("p", "/x\"y\\z\n}"), ("q", "")],
                0.0,
            ),
            (r#"a_bucket{le="+Inf"} 7 # {trace="x"} 0.3"#, r#"a_bucket{le="+Inf"}"#, &[("le", "+Inf")], 7.0),
        ] {
            let read = one(line).expect(line);
            let told: Vec<_> = read.labels.iter().map(|(name, value)| (*name, value.as_ref())).collect();
            assert_eq!((read.series, &*told, read.value), (series, labels, value), "{line}");
        }
    }

    #[test]
    fn what_is_no_sample_is_passed_over() {
        for line in [
            "",
            "# HELP a b",
            "# TYPE a counter",
            "# EOF",
            "a",
            "a ",
            "a x",
            "a{",
            "a{b",
            "a{b=",
            "a{b=\"",
            "a{b=\"c\"",
            "a{b=c} 1",
            "a{b=\"c\"}1",
            "a NaN",
            "a +Inf",
            "{b=\"c\"} 1",
            "é 1",
            "<html>",
        ] {
            assert_eq!(one(line), None, "{line}");
        }
        assert_eq!(samples("a 1\nb 2\na{c=\"d\"} 3", |name| name == "a").count(), 2);
    }

    #[test]
    fn nothing_that_is_read_can_harm() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let alphabet: Vec<char> = "ab_{}=\",\\n 1.e+-#é\n\u{0}".chars().collect();
        for _ in 0..50_000 {
            let page: String = (0..rng.usize(..40)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
            for sample in samples(&page, |_| true) {
                assert!(sample.value.is_finite() && page.contains(sample.series), "{page:?}");
            }
        }
    }
}
