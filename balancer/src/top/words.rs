//! Figures as people read them.

/// Milliseconds: `0.8 ms`, `120 ms`, `1.5 s`, `2.0 min`.
pub(super) fn millis(ms: f64) -> String {
    match ms {
        ..9.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        ..59_950.0 => format!("{:.1} s", ms / 1e3),
        _ => format!("{:.1} min", ms / 60e3),
    }
}

/// Bytes in powers of 1024: `512 B`, `1.5 KiB`, `2.5 MiB`.
pub(super) fn bytes(n: f64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024.0 {
        return format!("{n:.0} B");
    }
    let mut scaled = n / 1024.0;
    let mut unit = 0;
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// What comes from others, without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_that_fits() {
        for (ms, text) in [
            (0.0, "0.0 ms"),
            (9.94, "9.9 ms"),
            (9.96, "10 ms"),
            (999.0, "999 ms"),
            (999.6, "1.0 s"),
            (59_900.0, "59.9 s"),
            (60_000.0, "1.0 min"),
        ] {
            assert_eq!(millis(ms), text);
        }
        for (n, text) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1024.0, "1.0 KiB"),
            (1024.0 * 1024.0 - 1.0, "1.0 MiB"),
            (2_613_064.0, "2.5 MiB"),
            (5e15, "4547.5 TiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn a_terminal_is_told_nothing_by_others() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a?[2Jb?");
    }
}
