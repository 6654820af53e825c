//! Instances that have no agent: as the configuration and its sources want them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sluice_proto::report::{Release, ReleaseFound};

use super::{Key, Member, Membership, Word};
use crate::decide::sources::{Change, Origin, Wanted, reconcile};

impl Membership {
    /// What there is to do until the members are as `wanted`.
    ///
    /// What a source found at the address of an agent is that agent's instance, and not wanted beside it: under two
    /// names it would get twice the requests.
    pub fn changes(&self, mut wanted: BTreeMap<Key, Wanted>) -> Vec<Change> {
        let agents = self.members.iter().filter(|(_, member)| member.agent.is_some());
        let agents: HashMap<_, _> = agents.map(|(key, member)| (&member.target, key)).collect();
        let is_anothers = |key: &Key, wanted: &Wanted| {
            wanted.origin != Origin::Configuration
                && agents.get(&wanted.target).is_some_and(|owner| *owner != key)
        };
        wanted.retain(|key, wanted| !is_anothers(key, wanted));
        let known = self.members.iter().filter_map(|(key, m)| m.wanted.as_ref().map(|wanted| (key, wanted)));
        reconcile(known, wanted)
    }

    /// Adds an instance that has no agent, or changes one: where an agent speaks for it, the configuration has a word
    /// on its workers alone. Whether it is new.
    pub fn set_wanted(&mut self, key: &Key, wanted: Wanted) -> bool {
        let (target, workers) = (wanted.target.clone(), wanted.workers);
        let release = Release { point: wanted.release, found: ReleaseFound::Configured };
        if let Some(member) = self.get_mut(key) {
            member.wanted = Some(wanted);
            if member.agent.is_none() {
                (member.target, member.workers, member.release) = (target, workers, release);
            }
            return false;
        }
        let id = self.fresh_id();
        let operator = self.remembered.remove(key).unwrap_or_default();
        let member = Member { id, target, workers, wanted: Some(wanted), release, operator, agent: None };
        self.members.insert(key.clone(), Arc::new(member));
        true
    }

    /// An instance is wanted no more. Returns it if it is gone with that: if no agent speaks for it. The operator's
    /// word on it is kept for its return.
    pub fn forget_wanted(&mut self, key: &Key) -> Option<Arc<Member>> {
        let member = self.get_mut(key)?;
        member.wanted = None;
        if member.agent.is_some() {
            return None;
        }
        let member = self.remove(key)?;
        if member.operator != Word::Ready {
            self.remembered.insert(key.clone(), member.operator);
        }
        Some(member)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use sluice_proto::report::ReleasePoint;
    use sluice_proto::{Report, ServiceName, State};

    use super::*;
    use crate::decide::membership::Routing;
    use crate::decide::sender::Sender;
    use crate::decide::sources::Standing;

    fn key(name: &str) -> Key {
        (ServiceName::default(), name.parse().expect("a name"))
    }

    fn found(address: &str, standing: Standing) -> Wanted {
        Wanted {
            target: address.parse().expect("a target"),
            workers: 2,
            release: ReleasePoint::End,
            origin: Origin::Source("kubernetes:default/zope".into()),
            standing,
        }
    }

    fn report(name: &str, address: &str) -> Report {
        let json = serde_json::json!({
            "schema": 1, "name": name, "address": address, "boot_id": "a", "seq": 1,
            "interval_ms": 1000, "window_ms": 1000, "workers": 3, "mode": "inline", "state": State::Ready,
            "release": {"point": "end", "found": "assumed"}, "now": {},
        });
        Report::parse(json.to_string().as_bytes()).expect("valid")
    }

    fn bring(members: &mut Membership, wanted: &BTreeMap<Key, Wanted>) -> usize {
        let changes = members.changes(wanted.clone());
        let count = changes.len();
        for change in changes {
            match change {
                Change::Set(key, wanted) => drop(members.set_wanted(&key, wanted)),
                Change::Drop(key, _) => drop(members.forget_wanted(&key)),
            }
        }
        count
    }

    /// A pod has an agent, and its service's endpoints say so too: it is one instance, whatever it is called.
    #[test]
    fn what_has_an_agent_is_not_found_a_second_time() {
        let (start, host) = (Instant::now(), Sender::at([10, 0, 0, 1].into()));
        let mut members = Membership::default();
        let wanted = BTreeMap::from([(key("pod-1"), found("10.0.0.1:80", Standing::Serving))]);
        assert_eq!(bring(&mut members, &wanted), 1);
        members.report(&report("zope-1", "10.0.0.1:80"), &host, start).expect("nobody else speaks for it");
        assert_eq!(bring(&mut members, &wanted), 1, "the agent's word goes first");
        assert!(members.get(&key("pod-1")).is_none());
        assert_eq!(bring(&mut members, &wanted), 0);
        members.expire(start + Duration::from_secs(10), |_, _| None);
        assert_eq!(bring(&mut members, &wanted), 1, "without the agent it is what the source has");
        assert!(members.get(&key("pod-1")).is_some_and(|member| member.workers == 2));
    }

    #[test]
    fn an_agent_of_the_same_name_speaks_for_what_was_found() {
        let (start, host) = (Instant::now(), Sender::at([10, 0, 0, 1].into()));
        let mut members = Membership::default();
        let mut wanted = BTreeMap::from([(key("pod-1"), found("10.0.0.1:80", Standing::NotReady))]);
        bring(&mut members, &wanted);
        members.report(&report("pod-1", "10.0.0.1:8100"), &host, start).expect("its own");
        let member = members.get(&key("pod-1")).expect("there").clone();
        assert_eq!(
            (member.workers, member.target.as_str(), member.routing()),
            (3, "10.0.0.1:8100", Routing::Routed)
        );
        wanted.clear();
        bring(&mut members, &wanted);
        assert!(members.get(&key("pod-1")).is_some(), "its agent still speaks for it");
    }

    #[test]
    fn who_found_it_says_whether_it_gets_requests_and_the_operator_goes_first() {
        let mut members = Membership::default();
        for (standing, word, says) in [
            (Standing::Serving, Word::Ready, None),
            (Standing::NotReady, Word::Ready, Some("kubernetes:default/zope says that it is not ready")),
            (Standing::Terminating, Word::Ready, Some("kubernetes:default/zope says that it is terminating")),
            (Standing::Serving, Word::Drain, Some("drained by the operator")),
        ] {
            bring(&mut members, &BTreeMap::from([(key("a"), found("10.0.0.1:80", standing))]));
            members.operate(&key("a"), word);
            let expected = says.map_or(Routing::Routed, |says| Routing::Excluded(says.to_owned()));
            assert_eq!(members.get(&key("a")).map(Member::routing), Some(expected), "{standing:?} {word:?}");
        }
        bring(&mut members, &BTreeMap::new());
        bring(&mut members, &BTreeMap::from([(key("a"), found("10.0.0.1:80", Standing::Serving))]));
        let back = members.get(&key("a")).map(|member| member.operator);
        assert_eq!(back, Some(Word::Drain), "the operator's word holds when it returns");
    }
}
