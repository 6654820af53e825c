//! A door for fuzzers into what is nobody else's to call.

use sluice_proto::{ClassName, Classifier};

use super::observe::{Checked, parse};
use crate::measure::Observation;

/// Shows each observation in `body` to `look`, with its class; none if `body` is refused.
pub fn observations(body: &[u8], look: impl Fn(&ClassName, &Observation<'_>)) {
    let checked = parse(body, &Classifier::default()).unwrap_or_default();
    for observation in checked.iter().map(Checked::observation) {
        look(observation.class, &observation);
    }
}
