//! `tracestate` (w3.org/TR/trace-context, 3.3): others' words on a trace, passed on untouched or not at all.

use http::HeaderValue;

/// Most members of a list.
const MEMBERS: usize = 32;

/// Whether the fields, taken together, are a list that may be passed on: keys and values as the grammar has them, no
/// key twice, no more members than allowed.
pub(crate) fn is_valid<'a>(fields: impl Iterator<Item = &'a HeaderValue>) -> bool {
    let mut keys = Vec::new();
    for member in fields.flat_map(|field| field.as_bytes().split(|b| *b == b',')) {
        let member = member.trim_ascii();
        // "Empty list members are allowed".
        if member.is_empty() {
            continue;
        }
        let Some(equals) = member.iter().position(|b| *b == b'=') else { return false };
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS {
            return false;
        }
        keys.push(key);
    }
    true
}

/// A name, or `tenant@system`.
fn is_key(key: &[u8]) -> bool {
    let name = |part: &[u8], most: usize, first: fn(&u8) -> bool| {
        (1..=most).contains(&part.len())
            && first(&part[0])
            && part.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/".contains(b))
    };
    let letter = |b: &u8| b.is_ascii_lowercase();
    let letter_or_digit = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    match key.iter().position(|b| *b == b'@') {
        None => name(key, 256, letter),
        Some(at) => name(&key[..at], 241, letter_or_digit) && name(&key[at + 1..], 14, letter),
    }
}

/// Printable ASCII without `,` and `=`, at most 256 of it.
fn is_value(value: &[u8]) -> bool {
    (1..=256).contains(&value.len()) && value.iter().all(|b| matches!(b, b' '..=b'~') && !b",=".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_checked_as_the_grammar_says() {
        let many = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        let (long, key) = ("v".repeat(256), "k".repeat(256));
        let (tenant, system) = ("t".repeat(241), "s".repeat(14));
        for (case, fields, expected) in [
            ("one", vec!["congo=t61rcWkgMzE".to_owned()], true),
            ("two, blanks around", vec!["rojo=00f067aa0ba902b7 ,\t congo=t61".to_owned()], true),
            ("two fields", vec!["a=1".to_owned(), "b=2".to_owned()], true),
            ("tenant", vec!["0fw529a3039@dt=FfI".to_owned()], true),
            ("empty members", vec![",a=1,,".to_owned()], true),
            ("nothing", vec![String::new()], true),
            ("32 members", vec![many(32)], true),
            ("33 members", vec![many(33)], false),
            ("33 members in two fields", vec![many(32), "x=1".to_owned()], false),
            ("a key twice", vec!["a=1,b=2".to_owned(), "a=3".to_owned()], false),
            ("no equals sign", vec!["a".to_owned()], false),
            ("no value", vec!["a=".to_owned()], false),
            ("no key", vec!["=1".to_owned()], false),
            ("two equals signs", vec!["a=1=2".to_owned()], false),
            ("capital in the key", vec!["A=1".to_owned()], false),
            ("a digit first", vec!["1a=1".to_owned()], false),
            ("blank in the key", vec!["a b=1".to_owned()], false),
            ("a tab in the value", vec!["a=1\t2".to_owned()], false),
            ("no system", vec!["a@=1".to_owned()], false),
            ("two systems", vec!["a@b@c=1".to_owned()], false),
            ("longest", vec![format!("{key}={long}")], true),
            ("longer value", vec![format!("a={long}v")], false),
            ("longer key", vec![format!("{key}k=v")], false),
            ("longest tenant", vec![format!("{tenant}@{system}=v")], true),
            ("longer tenant", vec![format!("t{tenant}@{system}=v")], false),
            ("longer system", vec![format!("{tenant}@{system}s=v")], false),
        ] {
            let fields: Vec<_> = fields.iter().map(|f| HeaderValue::try_from(f).expect("a value")).collect();
            assert_eq!(is_valid(fields.iter()), expected, "{case}");
        }
    }
}
