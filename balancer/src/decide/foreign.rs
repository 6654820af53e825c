//! Workers of an instance that others hold: another balancer, a health check, a user who goes there
//! directly.

/// Reports that must agree. One report and the balancer's own count are never of the same moment, and
/// reports that are late are of quite another: of a busy instance, three in a row often seem to agree.
const REPORTS: usize = 6;

/// Reports for which the last word holds: a gauge that is read every 10 s, with reports each second, is not forgotten
/// in between.
const MEMORY: u32 = 30;

/// What the last reports say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Workers held by others, the newest report's first.
    seen: [u32; REPORTS],
    /// Reports since then that did not say.
    silent: u32,
}

impl Foreign {
    /// A report says that `held` workers are held; of these, this balancer counts `own` at the time.
    /// Returns the number that all of the last reports agree upon.
    pub fn report(&mut self, held: u32, own: u32) -> u32 {
        self.seen.rotate_right(1);
        self.seen[0] = held.saturating_sub(own);
        self.silent = 0;
        self.value()
    }

    /// A report does not say how many workers are held: what is known holds for a while, as that is neither none
    /// nor the same as before. Returns the number.
    pub fn unknown(&mut self) -> u32 {
        self.silent = self.silent.saturating_add(1);
        if self.silent >= MEMORY {
            *self = Self::default();
        }
        self.value()
    }

    /// The least of the last reports.
    pub fn value(&self) -> u32 {
        self.seen.into_iter().min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_does_not_say_is_not_one_that_says_none() {
        let mut foreign = Foreign::default();
        assert_eq!(foreign.unknown(), 0);
        for _ in 0..REPORTS {
            foreign.report(3, 1);
        }
        for n in 1..MEMORY {
            assert_eq!(foreign.unknown(), 2, "after {n}");
        }
        assert_eq!(foreign.unknown(), 0, "long ago");
        assert_eq!(foreign.report(3, 1), 0, "and begins anew");
    }

    #[test]
    fn only_what_all_of_the_last_reports_agree_upon_counts() {
        let mut foreign = Foreign::default();
        for n in 1..REPORTS {
            assert_eq!(foreign.report(3, 1), 0, "after {n}");
        }
        for (held, own, expected) in [(2, 1, 1), (2, 0, 1), (1, 1, 0), (4, 1, 0)] {
            assert_eq!(foreign.report(held, own), expected, "{held} held, {own} own");
        }
    }
}
