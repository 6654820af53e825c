//! Small changes of stored inputs, from a seed: what a fuzzer without a look into the program can do.

use fastrand::Rng;

/// Longest input that is made, in bytes.
const LONGEST: usize = 64 * 1024;

/// Bytes that have been somebody's undoing.
const TOKENS: [&[u8]; 40] = [
    b"\0",
    b"\n",
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\"",
    b"\\",
    b"'",
    b"%",
    b"%00",
    b"%2e%2e",
    b"..",
    b"/",
    b"//",
    b"{",
    b"}",
    b"[",
    b"]",
    b"-",
    b"--1",
    b"0",
    b"-0",
    b"1e308",
    b"1e-400",
    b"NaN",
    b"null",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"4294967296",
    b"ffffffffffffffff",
    b"\xff",
    b"\xc3\xa9",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b",",
    b"=",
    b";",
];

/// One input of `corpus`, changed in a few places.
pub fn mutated(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = pick(corpus, rng).clone();
    for _ in 0..1 << rng.u32(0..4) {
        change(&mut bytes, corpus, rng);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn pick<'a>(corpus: &'a [Vec<u8>], rng: &mut Rng) -> &'a Vec<u8> {
    &corpus[rng.usize(..corpus.len())]
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    let end = (at + 1 + rng.usize(..16)).min(bytes.len());
    match rng.u8(..9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        1 if at < bytes.len() => bytes[at] = rng.u8(..),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let again = bytes[at..end].repeat(1 + rng.usize(..8));
            bytes.splice(at..at, again);
        }
        5 | 6 => drop(bytes.splice(at..at, TOKENS[rng.usize(..TOKENS.len())].iter().copied())),
        7 => drop(bytes.splice(at..end, TOKENS[rng.usize(..TOKENS.len())].iter().copied())),
        _ => {
            let other = pick(corpus, rng);
            let (start, stop) = (rng.usize(..=other.len()), rng.usize(..=other.len()));
            bytes.splice(at..end, other[start.min(stop)..start.max(stop)].iter().copied());
        }
    }
}
