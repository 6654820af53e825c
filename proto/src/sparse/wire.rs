//! Both forms of a sketch in JSON: an object, which every reader of schema 1 takes; and text, for those that said so.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{SketchError, SparseSketch};
use crate::sketch::{BINS, Exact};

/// The object.
#[derive(Serialize, Deserialize)]
struct Object<Pairs> {
    /// Values that are 0. Missing: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    zeros: u64,
    /// Of all values.
    #[serde(default)]
    sum: u64,
    /// The smallest value.
    #[serde(default)]
    min: u64,
    /// The largest value.
    #[serde(default)]
    max: u64,
    /// `[n, count]`: bin `n` has the values up to 1.0202^n that are above those of the bin before.
    #[serde(default)]
    bins: Pairs,
}

/// Most sketches have no zeros, and a report has many sketches.
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Serialize for SparseSketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Exact { zeros, sum, min, max, .. } = self.exact;
        Object { zeros, sum, min, max, bins: &self.bins }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SparseSketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = SparseSketch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sketch")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SparseSketch, A::Error> {
                let object = Object::<Bins>::deserialize(MapAccessDeserializer::new(map))?;
                object.try_into().map_err(A::Error::custom)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SparseSketch, E> {
                read(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// As they come: in any order, some of them twice or empty.
#[derive(Default)]
struct Bins {
    pairs: Vec<(u16, u64)>,
    /// A number that no bin has. Told of the sketch as a whole, as all that does not fit in it.
    beyond: Option<u32>,
}

impl<'de> Deserialize<'de> for Bins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Bins;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of bins")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bins, A::Error> {
                let mut bins = Bins::default();
                while let Some((bin, n)) = list.next_element::<(u32, u64)>()? {
                    bins.push(bin, n);
                }
                Ok(bins)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl Bins {
    fn push(&mut self, bin: u32, n: u64) {
        match u16::try_from(bin) {
            Ok(known) if usize::from(known) < BINS => self.pairs.push((known, n)),
            _ => self.beyond = Some(bin),
        }
    }

    /// In rising order, each once, and none of them empty.
    fn sorted(mut self) -> Result<Vec<(u16, u64)>, SketchError> {
        let in_order = self.pairs.is_sorted_by(|a, b| a.0 < b.0) && self.pairs.iter().all(|(_, n)| *n > 0);
        if in_order {
            return Ok(self.pairs);
        }
        self.pairs.sort_unstable();
        let mut sorted: Vec<(u16, u64)> = Vec::with_capacity(self.pairs.len());
        for (bin, n) in self.pairs.into_iter().filter(|(_, n)| *n > 0) {
            match sorted.last_mut() {
                Some((last, sum)) if *last == bin => {
                    *sum = sum.checked_add(n).ok_or(SketchError::Overflow)?
                }
                _ => sorted.push((bin, n)),
            }
        }
        Ok(sorted)
    }
}

impl TryFrom<Object<Bins>> for SparseSketch {
    type Error = SketchError;

    fn try_from(object: Object<Bins>) -> Result<Self, SketchError> {
        let Object { zeros, sum, min, max, bins } = object;
        if let Some(bin) = bins.beyond {
            return Err(SketchError::Bin(bin.into()));
        }
        Self::new(Exact { zeros, sum, min, max, count: 0 }, bins.sorted()?)
    }
}

/// The sketch as text: a third of the object's length, and one value to the reader of JSON instead of dozens.
///
/// `zeros sum min max`, then `step count` for each bin that holds something in rising order: how far it is from the one
/// before, the first from bin 0.
pub(crate) struct Compact<'a>(pub(crate) &'a SparseSketch);

impl fmt::Display for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exact { zeros, sum, min, max, .. } = self.0.exact;
        write!(f, "{zeros} {sum} {min} {max}")?;
        let mut last = 0;
        for (bin, n) in &self.0.bins {
            write!(f, " {} {n}", bin - last)?;
            last = *bin;
        }
        Ok(())
    }
}

impl Serialize for Compact<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn read(text: &str) -> Result<SparseSketch, SketchError> {
    let mut numbers = Numbers(text.as_bytes());
    let mut figure = || numbers.next().ok_or(SketchError::Text);
    let exact = Exact { zeros: figure()?, sum: figure()?, min: figure()?, max: figure()?, count: 0 };
    let mut bins = Vec::with_capacity(numbers.left() / 2);
    let mut bin = 0_u64;
    while !numbers.0.is_empty() {
        let step = numbers.next().ok_or(SketchError::Text)?;
        let n = numbers.next().filter(|n| *n > 0).ok_or(SketchError::Text)?;
        // The first may be bin 0.
        if step == 0 && !bins.is_empty() {
            return Err(SketchError::Text);
        }
        bin = bin.saturating_add(step);
        let known = u16::try_from(bin).ok().filter(|bin| usize::from(*bin) < BINS);
        bins.push((known.ok_or(SketchError::Bin(bin))?, n));
    }
    SparseSketch::new(exact, bins)
}

/// Whole numbers, one space apart. Ends early at what is none.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn left(&self) -> usize {
        self.0.iter().filter(|byte| **byte == b' ').count() + 1
    }

    fn next(&mut self) -> Option<u64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at_checked(digits).filter(|(number, _)| !number.is_empty())?;
        self.0 = match rest {
            [] => rest,
            // Something must come behind a space.
            [b' ', after @ ..] if !after.is_empty() => after,
            _ => return None,
        };
        number.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sketch;

    fn sketch_of(values: &[u64]) -> SparseSketch {
        let mut sketch = Sketch::new();
        values.iter().for_each(|value| sketch.add(*value));
        sketch.into()
    }

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).expect("a sketch is plain data")
    }

    #[test]
    fn both_forms_keep_everything() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let many: Vec<u64> = (0..500).map(|_| rng.u64(..) >> rng.u32(..64)).collect();
        for values in [&[][..], &[0], &[0, 0, 7], &[1], &[u64::MAX, 1], &many] {
            let sketch = sketch_of(values);
            for text in [json(&sketch), json(&Compact(&sketch))] {
                assert_eq!(serde_json::from_str::<SparseSketch>(&text).expect(&text), sketch, "{text}");
            }
        }
        let few = sketch_of(&[15_000, 15_001, 21_000]);
        assert_eq!(
            json(&few),
            r#"{"sum":51001,"min":15000,"max":21000,"bins":[[481,2],[498,1]]}"#,
            "as it has been since the first version"
        );
        assert_eq!(json(&Compact(&few)), r#""0 51001 15000 21000 481 2 17 1""#);
    }

    #[test]
    fn bins_may_come_in_any_order() {
        let text = r#"{"bins":[[498,1],[481,1],[490,0],[481,1]],"min":15000,"max":21000,"sum":51001}"#;
        let sketch: SparseSketch = serde_json::from_str(text).expect("a sketch");
        assert_eq!(sketch, sketch_of(&[15_000, 15_001, 21_000]));
        assert_eq!((sketch.count(), sketch.max()), (3, Some(21_000)));
    }

    #[test]
    fn impossible_sketches_are_refused() {
        for (case, text) in [
            ("bin out of range", r#"{"bins":[[9999,1]],"min":1,"max":1,"sum":1}"#),
            ("bin far out of range", r#"{"bins":[[65536,1]],"min":1,"max":1,"sum":1}"#),
            ("overflow", r#"{"zeros":18446744073709551615,"bins":[[0,1]],"min":0,"max":1,"sum":1}"#),
            ("overflow of a bin", r#"{"bins":[[0,1],[0,18446744073709551615]],"min":1,"max":1,"sum":1}"#),
            ("max above its bin", r#"{"bins":[[0,1]],"min":1,"max":1000,"sum":1}"#),
            ("min of nothing", r#"{"min":5,"max":5}"#),
            ("sum below count * min", r#"{"bins":[[0,10]],"min":1,"max":1,"sum":3}"#),
            ("sum above count * max", r#"{"bins":[[0,1]],"min":1,"max":1,"sum":3}"#),
            ("negative", r#"{"zeros":-1}"#),
            ("not a number", r#"{"zeros":NaN}"#),
            ("no text", r#""""#),
            ("too few figures", r#""0 1 1""#),
            ("a bin without a count", r#""0 1 1 1 0""#),
            ("an empty bin", r#""0 1 1 1 0 1 1 0""#),
            ("a bin twice", r#""0 2 1 1 0 1 0 1""#),
            ("a bin out of range, as text", r#""0 1 1 1 9999 1""#),
            ("steps beyond all numbers", r#""0 1 1 1 1 1 18446744073709551615 1""#),
            ("a count beyond all numbers", r#""0 1 1 1 0 18446744073709551616""#),
            ("counts overflow, as text", r#""18446744073709551615 1 0 1 0 1""#),
            ("max above its bin, as text", r#""0 1 1 1000 0 1""#),
            ("two spaces", r#""0 1 1 1  0 1""#),
            ("a space at the end", r#""0 1 1 1 0 1 ""#),
            ("a sign", r#""0 +1 1 1 0 1""#),
            ("another sign", r#""0 1 1 1 -0 1""#),
            ("neither form", "[0,1,1,1,[[0,1]]]"),
        ] {
            assert!(serde_json::from_str::<SparseSketch>(text).is_err(), "{case}");
        }
        assert!(
            serde_json::from_str::<SparseSketch>(r#""0 1 1 1 0 1""#).is_ok(),
            "or the texts prove nothing"
        );
    }
}
