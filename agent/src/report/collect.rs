//! Makes the reports: on a timer, and at once when the state changes, when workers are found to be free earlier or
//! later than was said, or when a balancer may count on more of them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use sluice_proto::{Lean, Report};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Identity, Moment, build, encode};
use crate::{
    grants::{Division, Holder},
    shared::Shared,
    state::Standing,
};

/// A report as it goes to every balancer.
#[derive(Debug)]
pub struct Published {
    pub report: Report,
    /// The same as JSON, in full.
    pub body: Bytes,
    /// And in short, once a balancer is to have it so.
    pub lean: OnceLock<Bytes>,
    /// What each balancer is granted, which is in neither.
    pub grants: Division,
    /// [`Standing::version`] of the state in it.
    pub version: u64,
    pub at: Instant,
}

impl Published {
    /// The report as JSON for one balancer, in the form that it reads.
    pub fn body_for(&self, balancer: Holder, form: Form) -> Bytes {
        let body = match form {
            Form::Full => &self.body,
            Form::Lean => self.lean.get_or_init(|| lean(&self.report)),
        };
        let Some((grant, rest)) = self.grants.told(balancer).zip(body.strip_suffix(b"}")) else {
            return body.clone();
        };
        // Everything else is the same for all, and is not written again for each.
        [rest, format!(",\"grant\":{grant}}}").as_bytes()].concat().into()
    }
}

fn lean(report: &Report) -> Bytes {
    serde_json::to_vec(&Lean::of(report)).expect("numbers, text and lists").into()
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As every balancer reads it.
    Full,
    /// As [`Lean`].
    Lean,
}

/// The only one who cuts windows and counts reports.
pub struct Collector {
    shared: Arc<Shared>,
    changes: watch::Receiver<Standing>,
    rng: fastrand::Rng,
    seq: u64,
}

impl Collector {
    /// Sees every change of state from now on, so make it before whoever changes it is started.
    pub fn new(shared: Arc<Shared>, rng: fastrand::Rng) -> Self {
        let changes = shared.state.subscribe();
        Self { shared, changes, rng, seq: 0 }
    }

    /// Publishes for ever.
    pub async fn run(mut self) {
        let interval = self.shared.config.interval;
        loop {
            let pause = jittered(interval, &mut self.rng);
            // The sender lives in `shared`, which lives here: the receiver never sees it gone.
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = self.changes.changed() => {}
                () = self.shared.releases.changed() => {}
                () = self.shared.grants.changed() => {}
            }
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.seq += 1;
        let at = Instant::now();
        let standing = self.changes.borrow_and_update().clone();
        let version = standing.version;
        let measured = self.shared.figures.for_report();
        let (now, classifications) = (self.shared.now(), self.shared.classifications());
        let releases = self.shared.releases.claims();
        let application = self.shared.orca.said(at).map(|said| said.report.into());
        let moment =
            Moment { seq: self.seq, standing, now, measured, classifications, releases, application };
        let window = self.shared.recorder.cut(at);
        let identity = Identity { workers: self.shared.workers(), ..self.shared.identity.clone() };
        let (report, body) = encode(build(&identity, moment, window));
        let grants = self.shared.grants.grant();
        let published = Published { report, body: body.into(), lean: OnceLock::new(), grants, version, at };
        self.shared.published.send_replace(Some(Arc::new(published)));
    }
}

/// `interval`, up to 10 % shorter or longer: agents that started together must not report together for ever.
fn jittered(interval: Duration, rng: &mut fastrand::Rng) -> Duration {
    interval.mul_f64(0.9 + 0.2 * rng.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth_and_keeps_the_mean() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let pauses: Vec<_> =
            (0..10_000).map(|_| jittered(Duration::from_secs(1), &mut rng).as_secs_f64()).collect();
        assert!(pauses.iter().all(|pause| (0.9..=1.1).contains(pause)));
        let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
        // The standard error is 0.2 / sqrt(12 * 10,000) = 0.0006; ten of them.
        assert!((mean - 1.0).abs() < 0.006, "{mean}");
    }
}
