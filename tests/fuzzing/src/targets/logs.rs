//! What application servers write down: access logs and metrics pages. And the formats of our own log.

use sluice_agent::follow::lines::{LONGEST, LineBuffer};
use sluice_agent::follow::{Format, scrape};
use sluice_balancer::observe::AccessFormat;

use super::{cuts, first_line};

/// A format in the first line, and what is to be read by it.
pub fn access_log(bytes: &[u8]) {
    let (format, log) = first_line(bytes);
    let lines = lines_of(log, &[]);
    assert_eq!(lines_of(log, &cuts(log)), lines, "lines are the same however they arrive");
    let Ok(format) = str::from_utf8(format).unwrap_or("combined").parse::<Format>() else { return };
    assert_eq!(format.as_str().parse::<Format>().as_ref(), Ok(&format));
    for line in &lines {
        assert!(line.len() <= LONGEST);
        let line = String::from_utf8_lossy(line);
        let Some(entry) = format.read(&line) else { continue };
        assert!((100..=599).contains(&entry.status), "{entry:?}");
        assert!(entry.headers.iter().all(|(name, _)| format.tells(name)), "{entry:?}");
    }
}

fn lines_of(log: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (mut buffer, mut lines, mut start) = (LineBuffer::default(), Vec::new(), 0);
    for end in cuts.iter().copied().chain([log.len()]) {
        buffer.push(&log[start..end], &mut |line: &[u8]| lines.push(line.to_vec()));
        start = end;
    }
    lines
}

/// A format of our own access log is written as it was read.
pub fn access_format(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(format) = text.parse::<AccessFormat>() else { return };
    let written = format.to_string();
    assert_eq!(written.parse::<AccessFormat>().as_ref().expect(&written), &format);
}

/// Pages of metrics, one after the other, separated by a NUL: no figure is made up, negative or without end.
pub fn metrics_page(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pages: Vec<_> = text.split('\0').collect();
    for page in &pages {
        for sample in scrape::samples(page, |_| true) {
            assert!(sample.value.is_finite() && page.contains(sample.series));
        }
    }
    for requests in scrape::fuzzing::read(&pages) {
        assert!(requests < 1 << 62, "{requests} requests of one class between two pages");
    }
}
