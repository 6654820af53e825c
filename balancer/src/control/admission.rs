//! How many reports are taken from whom: before they are read, by where they come from and how large they are; then by
//! the name that they are under. Agents that do what they should never notice.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sluice_process::admin::shares::{Share, Shares};
use sluice_proto::report::MAX_BYTES;

use crate::decide::membership::Key;
use crate::decide::throttle::{Throttle, ThrottleParams};

/// Of reports that are being received: all of them, and those of one address. 64 of the largest size.
const MEMORY: (usize, usize) = (64 * MAX_BYTES, 16 * MAX_BYTES);

/// A report of usual size costs one token, one of 1 MiB seventeen: reading it takes that much longer.
const BYTES_PER_TOKEN: f64 = 65_536.0;

/// Seconds' worth that an address can save up: agents that start together also report together.
const BURST: f64 = 2.0;

/// Of one name. An agent reports at most ten times a second, and at once when something changes.
const BY_NAME: ThrottleParams = ThrottleParams { rate: 20.0, burst: 40.0, most: 32_768 };

/// Lines in the log about reports that are not their sender's, for each name.
const COMPLAINTS: ThrottleParams = ThrottleParams { rate: 1.0 / 60.0, burst: 1.0, most: 64 };

/// Addresses that are told apart.
/// Containers have one each, so there may be as many as agents.
const MOST_ADDRESSES: usize = 32_768;

/// Decides which reports are looked at.
pub(super) struct Admission {
    memory: Shares,
    state: Mutex<Throttles>,
}

struct Throttles {
    addresses: Throttle<IpAddr>,
    names: Throttle<(IpAddr, Key)>,
    complaints: Throttle<Key>,
}

/// Why a report is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Declined {
    #[error("too many reports from this address: it may send some hundreds per second (--report-rate)")]
    Address(Duration),
    #[error("too many reports under this name: 20 per second are taken")]
    Name(Duration),
    #[error("too many bytes of reports are being received, from this address or in all")]
    Memory,
}

impl Admission {
    /// `rate`: reports per second and address.
    pub(super) fn new(rate: NonZeroU32, now: Instant) -> Self {
        let rate = f64::from(rate.get());
        let by_address = ThrottleParams { rate, burst: rate * BURST, most: MOST_ADDRESSES };
        let state = Throttles {
            addresses: Throttle::new(by_address, now),
            names: Throttle::new(BY_NAME, now),
            complaints: Throttle::new(COMPLAINTS, now),
        };
        Self { memory: Shares::new(MEMORY.0, MEMORY.1), state: Mutex::new(state) }
    }

    /// Whether a report of `length` bytes may be received; what is returned is held until it was.
    pub(super) fn receive(&self, source: IpAddr, length: usize, now: Instant) -> Result<Share, Declined> {
        let length = length.min(MAX_BYTES);
        let cost = 1.0 + length as f64 / BYTES_PER_TOKEN;
        self.locked().addresses.take(source, cost, now).map_err(Declined::Address)?;
        self.memory.take(source, length).ok_or(Declined::Memory)
    }

    /// Whether one under this name may be taken in.
    pub(super) fn named(&self, source: IpAddr, key: &Key, now: Instant) -> Result<(), Declined> {
        self.locked().names.take((source, key.clone()), 1.0, now).map_err(Declined::Name)
    }

    /// Whether the log should say that this name is somebody else's.
    pub(super) fn complains(&self, key: &Key, now: Instant) -> bool {
        self.locked().complaints.take(key.clone(), 1.0, now).is_ok()
    }

    fn locked(&self) -> MutexGuard<'_, Throttles> {
        // Each bucket is whole whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Declined {
    pub(super) fn wait(self) -> Duration {
        match self {
            Self::Address(wait) | Self::Name(wait) => wait,
            Self::Memory => Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

    fn hosts() -> [IpAddr; 5] {
        [1, 2, 3, 4, 5].map(|n| IpAddr::from([10, 0, 0, n]))
    }

    #[test]
    fn large_reports_count_for_more() {
        let now = Instant::now();
        for (length, passes) in [(0, 200), (65_536, 100), (MAX_BYTES, 12), (usize::MAX, 12)] {
            let admission = Admission::new(RATE, now);
            let passed = (0..1000).filter(|_| admission.receive(hosts()[0], length, now).is_ok()).count();
            assert_eq!(passed, passes, "of {length} bytes");
        }
    }

    #[test]
    fn memory_is_shared_out_and_given_back() {
        let now = Instant::now();
        let admission = Admission::new(NonZeroU32::MAX, now);
        let all: Vec<_> = hosts()
            .iter()
            .flat_map(|host| (0..20).map_while(|_| admission.receive(*host, MAX_BYTES, now).ok()))
            .collect();
        assert_eq!(all.len(), 64, "16 each for the first four, and nothing is left");
        assert_eq!(admission.receive(hosts()[4], 1, now).err(), Some(Declined::Memory));
        drop(all);
        assert!(admission.receive(hosts()[4], MAX_BYTES, now).is_ok());
    }

    #[test]
    fn what_one_sender_does_under_a_name_is_not_held_against_another() {
        let now = Instant::now();
        let admission = Admission::new(RATE, now);
        let key = ("default".parse().expect("a name"), "zope-1".parse().expect("a name"));
        let passed = (0..100).filter(|_| admission.named(hosts()[0], &key, now).is_ok()).count();
        assert_eq!(passed, 40);
        assert!(admission.named(hosts()[1], &key, now).is_ok());
        assert!(admission.complains(&key, now) && !admission.complains(&key, now));
    }
}
