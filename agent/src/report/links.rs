//! The balancers that there are at present.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Link;
use crate::config::BalancerUrl;

/// One link per balancer, in the order in which they came. Written by one task.
#[derive(Default)]
pub struct Links(Mutex<Arc<[Arc<Link>]>>);

impl Links {
    pub fn current(&self) -> Arc<[Arc<Link>]> {
        self.locked().clone()
    }

    /// Keeps the links to `wanted`, which may name one twice, and adds those that are missing, as `new` makes them.
    /// Returns those that are gone and those that have come.
    pub fn become_those(
        &self,
        wanted: &[BalancerUrl],
        new: impl FnMut(&BalancerUrl) -> Arc<Link>,
    ) -> (Vec<Arc<Link>>, Vec<Arc<Link>>) {
        let mut links = self.locked();
        let (kept, gone): (Vec<_>, Vec<_>) =
            links.iter().cloned().partition(|link| wanted.contains(&link.url));
        let mut seen: HashSet<_> = kept.iter().map(|link| &link.url).collect();
        let come: Vec<_> = wanted.iter().filter(|url| seen.insert(*url)).map(new).collect();
        drop(seen);
        *links = kept.iter().chain(&come).cloned().collect();
        (gone, come)
    }

    fn locked(&self) -> MutexGuard<'_, Arc<[Arc<Link>]>> {
        // One pointer, whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::time::Instant;

    use super::*;
    use crate::metrics::AgentMetrics;

    #[test]
    fn who_stays_keeps_link_and_place() {
        let metrics = AgentMetrics::register(&Registry::new());
        let links = Links::default();
        let urls = |names: &[&str]| -> Vec<BalancerUrl> {
            names.iter().map(|name| format!("http://{name}").parse().expect("a URL")).collect()
        };
        let become_those = |names: &[&str]| {
            let new = |url: &BalancerUrl| Arc::new(Link::new(url.clone(), &metrics, Instant::now()));
            let (gone, come) = links.become_those(&urls(names), new);
            let names = |links: Vec<Arc<Link>>| -> Vec<_> {
                links.iter().map(|link| link.url.as_str().trim_start_matches("http://").to_owned()).collect()
            };
            (names(links.current().to_vec()), names(gone), names(come))
        };
        let strings = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).into()).collect() };
        for (wanted, now, gone, come) in [
            (&["a", "b"] as &[_], &["a", "b"] as &[_], &[] as &[_], &["a", "b"] as &[_]),
            (&["b", "a"], &["a", "b"], &[], &[]),
            (&["c", "b", "c"], &["b", "c"], &["a"], &["c"]),
            (&[], &[], &["b", "c"], &[]),
        ] {
            assert_eq!(become_those(wanted), (strings(now), strings(gone), strings(come)), "{wanted:?}");
        }
    }
}
