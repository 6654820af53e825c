//! Which instances served a class, for the picture of it.

use std::time::Duration;

use super::hash::IdMap;
use super::ids::InstanceId;
use super::window::Sums;

/// Instances told apart per class and window; what went to further ones is not told.
const MOST: usize = 256;

/// A class's requests by the instance that served them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flows {
    by_instance: IdMap<InstanceId, Flow>,
}

/// What one instance served of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub requests: u64,
    /// Time that they held a worker, together.
    pub held: Duration,
    /// Body bytes that the instance sent.
    pub bytes: u64,
}

impl Flows {
    /// Counts a request that ended.
    pub fn record(&mut self, instance: InstanceId, held: Duration, bytes: u64) {
        self.add(instance, Flow { requests: 1, held, bytes });
    }

    pub fn iter(&self) -> impl Iterator<Item = (InstanceId, Flow)> {
        self.by_instance.iter().map(|(id, flow)| (*id, *flow))
    }

    fn add(&mut self, instance: InstanceId, flow: Flow) {
        if self.by_instance.len() >= MOST && !self.by_instance.contains_key(&instance) {
            return;
        }
        let own = self.by_instance.entry(instance).or_default();
        own.requests += flow.requests;
        own.held += flow.held;
        own.bytes = own.bytes.saturating_add(flow.bytes);
    }
}

impl Sums for Flows {
    fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(instance, flow)| self.add(instance, flow));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_add_up_and_are_bounded() {
        let ms = Duration::from_millis;
        let (mut one, mut other) = (Flows::default(), Flows::default());
        one.record(InstanceId(1), ms(10), 5);
        other.record(InstanceId(1), ms(20), 7);
        other.record(InstanceId(2), ms(1), 1);
        one.merge(&other);
        let of = |id| one.iter().find(|(own, _)| *own == InstanceId(id)).map(|(_, flow)| flow);
        assert_eq!(of(1), Some(Flow { requests: 2, held: ms(30), bytes: 12 }));
        assert_eq!(of(2), Some(Flow { requests: 1, held: ms(1), bytes: 1 }));
        (0..10_000).for_each(|id| one.record(InstanceId(id), ms(1), 1));
        assert_eq!(one.iter().count(), MOST);
    }
}
