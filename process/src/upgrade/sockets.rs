//! Listening sockets, by the place that each is for.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Sockets to be handed over, or that were. Clones are the same.
///
/// A place is named as the configuration names it, so that port 0 and a name find their socket again. Of an address
/// that is shared by several sockets, all are here.
#[derive(Clone, Debug, Default)]
pub struct Sockets(Arc<Mutex<BTreeMap<String, Vec<OwnedFd>>>>);

impl Sockets {
    pub fn add(&self, place: impl Into<String>, sockets: impl IntoIterator<Item = OwnedFd>) {
        self.locked().entry(place.into()).or_default().extend(sockets);
    }

    /// The sockets of a place, which are gone from here then.
    pub fn take(&self, place: &str) -> Vec<OwnedFd> {
        self.locked().remove(place).unwrap_or_default()
    }

    /// Closes all. A socket that is held here can be connected to though nobody accepts.
    pub fn close(&self) {
        self.locked().clear();
    }

    /// What is here, place by place.
    pub fn places(&self) -> Vec<String> {
        self.locked().keys().cloned().collect()
    }

    /// Descriptors of the same sockets.
    pub(super) fn duplicates(&self) -> io::Result<Vec<(String, Vec<OwnedFd>)>> {
        let duplicate = |(place, sockets): (&String, &Vec<OwnedFd>)| {
            let sockets = sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
            Ok((place.clone(), sockets))
        };
        self.locked().iter().map(duplicate).collect()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Vec<OwnedFd>>> {
        // Every change is one call on the map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
