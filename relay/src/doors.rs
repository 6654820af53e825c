//! How many clients are let in: in all, and from one address. Shared by all data threads, asked once per connection.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::ClientLimits;

/// Counts connections and clients.
pub struct Doors {
    seats: Arc<Semaphore>,
    clients: Clients,
}

/// The right of a connection to be served, until dropped.
pub(crate) struct Seat {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Seat {
    /// One more than there are.
    pub(crate) fn beyond() -> Self {
        Self { _permit: None }
    }
}

/// Connections by client address. As many entries as there are clients with one, so no more than there are seats.
struct Clients {
    /// 0: any number.
    most: usize,
    /// Networks of proxies: each of their addresses speaks for many.
    exempt: Vec<IpNet>,
    hasher: RandomState,
    shards: [Mutex<HashMap<Address, usize>>; SHARDS],
}

/// So that data threads seldom wait for each other, for the few nanoseconds of a look-up.
const SHARDS: usize = 16;

/// One client as far as addresses tell. An IPv6 host has a /64 to choose from (RFC 6177), and so counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Address {
    V4(u32),
    V6(u64),
}

impl Address {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

/// A client's connection, counted until dropped.
pub(crate) struct Visit {
    counted: Option<(Arc<Doors>, Address)>,
}

impl Doors {
    /// `exempt`: addresses whose connections are counted in all, but not by address.
    pub fn new(limits: &ClientLimits, exempt: Vec<IpNet>) -> Arc<Self> {
        let seats = limits.connections.min(Semaphore::MAX_PERMITS);
        let clients = Clients {
            most: limits.connections_per_client,
            exempt,
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        };
        Arc::new(Self { seats: Arc::new(Semaphore::new(seats)), clients })
    }

    /// A seat, if there is one.
    pub(crate) fn try_seat(&self) -> Option<Seat> {
        let permit = self.seats.clone().try_acquire_owned().ok()?;
        Some(Seat { _permit: Some(permit) })
    }

    /// A seat, once there is one.
    pub(crate) async fn seat(&self) -> Seat {
        let permit = self.seats.clone().acquire_owned().await.expect("nobody closes the semaphore");
        Seat { _permit: Some(permit) }
    }

    /// `None`: as many as may be are here from that address. A client without one is on this host.
    pub(crate) fn enter(self: &Arc<Self>, ip: Option<IpAddr>) -> Option<Visit> {
        match ip.and_then(|ip| self.clients.counted(ip)) {
            None => Some(Visit { counted: None }),
            Some(address) => {
                let entered = self.clients.enter(address);
                entered.then(|| Visit { counted: Some((self.clone(), address)) })
            }
        }
    }
}

impl Clients {
    /// What its connections are counted by, if they are.
    fn counted(&self, ip: IpAddr) -> Option<Address> {
        let ip = ip.to_canonical();
        let is_counted = self.most > 0 && !self.exempt.iter().any(|network| network.contains(&ip));
        is_counted.then(|| Address::of(ip))
    }

    fn shard(&self, address: Address) -> MutexGuard<'_, HashMap<Address, usize>> {
        let index = self.hasher.hash_one(address) as usize % SHARDS;
        self.shards[index].lock().expect("nothing panics while it holds the lock")
    }

    fn enter(&self, address: Address) -> bool {
        let mut shard = self.shard(address);
        let here = shard.get(&address).copied().unwrap_or(0);
        if here < self.most {
            shard.insert(address, here + 1);
        }
        here < self.most
    }

    fn leave(&self, address: Address) {
        let mut shard = self.shard(address);
        if let Some(here) = shard.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                shard.remove(&address);
            }
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some((doors, address)) = self.counted.take() {
            doors.clients.leave(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(connections: usize, connections_per_client: usize, exempt: &[&str]) -> Arc<Doors> {
        let limits = ClientLimits { connections, connections_per_client, ..ClientLimits::default() };
        let exempt = exempt.iter().map(|network| network.parse().expect("a network")).collect();
        Doors::new(&limits, exempt)
    }

    fn entries(doors: &Doors) -> usize {
        doors.clients.shards.iter().map(|shard| shard.lock().expect("no panic").len()).sum()
    }

    #[test]
    fn clients_are_told_apart_by_address() {
        for (case, first, second, same) in [
            ("two", "192.0.2.1", "192.0.2.2", false),
            ("IPv4 in IPv6", "192.0.2.1", "::ffff:192.0.2.1", true),
            ("a /64", "2001:db8::1", "2001:db8::ffff:1", true),
            ("two of them", "2001:db8::1", "2001:db8:0:1::1", false),
            ("an IPv4 address and a /64 of its bits", "0.0.0.1", "0:0:0:1::", false),
            ("exempt", "10.1.2.3", "10.1.2.3", false),
            ("exempt in IPv6", "::ffff:10.1.2.3", "10.1.2.3", false),
        ] {
            let doors = doors(100, 1, &["10.0.0.0/8"]);
            let ip = |text: &str| Some(text.parse().expect("an address"));
            let here = doors.enter(ip(first)).expect("the first");
            assert_eq!(doors.enter(ip(second)).is_none(), same, "{case}");
            drop(here);
            assert!(doors.enter(ip(second)).is_some(), "{case}: it has left");
            assert_eq!(entries(&doors), 0, "{case}: nothing is kept");
        }
    }

    #[test]
    fn as_many_as_are_allowed_come_in() {
        let ip: Option<IpAddr> = "192.0.2.1".parse().ok();
        let visits =
            |doors: &Arc<Doors>, ip| (0..10).map_while(|_| doors.enter(ip)).collect::<Vec<_>>().len();
        assert_eq!(visits(&doors(100, 3, &[]), ip), 3);
        assert_eq!(visits(&doors(100, 0, &[]), ip), 10, "any number");
        assert_eq!(visits(&doors(100, 3, &[]), None), 10, "a Unix socket");
    }

    #[tokio::test]
    async fn a_seat_is_free_when_its_connection_ends() {
        let doors = doors(1, 0, &[]);
        let seat = doors.try_seat().expect("the only one");
        assert!(doors.try_seat().is_none());
        let mut waiting = Box::pin(doors.seat());
        assert!(futures_poll(&mut waiting).is_pending());
        drop(seat);
        assert!(futures_poll(&mut waiting).is_ready());
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
        std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
