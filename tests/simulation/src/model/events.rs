//! What is to happen, in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::policy::JobId;
use crate::time::Nanos;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A request of this class may come (thinning decides).
    Arrival(u16),
    /// A job reaches its instance.
    Reach(JobId),
    /// Its worker is done.
    Done(JobId),
    /// The balancer learns so.
    Learn(JobId),
    /// The client has the last byte.
    End(JobId),
    /// The policies' clock.
    Timer,
    /// Agents cut their windows.
    Cut,
    /// The oldest reports under way arrive.
    Deliver,
    /// Bursts start or end.
    Phase,
    /// An instance becomes slow, or fast again.
    Antagonist(u16),
}

/// Events by time; those of the same time in the order they were added, so that a run can be repeated.
#[derive(Debug, Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    added: u64,
}

impl Events {
    pub(crate) fn add(&mut self, at: Nanos, event: Event) {
        self.added += 1;
        self.heap.push(Reverse((at, self.added, event)));
    }

    pub(crate) fn next(&mut self) -> Option<(Nanos, Event)> {
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_ties_keep_their_order() {
        let mut events = Events::default();
        events.add(20, Event::Timer);
        events.add(10, Event::Phase);
        events.add(10, Event::Arrival(0));
        assert_eq!(events.next(), Some((10, Event::Phase)));
        assert_eq!(events.next(), Some((10, Event::Arrival(0))));
        assert_eq!(events.next(), Some((20, Event::Timer)));
        assert_eq!(events.next(), None);
    }
}
