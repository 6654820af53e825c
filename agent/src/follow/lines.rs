//! From pieces of a file to its lines, in bounded memory.

/// The longest line that is read, in bytes: four request lines of the length that servers take by default.
pub const LONGEST: usize = 32 * 1024;

/// The line that is not whole yet.
#[derive(Debug, Default)]
pub struct LineBuffer {
    partial: Vec<u8>,
    /// What comes up to the next line feed belongs to a line that is too long, or whose beginning was not read.
    skipping: bool,
}

/// What a piece of a file had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Lines that were too long.
    pub too_long: u64,
}

impl LineBuffer {
    /// For a file that is read from the middle: the first line is not whole.
    pub fn in_the_middle() -> Self {
        Self { partial: Vec::new(), skipping: true }
    }

    /// Takes in what comes next and gives each line that is whole now, without its end, to `line`.
    pub fn push(&mut self, mut chunk: &[u8], line: &mut impl FnMut(&[u8])) -> Cut {
        let mut cut = Cut::default();
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let (rest_of_line, after) = (&chunk[..end], &chunk[end + 1..]);
            cut.too_long += u64::from(self.finish(rest_of_line, line));
            chunk = after;
        }
        self.keep(chunk, &mut cut);
        cut
    }

    /// Ends a line. Whether it was too long.
    fn finish(&mut self, rest: &[u8], line: &mut impl FnMut(&[u8])) -> bool {
        if std::mem::take(&mut self.skipping) {
            return false;
        }
        let too_long = self.partial.len() + rest.len() > LONGEST;
        if !too_long {
            if self.partial.is_empty() {
                line(trimmed(rest));
            } else {
                self.partial.extend_from_slice(rest);
                line(trimmed(&self.partial));
            }
        }
        self.partial.clear();
        too_long
    }

    fn keep(&mut self, chunk: &[u8], cut: &mut Cut) {
        if self.skipping {
            return;
        }
        if self.partial.len() + chunk.len() > LONGEST {
            // Counted here: its end may never come.
            cut.too_long += 1;
            self.skipping = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(chunk);
        }
    }
}

/// Without a carriage return at its end, and without the zeros that a file has at its beginning if it was truncated
/// under a writer that does not append.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let zeros = line.iter().take_while(|byte| **byte == 0).count();
    &line[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(buffer: &mut LineBuffer, chunks: &[&[u8]]) -> (Vec<String>, u64) {
        let mut lines = Vec::new();
        let mut keep = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        let too_long = chunks.iter().map(|chunk| buffer.push(chunk, &mut keep).too_long).sum();
        (lines, too_long)
    }

    #[test]
    fn a_line_is_a_line_however_it_comes() {
        for (chunks, wanted) in [
            (&[&b"a\nb\n"[..]][..], &["a", "b"][..]),
            (&[b"a", b"b\nc"], &["ab"]),
            (&[b"a\r\n\n", b"\0\0b\r", b"\nc\n"], &["a", "", "b", "c"]),
            (&[b"", b"no end"], &[]),
        ] {
            assert_eq!(lines(&mut LineBuffer::default(), chunks).0, wanted, "{chunks:?}");
        }
        assert_eq!(lines(&mut LineBuffer::in_the_middle(), &[b"half", b"\nwhole\n"]).0, ["whole"]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let long = vec![b'x'; LONGEST];
        let mut buffer = LineBuffer::default();
        let fits = lines(&mut buffer, &[&long, b"\n"]);
        assert_eq!((fits.0[0].len(), fits.1), (LONGEST, 0));
        assert_eq!(lines(&mut buffer, &[&long, b"y\nnext\n"]), (vec!["next".to_owned()], 1));
        for _ in 0..1000 {
            buffer.push(&long, &mut |_| panic!("no line has ended"));
        }
        assert!(buffer.partial.capacity() <= 2 * LONGEST);
        assert_eq!(lines(&mut buffer, &[b"z\nnext\n"]).0, ["next"]);
    }
}
