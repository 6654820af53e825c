use std::{fmt, str::FromStr};

/// A number of bytes as people write it: `65536`, `64KiB`, `1MiB`, `2GiB`.
///
/// Units of 1024 only. `MB` is refused and not guessed at: half of its readers think 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Largest first: the first that divides a size prints it.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl ByteSize {
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// For buffers in memory; more than the address space is as good as all of it.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size: write whole bytes, or whole KiB, MiB, GiB or TiB, as in 65536, 64KiB, 1MiB")]
pub struct ByteSizeError(String);

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let trimmed = text.trim();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, factor)| Some((strip_unit(trimmed, name)?, *factor)))
            .unwrap_or((trimmed, 1));
        // `u64::from_str` takes a leading `+`, which no size has.
        Some(number)
            .filter(|number| number.starts_with(|first: char| first.is_ascii_digit()))
            .and_then(|number| number.parse::<u64>().ok()?.checked_mul(unit))
            .map(Self)
            .ok_or_else(|| ByteSizeError(text.to_owned()))
    }
}

/// `text` without `unit` at its end, in any case, and without the space between the two.
fn strip_unit<'a>(text: &'a str, unit: &str) -> Option<&'a str> {
    let (number, end) = text.split_at_checked(text.len().checked_sub(unit.len())?)?;
    end.eq_ignore_ascii_case(unit).then_some(number.trim_end())
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor)) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

crate::serde_as_text!(ByteSize, "a size such as 65536, \"64KiB\" or \"1MiB\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write_and_prints_it_back() {
        for (text, bytes, printed) in [
            ("0", 0, "0"),
            ("1000", 1000, "1000"),
            ("1024", 1024, "1KiB"),
            ("64KiB", 65_536, "64KiB"),
            ("64 kib", 65_536, "64KiB"),
            (" 1MiB", 1_048_576, "1MiB"),
            ("1536KiB", 1_572_864, "1536KiB"),
            ("2GiB", 2_147_483_648, "2GiB"),
            ("1TiB", 1_099_511_627_776, "1TiB"),
            ("18446744073709551615", u64::MAX, "18446744073709551615"),
        ] {
            let size: ByteSize = text.parse().expect(text);
            assert_eq!(size, ByteSize::bytes(bytes), "{text}");
            assert_eq!(size.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(size), "{printed} reads back");
        }
    }

    #[test]
    fn refuses_nonsense_and_says_what_is_accepted() {
        for text in [
            "",
            "KiB",
            "-1",
            "+1",
            "1.5MiB",
            "1MB",
            "1M",
            "64k",
            "one",
            "1é",
            "18446744073709551616",
            "18014398509481984KiB", // 2^54 * 2^10 = 2^64
        ] {
            let message = text.parse::<ByteSize>().expect_err(text).to_string();
            assert!(message.contains("65536, 64KiB, 1MiB"), "{text}: {message}");
        }
    }
}
