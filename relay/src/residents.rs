//! The connections of one data thread, to find those that may go when there is no room for another.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::peer::Peer;

/// Connections that are served.
#[derive(Default)]
pub(crate) struct Residents {
    /// By where they are in memory, which is theirs alone.
    peers: RefCell<HashMap<usize, Arc<Peer>>>,
}

/// One of them, until dropped.
pub(crate) struct Resident<'a> {
    residents: &'a Residents,
    key: usize,
}

impl Residents {
    pub(crate) fn enter(&self, peer: &Arc<Peer>) -> Resident<'_> {
        let key = Arc::as_ptr(peer).addr();
        self.peers.borrow_mut().insert(key, peer.clone());
        Resident { residents: self, key }
    }

    /// Asks those to leave that have been idle for longest. Looks at all connections, so it makes room for more than one.
    pub(crate) fn make_room(&self) {
        let peers = self.peers.borrow();
        let stays = peers.values().filter(|peer| !peer.is_dismissed());
        let idle = stays.filter_map(|peer| Some((peer.idle_for()?, peer))).collect();
        idlest(idle).into_iter().for_each(|peer| peer.dismiss());
    }

    /// Has each connection look whether it is to go on.
    pub(crate) fn wake_all(&self) {
        self.peers.borrow().values().for_each(|peer| peer.wake());
    }
}

impl Drop for Resident<'_> {
    fn drop(&mut self) {
        self.residents.peers.borrow_mut().remove(&self.key);
    }
}

/// A connection that idles for a shorter time stays. 1 s: a browser that has just got a page asks for the rest within
/// it, and clients that connect have as long to speak.
const LEAST_IDLE: Duration = Duration::from_secs(1);

/// A sixteenth of those that idle, and one at least: a flood pays for itself, at a look at 16 connections for each that
/// is let in, and the rest have as long as there is room.
const SHARE: usize = 16;

/// Those that are to go.
fn idlest<T>(mut idle: Vec<(Duration, T)>) -> Vec<T> {
    idle.retain(|(time, _)| *time >= LEAST_IDLE);
    let count = idle.len().div_ceil(SHARE);
    if count > 0 {
        idle.select_nth_unstable_by(count - 1, |(a, _), (b, _)| b.cmp(a));
    }
    idle.into_iter().take(count).map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idlest_go_first_and_no_more_than_a_part() {
        for (case, idle, expected) in [
            ("none", vec![], vec![]),
            ("all at work or just done", vec![0, 999], vec![]),
            ("one", vec![1000], vec![1000]),
            ("two", vec![1000, 2000], vec![2000]),
            ("many", (0..=32).map(|n| n * 1000).collect(), vec![31_000, 32_000]),
        ] {
            let idle = idle.into_iter().map(|ms| (Duration::from_millis(ms), ms)).collect();
            let mut gone = idlest(idle);
            gone.sort_unstable();
            assert_eq!(gone, expected, "{case}");
        }
    }
}
