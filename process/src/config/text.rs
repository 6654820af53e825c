//! Values that people write as text: one parser serves flag, environment and file.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

/// Implements serde's traits for a type that has `FromStr` and `Display`, so that its TOML value reads as its flag.
/// A bare number in the file is read as its text.
///
/// ```
/// # use std::{fmt, str::FromStr};
/// # struct Workers(u32);
/// # impl FromStr for Workers { type Err = std::num::ParseIntError; fn from_str(s: &str) -> Result<Self, Self::Err> { s.parse().map(Self) } }
/// # impl fmt::Display for Workers { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) } }
/// sluice_process::serde_as_text!(Workers, "a number of workers");
/// ```
#[macro_export]
macro_rules! serde_as_text {
    ($type:ty, $expected:expr) => {
        impl $crate::__serde::Serialize for $type {
            fn serialize<S: $crate::__serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> $crate::__serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::__serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::config::text::parse(from, $expected)
            }
        }
    };
}

/// What [`serde_as_text!`](crate::serde_as_text) expands to.
#[doc(hidden)]
pub fn parse<'de, T, D>(from: D, expected: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(&'static str, PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }

    from.deserialize_any(Text(expected, PhantomData))
}

/// `#[serde(deserialize_with = "one_or_many")]`: the key of a flag that may be repeated takes one value or a list.
///
/// A visitor and not an untagged enum, which would replace every message by "did not match any variant".
pub fn one_or_many<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_any(OneOrMany(PhantomData))
}

struct OneOrMany<T>(PhantomData<T>);

fn one<'de, T: Deserialize<'de>, E: Error>(value: impl IntoDeserializer<'de, E>) -> Result<Vec<T>, E> {
    T::deserialize(value.into_deserializer()).map(|value| vec![value])
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a list")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        one(text)
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<T>, E> {
        one(number)
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Vec<T>, E> {
        one(number)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Vec<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(table)).map(|value| vec![value])
    }
}
