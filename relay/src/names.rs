//! Sets of field names that are looked for in a message all at once.
//!
//! A look-up in a [`HeaderMap`] hashes the name byte by byte, some hundred instructions whether it is there or not, and
//! most of what a proxy looks for is not. Here each field that is there is asked once whether it can be one of the set: a
//! Bloom filter of 64 bits with a single hash of three bytes, so that names are hardly ever compared in vain.

use http::{HeaderMap, HeaderName};

/// Up to 32 names in lower case, made by [`field_names!`](crate::field_names).
pub struct Names<const N: usize> {
    names: [HeaderName; N],
    filter: u64,
}

/// Which names of a set a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present(u32);

/// A set of the names that are given, in lower case.
#[macro_export]
macro_rules! field_names {
    ($($name:literal),+ $(,)?) => {
        $crate::names::Names::new(
            [$(::http::HeaderName::from_static($name)),+],
            0 $(| $crate::names::filter_bit($name))+,
        )
    };
}

impl<const N: usize> Names<N> {
    /// `filter`: the [`filter_bit`]s of all names.
    #[doc(hidden)] // for the macro
    pub const fn new(names: [HeaderName; N], filter: u64) -> Self {
        assert!(N <= u32::BITS as usize, "there is a bit for each");
        Self { names, filter }
    }

    pub fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        self.names.iter()
    }

    pub fn contains(&self, name: &HeaderName) -> bool {
        self.position(name).is_some()
    }

    /// Those that `headers` has.
    pub fn within(&self, headers: &HeaderMap) -> Present {
        let bits = headers.keys().filter_map(|name| self.position(name)).map(|position| 1 << position);
        Present(bits.fold(0, |all, bit| all | bit))
    }

    pub fn is_any_in(&self, headers: &HeaderMap) -> bool {
        headers.keys().any(|name| self.contains(name))
    }

    /// Takes all of them out of `headers`.
    pub fn remove_from(&self, headers: &mut HeaderMap) {
        self.remove(self.within(headers), headers);
    }

    /// Takes out those that are `present`.
    pub fn remove(&self, present: Present, headers: &mut HeaderMap) {
        for (position, name) in self.names.iter().enumerate() {
            if present.has(position) {
                headers.remove(name);
            }
        }
    }

    fn position(&self, name: &HeaderName) -> Option<usize> {
        if self.filter & filter_bit(name.as_str()) == 0 {
            return None;
        }
        self.names.iter().position(|known| known == name)
    }
}

impl Present {
    pub const NONE: Self = Self(0);

    /// `position`: the name's in the set.
    pub fn has(self, position: usize) -> bool {
        self.0 >> position & 1 == 1
    }
}

/// The bit of a name in a set's filter: of its length, its first byte and its last.
#[doc(hidden)] // for the macro
pub const fn filter_bit(name: &str) -> u64 {
    let name = name.as_bytes();
    let [first, .., last] = name else { return 1 };
    1 << ((name.len() * 5 + *first as usize + *last as usize * 3) % 64)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    static NAMES: Names<4> = field_names!["connection", "te", "x", "x-sluice-class"];

    fn fields(names: &[&'static str]) -> HeaderMap {
        let field = |name: &&'static str| (HeaderName::from_static(name), HeaderValue::from_static("1"));
        names.iter().map(field).collect()
    }

    #[test]
    fn names_are_found_and_taken_out_and_others_are_not() {
        for (there, found, left) in [
            (&[][..], [false; 4], &[][..]),
            (
                &["host", "accept", "x-sluice-clasp", "xe"],
                [false; 4],
                &["host", "accept", "x-sluice-clasp", "xe"],
            ),
            (&["host", "te"], [false, true, false, false], &["host"]),
            (&["x-sluice-class", "connection", "x", "te"], [true; 4], &[]),
        ] {
            let mut headers = fields(there);
            headers.extend(fields(there));
            let present = NAMES.within(&headers);
            assert_eq!([0, 1, 2, 3].map(|position| present.has(position)), found, "{there:?}");
            assert_eq!(NAMES.is_any_in(&headers), present != Present::NONE, "{there:?}");
            NAMES.remove_from(&mut headers);
            assert_eq!(headers, fields(left), "{there:?}");
        }
    }

    #[test]
    fn a_field_that_is_there_several_times_is_taken_out_whole() {
        let mut headers = fields(&["te"]);
        headers.append("te", HeaderValue::from_static("2"));
        NAMES.remove_from(&mut headers);
        assert!(headers.is_empty());
    }
}
