use std::{fmt, str::FromStr, time::Duration};

/// A length of time as people write it: `500ms`, `1s`, `2m`, `1m 30s`.
///
/// A bare number is refused (seconds or milliseconds?), and so is more than [`Span::LONGEST`]. Zero is a `Span`:
/// whether it means anything is for the option to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

impl Span {
    /// No setting means more than a year, and `Instant + Duration` panics when the sum can not be represented.
    pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    #[error("{given:?} is not a time ({why}): write a number with its unit, as in 500ms, 1s, 2m, 1h")]
    Nonsense { given: String, why: String },
    #[error("{0:?} is too long a time: at most 366 days")]
    TooLong(String),
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let duration = humantime::parse_duration(text.trim()).map_err(|error| SpanError::Nonsense {
            given: text.to_owned(),
            why: reason(&error).to_owned(),
        })?;
        if duration > Self::LONGEST {
            return Err(SpanError::TooLong(text.to_owned()));
        }
        Ok(Self(duration))
    }
}

/// Shorter than humantime's own words, which list units that no setting wants (weeks, years).
fn reason(error: &humantime::DurationError) -> &'static str {
    use humantime::DurationError as E;
    match error {
        E::Empty => "nothing is written",
        E::NumberExpected(_) | E::InvalidCharacter(_) => "it does not read as numbers and units",
        E::UnknownUnit { unit, .. } if unit.is_empty() => "a unit is missing",
        E::UnknownUnit { .. } => "no such unit",
        E::NumberOverflow => "the number can not be represented",
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

crate::serde_as_text!(Span, "a time such as \"500ms\", \"1s\" or \"2m\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write_and_prints_it_back() {
        for (text, millis, printed) in [
            ("1s", 1000, "1s"),
            ("500ms", 500, "500ms"),
            ("2m", 120_000, "2m"),
            (" 1m 30s ", 90_000, "1m 30s"),
            ("1h", 3_600_000, "1h"),
            ("90s", 90_000, "1m 30s"),
            ("0s", 0, "0s"),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span, Span::from_millis(millis), "{text}");
            assert_eq!(span.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(span), "{printed} reads back");
        }
    }

    #[test]
    fn refuses_nonsense_and_says_what_is_accepted() {
        for text in ["", "5", "s", "-1s", "fast", "1 parsec", "99999999999999999999s", "NaN s"] {
            let message = text.parse::<Span>().expect_err(text).to_string();
            assert!(message.contains("500ms, 1s, 2m"), "{text}: {message}");
            assert!(message.contains(&format!("{text:?}")), "{text}: {message}");
        }
    }

    #[test]
    fn a_year_is_the_longest() {
        assert_eq!("366d".parse::<Span>().map(Span::duration), Ok(Span::LONGEST));
        assert_eq!("366d 1ns".parse::<Span>(), Err(SpanError::TooLong("366d 1ns".into())));
    }
}
