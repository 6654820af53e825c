//! One function per kind of bytes.

pub mod classes;
pub mod config;
pub mod files;
pub mod http;
pub mod logs;
pub mod peers;
pub mod report;
pub mod state;

/// The part before the first line feed, and the rest: of inputs that need two things.
fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

/// Where to cut `bytes` in pieces: repeatable, and different for different bytes.
fn cuts(bytes: &[u8]) -> Vec<usize> {
    let sum = bytes
        .iter()
        .fold(bytes.len() as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mut rng = fastrand::Rng::with_seed(sum);
    let mut cuts: Vec<_> = (0..rng.usize(0..6)).map(|_| rng.usize(0..=bytes.len())).collect();
    cuts.sort_unstable();
    cuts
}
