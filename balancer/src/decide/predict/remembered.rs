//! One URL's evidence of one quantity: believed soon, not upset by one outlier.

use super::belief::{Belief, NEWS};
use super::moments::Moments;
use super::tracker::Sample;

/// Observations that count for a URL.
const MEMORY: f32 = 8.0;

/// Seconds or bytes of one URL.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Remembered {
    pub(super) moments: Moments,
    /// The side on which the last observation was news: -1 below, 1 above, 0 it was none.
    surprise: i8,
}

impl Remembered {
    pub(super) fn of(moments: Moments) -> Self {
        Self { moments, surprise: 0 }
    }

    /// `class`: what the URL's class was believed to be before this observation.
    pub(super) fn apply(&mut self, sample: Sample, class: &Belief) {
        match sample {
            Sample::New(x) => self.add(x, class),
            // What was cut down when it came is not worth correcting.
            Sample::Revised { old, new } if self.surprise == 0 => self.moments.revise(old, new),
            Sample::Revised { .. } => {}
        }
    }

    fn add(&mut self, x: f32, class: &Belief) {
        if self.moments.n >= 2.0 {
            self.add_to_known(x);
        } else if self.moments.n == 1.0 && self.was_an_outlier(x, class) {
            *self = Self::default();
        } else {
            self.moments.add(x, MEMORY);
        }
    }

    /// The one observation so far was unlike the class, the next is like it: the first was the
    /// outlier. Without this a URL would be large for three visits after one slow run.
    fn was_an_outlier(&self, x: f32, class: &Belief) -> bool {
        !class.is_mixed() && class.explains(x) && !class.explains(self.moments.mean)
    }

    /// One observation far off counts as a factor of 4 and no more; a second one on the same side
    /// is a change, and the two are the evidence.
    fn add_to_known(&mut self, x: f32) {
        let off = x - self.moments.mean;
        let side = if off > NEWS {
            1
        } else if off < -NEWS {
            -1
        } else {
            0
        };
        if side != 0 && side == self.surprise {
            *self = Self::of(Moments { n: 2.0, mean: x, var: 0.0 });
        } else {
            self.moments.add(self.moments.mean + off.clamp(-NEWS, NEWS), MEMORY);
            self.surprise = side;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    const QUICK: Belief = Belief { mu: -4.605, var: 0.1, samples: 64.0, from: Source::Class };
    const MIXED: Belief = Belief { var: 4.0, ..QUICK };

    #[test]
    fn what_a_url_is_believed_to_take_after_its_runs() {
        for (name, class, seconds, least, most) in [
            ("slow once, then as its class", QUICK, &[2.0, 0.01][..], 0.0, 0.0),
            ("slow twice", QUICK, &[2.0, 2.0], 1.9, 2.1),
            ("quick, one slow run", MIXED, &[0.01, 0.01, 0.01, 2.0], 0.01, 0.02),
            ("quick, two slow runs", MIXED, &[0.01, 0.01, 0.01, 2.0, 2.0], 1.9, 2.1),
            ("slow, one quick run", MIXED, &[2.0, 2.0, 2.0, 0.01], 1.0, 2.0),
            ("slow, two quick runs", MIXED, &[2.0, 2.0, 2.0, 0.01, 0.01], 0.01, 0.011),
            ("quick, outliers on both sides", MIXED, &[0.01, 0.01, 2.0, 0.0001], 0.004, 0.02),
        ] {
            let mut url = Remembered::default();
            seconds.iter().for_each(|s: &f32| url.apply(Sample::New(s.ln()), &class));
            let mean = if url.moments.n > 0.0 { url.moments.mean.exp() } else { 0.0 };
            assert!((least..=most).contains(&mean), "{name}: {mean} s");
        }
    }
}
