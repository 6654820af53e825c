//! A line in less memory.

use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// A decision's line, compressed: it says most things twice, as it has the plan before as well, and the same of each
/// instance. A quarter of it is left with 4 instances, a tenth with 100.
///
/// Each line for itself, so that the oldest can go alone. At the lowest level, as further ones save little
/// more.
#[derive(Clone)]
pub(super) struct Packed(Arc<[u8]>);

impl Packed {
    pub(super) fn of(line: &str) -> Self {
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
        let packed = packer.write_all(line.as_bytes()).and_then(|()| packer.finish());
        Self(packed.expect("nothing but memory is written to").into())
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    /// Appends the line as it was.
    pub(super) fn unpack_to(&self, text: &mut String) {
        DeflateDecoder::new(&*self.0).read_to_string(text).expect("it was packed here");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_out_as_it_went_in() {
        let mut text = String::from("before\n");
        for line in ["", "\n", "Zürich → Genève\n", &"long ".repeat(100_000)] {
            Packed::of(line).unpack_to(&mut text);
            assert!(text.ends_with(line), "{}", line.len());
        }
        assert!(text.starts_with("before\n\nZ"), "nothing is lost");
    }
}
