//! What is shared out among senders, so that one of them can not have it all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// An amount of something, of which one sender gets no more than its part. Clones share out the same.
#[derive(Clone, Debug)]
pub struct Shares(Arc<Pot>);

#[derive(Debug)]
struct Pot {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    sum: usize,
    /// Those who have something.
    by: HashMap<IpAddr, usize>,
}

/// A part of it, given back when dropped.
#[derive(Debug)]
pub struct Share {
    pot: Arc<Pot>,
    sender: IpAddr,
    amount: usize,
}

impl Shares {
    /// `all` of it, and at most `each` for one sender.
    pub fn new(all: usize, each: usize) -> Self {
        Self(Arc::new(Pot { all, each, taken: Mutex::default() }))
    }

    /// `amount` for `sender`, which is a [`source`]; `None` if there is not as much left, or not for it.
    pub fn take(&self, sender: IpAddr, amount: usize) -> Option<Share> {
        let mut taken = self.0.locked();
        let own = taken.by.get(&sender).copied().unwrap_or(0);
        if own + amount > self.0.each || taken.sum + amount > self.0.all {
            return None;
        }
        taken.sum += amount;
        taken.by.insert(sender, own + amount);
        Some(Share { pot: self.0.clone(), sender, amount })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.pot.locked();
        taken.sum -= self.amount;
        if let Some(own) = taken.by.get_mut(&self.sender) {
            *own -= self.amount;
            if *own == 0 {
                taken.by.remove(&self.sender);
            }
        }
    }
}

impl Pot {
    fn locked(&self) -> MutexGuard<'_, Taken> {
        // Sums are changed together and at once.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom an address stands for when amounts are counted: IPv4 also where it is mapped into IPv6, and otherwise the /64,
/// which is what one host has to choose from.
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sender_gets_its_part_and_no_more() {
        let [a, b, c] = [1, 2, 3].map(|n| IpAddr::from([10, 0, 0, n]));
        let shares = Shares::new(5, 3);
        let first = shares.take(a, 2).expect("all is there");
        let second = shares.take(a, 1).expect("up to its part");
        assert!(shares.take(a, 1).is_none(), "beyond its part");
        let third = shares.take(b, 2).expect("others' part is theirs");
        assert!(shares.take(c, 1).is_none(), "nothing is left");
        drop(first);
        assert!(shares.take(a, 3).is_none() && shares.take(c, 2).is_some());
        drop((second, third));
        assert!(shares.take(a, 3).is_some());
        assert!(shares.0.locked().by.is_empty(), "nobody is remembered who has nothing");
    }

    #[test]
    fn a_host_is_one_sender_whatever_address_it_writes() {
        for (address, counted) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::9", "2001:db8:1:2::"),
            ("2001:db8:1:3::9", "2001:db8:1:3::"),
        ] {
            let [address, counted] =
                [address, counted].map(|text| text.parse::<IpAddr>().expect("an address"));
            assert_eq!(source(address), counted, "{address}");
        }
    }
}
