//! `traceparent`, as version 00 of the standard has it (w3.org/TR/trace-context, 3.2).

use http::HeaderValue;

use crate::text::{self, Text};

/// Who asked, and in which trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// Never zero.
    pub trace: u128,
    /// The span that asks. Never zero.
    pub span: u64,
    flags: u8,
}

/// Whoever asked records its part.
const SAMPLED: u8 = 0x01;
/// The trace id is random: level 2 of the standard has it passed on.
const RANDOM: u8 = 0x02;

/// Of version 00, in bytes.
const LENGTH: usize = 55;

impl TraceParent {
    /// A new trace.
    pub fn fresh(rng: &mut fastrand::Rng) -> Self {
        Self { trace: rng.u128(1..), span: rng.u64(1..), flags: 0 }
    }

    /// Reads a field's value. `None` if it is to be ignored: ids that are all zero, capital letters, version `ff`.
    /// A later version may carry more behind the flags.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (fields, more) = value.split_first_chunk::<LENGTH>()?;
        let apart =
            [2, 35, 52].iter().all(|at| fields[*at] == b'-') && more.first().is_none_or(|b| *b == b'-');
        let [version, flags] = [hex(&fields[..2])?, hex(&fields[53..])?];
        let trace = u128::from(hex(&fields[3..19])?) << 64 | u128::from(hex(&fields[19..35])?);
        let span = hex(&fields[36..52])?;
        let is_known = version != 0xff && (version != 0 || more.is_empty());
        (apart && is_known && trace != 0 && span != 0).then_some(Self { trace, span, flags: flags as u8 })
    }

    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    #[must_use]
    pub fn sampled(self) -> Self {
        Self { flags: self.flags | SAMPLED, ..self }
    }

    /// The same trace, asked by another span.
    #[must_use]
    pub fn with_span(self, span: u64) -> Self {
        Self { span, ..self }
    }

    /// In version 00: "vendors MUST set unknown flags to zero".
    pub fn header(self) -> HeaderValue {
        let flags = self.flags & (SAMPLED | RANDOM);
        let mut text = Text::<55>::new();
        text.push(b"00-").push(&text::hex::<32>(self.trace));
        text.push(b"-").push(&text::hex::<16>(self.span.into()));
        text.push(b"-").push(&text::hex::<2>(flags.into())).header()
    }
}

/// A number of up to 16 lower-case hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u64> {
    let (value, all) = digits.iter().fold((0, 0), |(value, all), digit| {
        let digit = DIGITS[usize::from(*digit)];
        (value << 4 | u64::from(digit), all | digit)
    });
    // Only what is none has a bit above the four of a digit.
    (all < 16).then_some(value)
}

/// The value of each byte as a digit; 16: it is none.
static DIGITS: [u8; 256] = {
    let mut digits = [16; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn it_is_read_as_the_standard_says() {
        let zeros = |n| "0".repeat(n);
        for (case, value, expected) in [
            ("valid", VALID.to_owned(), true),
            ("not sampled", VALID.replace("-01", "-00"), true),
            ("flags of a later level", VALID.replace("-01", "-ff"), true),
            ("later version", VALID.replace("00-4", "01-4"), true),
            ("later version with more", format!("cc{}-extra", &VALID[2..]), true),
            ("later version, flags run on", format!("cc{}extra", &VALID[2..]), false),
            ("version 00 with more", format!("{VALID}-extra"), false),
            ("version 00 and a dash", format!("{VALID}-"), false),
            ("version ff", format!("ff{}", &VALID[2..]), false),
            ("upper case", VALID.to_uppercase(), false),
            ("not hexadecimal", VALID.replace("4bf9", "4bg9"), false),
            ("zero trace id", format!("00-{}-00f067aa0ba902b7-01", zeros(32)), false),
            ("zero span id", format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", zeros(16)), false),
            ("long trace id", VALID.replace("00-4", "00-04"), false),
            ("short", "00-4bf9-00f0-01".to_owned(), false),
            ("no flags", VALID[..52].to_owned(), false),
            ("blanks", VALID.replace('-', " "), false),
            ("empty", String::new(), false),
        ] {
            assert_eq!(TraceParent::parse(value.as_bytes()).is_some(), expected, "{case}: {value}");
        }
    }

    #[test]
    fn it_is_written_as_it_was_read_but_for_what_is_unknown() {
        let parsed = TraceParent::parse(VALID.as_bytes()).expect("valid");
        assert_eq!((parsed.header(), parsed.is_sampled()), (HeaderValue::from_static(VALID), true));
        let other = TraceParent::parse(VALID.replace("-01", "-fe").as_bytes()).expect("valid");
        assert!(!other.is_sampled());
        assert!(other.header().to_str().expect("ASCII").ends_with("-02"));
        assert_eq!(
            other.sampled().with_span(1).header(),
            VALID.replace("00f067aa0ba902b7-01", "0000000000000001-03")
        );
    }
}
