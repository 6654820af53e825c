//! How long requests of a class usually wait for their answer.

use std::time::Duration;

/// Fewer answers say nothing.
const ENOUGH: u32 = 4;
/// What is answered within this time makes nobody wait who is sent behind it.
const SHORT: Duration = Duration::from_secs(1);
/// Scheduling alone delays an answer on a busy machine by that much.
const NOISE: Duration = Duration::from_millis(100);

/// Mean and mean deviation of the time from the request to the head of the response, of requests that found a free
/// worker: as TCP estimates its round trips (RFC 6298, 2.3), with the same weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usual {
    samples: u32,
    mean_s: f64,
    deviation_s: f64,
}

impl Usual {
    pub(super) fn add(&mut self, time: Duration) {
        let time = time.as_secs_f64();
        if self.samples == 0 {
            (self.mean_s, self.deviation_s) = (time, time / 2.0);
        } else {
            self.deviation_s += ((self.mean_s - time).abs() - self.deviation_s) / 4.0;
            self.mean_s += (time - self.mean_s) / 8.0;
        }
        self.samples = self.samples.saturating_add(1);
    }

    /// Hardly any takes longer. `None`: not known.
    fn most(&self) -> Option<Duration> {
        let most = self.mean_s + 4.0 * self.deviation_s;
        (self.samples >= ENOUGH).then(|| Duration::from_secs_f64(most))
    }

    /// An answer after more than this had to wait for something. `None`: not known.
    pub(super) fn late_after(&self) -> Option<Duration> {
        self.most().map(|most| (most * 4).max(NOISE))
    }

    pub(super) fn is_short(&self) -> bool {
        self.most().is_some_and(|most| most <= SHORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_late_depends_on_what_is_usual() {
        for (case, times, short, late_after) in [
            ("too few", vec![10; 3], false, None),
            // Deviation 5 ms, less a quarter three times: 2.11; 4 * (10 + 4 * 2.11) = 73.75, below the noise.
            ("quick", vec![10; 4], true, Some(ms(100))),
            // 4 * (100 + 4 * 21.09) = 737.5.
            ("steady", vec![100; 4], true, Some(Duration::from_micros(737_500))),
            ("slow", vec![2000; 4], false, Some(Duration::from_micros(14_750_000))),
        ] {
            let mut usual = Usual::default();
            times.into_iter().for_each(|time| usual.add(ms(time)));
            assert_eq!(usual.is_short(), short, "{case}");
            assert_eq!(usual.late_after(), late_after, "{case}");
        }
    }
}
