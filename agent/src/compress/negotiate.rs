//! From `Accept-Encoding` to a content coding (RFC 9110, 12.5.3).

use super::Encoding;

/// A weight in thousandths: "A value of 0 means 'not acceptable'" (RFC 9110, 12.4.2).
type Weight = u16;

/// What a client says of the codings that matter here. `None`: not mentioned.
#[derive(Debug, Default)]
struct Accepted {
    encodings: [Option<Weight>; Encoding::ALL.len()],
    identity: Option<Weight>,
    /// Of `*`, which "matches any available content coding not explicitly listed".
    others: Option<Weight>,
}

/// The coding of `offered` that the client likes best, the first of equals. `None`: it gets the response as it is,
/// because it takes no other form or likes that one better. `fields`: the values of `Accept-Encoding`.
///
/// A client that takes none of what there is, not even the response as it is, gets it as it is: "the origin server
/// SHOULD send a response without any content coding".
pub(super) fn negotiate<'a>(fields: impl Iterator<Item = &'a str>, offered: &[Encoding]) -> Option<Encoding> {
    let accepted = Accepted::parse(fields);
    let mut best = None;
    // Unmentioned, the plain response is what is sent when nothing better is taken.
    let mut weight = accepted.identity.or(accepted.others).unwrap_or(0).max(1);
    for &encoding in offered {
        let wanted = accepted.of(encoding);
        if wanted > weight || (wanted == weight && best.is_none()) {
            (best, weight) = (Some(encoding), wanted);
        }
    }
    best
}

impl Accepted {
    fn parse<'a>(fields: impl Iterator<Item = &'a str>) -> Self {
        let mut accepted = Self::default();
        for (coding, weight) in fields.flat_map(|field| field.split(',')).filter_map(member) {
            let place = match coding {
                "*" => &mut accepted.others,
                _ if coding.eq_ignore_ascii_case("identity") => &mut accepted.identity,
                _ => match Encoding::of_token(coding) {
                    Some(encoding) => &mut accepted.encodings[encoding as usize],
                    None => continue,
                },
            };
            *place = Some(weight);
        }
        accepted
    }

    fn of(&self, encoding: Encoding) -> Weight {
        self.encodings[encoding as usize].or(self.others).unwrap_or(0)
    }
}

/// `codings [ weight ]`; `None` for what is empty or can not be read, which then says nothing.
fn member(text: &str) -> Option<(&str, Weight)> {
    let (coding, parameters) = text.split_once(';').map_or((text, None), |(c, p)| (c, Some(p)));
    let coding = coding.trim();
    let weight = match parameters {
        None => 1000,
        Some(parameter) => {
            let (name, value) = parameter.trim().split_once('=')?;
            name.eq_ignore_ascii_case("q").then(|| qvalue(value))??
        }
    };
    (!coding.is_empty()).then_some((coding, weight))
}

/// `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )` (RFC 9110, 12.4.2).
fn qvalue(text: &str) -> Option<Weight> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" => (thousandths == 0).then_some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoding::*, *};

    #[test]
    fn the_best_that_both_sides_take() {
        let all = &[Zstd, Brotli, Gzip][..];
        let gzip = &[Gzip][..];
        for (fields, offered, chosen) in [
            // Nothing said: "any content coding is considered acceptable", but who does not ask rarely decodes.
            (&[] as &[&str], all, None),
            (&[""], all, None),
            (&["gzip"], all, Some(Gzip)),
            (&["GZip"], all, Some(Gzip)),
            (&["x-gzip"], all, Some(Gzip)),
            (&["gzip, deflate, br, zstd"], all, Some(Zstd)), // equals: the order of the offer
            (&["gzip, deflate, br, zstd"], &[Gzip, Brotli], Some(Gzip)),
            (&["gzip, deflate, br"], all, Some(Brotli)),
            (&["gzip", "br"], all, Some(Brotli)), // two fields
            (&["gzip;q=1.0, br;q=0.9, zstd;q=0.899"], all, Some(Gzip)),
            (&["gzip ; q=0.001"], all, Some(Gzip)),
            (&["gzip;Q=0.5"], all, Some(Gzip)),
            (&["gzip;q=0"], all, None),
            (&["gzip;q=0.000"], all, None),
            (&["gzip;q=0, br"], all, Some(Brotli)),
            (&["*"], all, Some(Zstd)),
            (&["*"], gzip, Some(Gzip)),
            (&["*;q=0"], all, None),
            (&["zstd;q=0, *"], all, Some(Brotli)),
            (&["gzip;q=0.5, *;q=0.1"], all, Some(Gzip)),
            (&["*;q=0.5, gzip;q=0"], gzip, None),
            (&["deflate"], all, None),
            (&["identity"], all, None),
            (&["identity, gzip"], all, Some(Gzip)), // equals: what saves bytes
            (&["identity, gzip;q=0.5"], all, None),
            (&["identity;q=0.5, gzip;q=0.4, br;q=0.6"], all, Some(Brotli)),
            (&["*, gzip;q=0.5"], gzip, None), // `*` speaks for identity too
            (&["identity;q=0"], gzip, None),  // neither is taken
            (&["identity;q=0, gzip;q=0.1"], gzip, Some(Gzip)),
            (&["identity;q=0, *;q=0"], gzip, None),
            (&["gzip, gzip;q=0"], gzip, None), // the last word
        ] {
            assert_eq!(negotiate(fields.iter().copied(), offered), chosen, "{fields:?} of {offered:?}");
        }
    }

    #[test]
    fn what_can_not_be_read_says_nothing() {
        for field in [
            "gzip;q=",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=-1",
            "gzip;q=+1",
            "gzip;q=0x1",
            "gzip;q=.5",
            "gzip;level=9",
            "gzip;",
            ";q=1",
            "gzip;q=1;q=0",
            "gzip q=1",
            ",,,",
            "*;*",
        ] {
            assert_eq!(negotiate([field].into_iter(), &Encoding::ALL), None, "{field}");
            assert_eq!(negotiate([field, "br"].into_iter(), &Encoding::ALL), Some(Brotli), "{field}, br");
        }
    }
}
