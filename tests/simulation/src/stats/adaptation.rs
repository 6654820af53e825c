//! How soon the small class is well again after the traffic changed.

/// Seconds after the shift that are looked at.
const WATCHED: usize = 60;

/// p99 of small requests, by second of arrival, around the shift. Seconds.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Adaptation {
    /// Over the time before the shift.
    pub p99_before_s: f64,
    /// Over the time after the shift, without the first minute if there are two.
    pub p99_after_s: f64,
    /// Of the worst single second within the watched time.
    pub worst_p99_s: f64,
    /// The last second within it, counted from 1, whose p99 was above twice `p99_after_s`; 0: none.
    pub last_bad_second: usize,
}

/// Latencies by second of arrival. Kept whole: an answer may come long after its second.
#[derive(Debug)]
pub(super) struct Series {
    shift: usize,
    seconds: Vec<Vec<f32>>,
}

impl Series {
    pub(super) fn new(shift_s: f64, duration_s: f64) -> Self {
        Self { shift: shift_s.ceil() as usize, seconds: vec![Vec::new(); duration_s.ceil() as usize + 1] }
    }

    pub(super) fn add(&mut self, arrived_s: f64, latency_s: f64) {
        self.seconds[arrived_s as usize].push(latency_s as f32);
    }

    pub(super) fn adaptation(self) -> Adaptation {
        let (before, after) = self.seconds.split_at(self.shift.min(self.seconds.len()));
        let watched = WATCHED.min(after.len());
        let settled = if after.len() > 2 * WATCHED { &after[WATCHED..] } else { after };
        let p99_after_s = p99(settled);
        let each: Vec<f64> = after[..watched].iter().map(|s| p99(std::slice::from_ref(s))).collect();
        Adaptation {
            p99_before_s: p99(before),
            p99_after_s,
            worst_p99_s: each.iter().copied().fold(0.0, f64::max),
            last_bad_second: each.iter().rposition(|&p| p > 2.0 * p99_after_s).map_or(0, |at| at + 1),
        }
    }
}

/// Exact 99th percentile over some seconds; 0 if nothing arrived.
fn p99(seconds: &[Vec<f32>]) -> f64 {
    let mut all: Vec<f32> = seconds.iter().flatten().copied().collect();
    if all.is_empty() {
        return 0.0;
    }
    let rank = (all.len() * 99 / 100).min(all.len() - 1);
    f64::from(*all.select_nth_unstable_by(rank, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_second_after_the_shift_is_found() {
        let mut series = Series::new(100.0, 300.0);
        for second in 0..300 {
            for _ in 0..50 {
                let latency = if second == 103 { 5.0 } else { 0.01 };
                series.add(f64::from(second), latency);
            }
        }
        let adaptation = series.adaptation();
        assert!((adaptation.worst_p99_s - 5.0).abs() < 1e-6);
        assert_eq!(adaptation.last_bad_second, 4);
        assert!(
            (adaptation.p99_before_s - 0.01).abs() < 1e-6 && (adaptation.p99_after_s - 0.01).abs() < 1e-6
        );
    }
}
