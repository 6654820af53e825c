//! Whose a name is, and whose an address.

use std::time::Instant;

use sluice_proto::{InstanceName, Report, State};

use super::{AgentWord, Key, Member, Membership};
use crate::decide::lease::{self, Knowledge};
use crate::decide::sender::{Misplaced, Sender};
use crate::decide::sources::Origin;

impl Membership {
    /// Whether the name is the sender's, and the address nobody else's.
    pub(super) fn admit(
        &self,
        key: &Key,
        report: &Report,
        sender: &Sender,
        now: Instant,
    ) -> Result<(), Misplaced> {
        sender.may_be(&report.name)?;
        let member = self.get(key);
        if let Some(member) = member {
            member.admit(sender, &report.name, now)?;
        }
        // Only what is new is looked for: this passes all members.
        if member.is_some_and(|member| member.target == report.address) {
            return Ok(());
        }
        let others = self.members.iter().filter(|(other, _)| *other != key);
        match others.into_iter().find(|(_, other)| other.target == report.address && other.is_spoken_for(now))
        {
            Some((owner, _)) => {
                Err(Misplaced::OtherInstance { address: report.address.clone(), owner: owner.1.clone() })
            }
            None => Ok(()),
        }
    }

    /// Lets go of a name: who reports under it next has it. Whether there is an agent of that name.
    pub fn unbind(&mut self, key: &Key) -> bool {
        let agent = self.get_mut(key).and_then(|member| member.agent.as_mut());
        agent.map(|agent| agent.sender = None).is_some()
    }
}

impl Member {
    /// Whether somebody answers for it: the configuration, or an agent that is neither silent nor gone. What a source
    /// found may have an agent that is yet to report.
    ///
    /// Answered requests do not count here as they do for the lease: they do not tell who answers.
    pub(super) fn is_spoken_for(&self, now: Instant) -> bool {
        let speaks =
            |agent: &AgentWord| agent.state != State::Down && self.knowledge(now) != Knowledge::Unknown;
        let given = || self.wanted.as_ref().is_none_or(|wanted| wanted.origin == Origin::Configuration);
        self.agent.as_ref().map_or_else(given, speaks)
    }

    /// Whether `sender` may speak for it.
    fn admit(&self, sender: &Sender, name: &InstanceName, now: Instant) -> Result<(), Misplaced> {
        let bound = self.agent.as_ref().filter(|_| self.is_spoken_for(now));
        let Some((agent, owner)) = bound.and_then(|agent| Some((agent, agent.sender.as_ref()?))) else {
            return Ok(());
        };
        if owner.shares_with(sender) {
            return Ok(());
        }
        Err(Misplaced::Bound {
            name: name.clone(),
            owner: owner.clone(),
            sender: sender.clone(),
            silence: agent.interval * lease::ENDS_AFTER,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluice_proto::ServiceName;
    use sluice_proto::report::ReleasePoint;

    use super::*;
    use crate::decide::membership::{Accepted, Rejected};
    use crate::decide::sources::{Standing, Wanted};

    /// Seconds into the test, who reports, as what, with which boot and state.
    struct Step(u64, Sender, &'static str, &'static str, State);

    fn host(n: u8) -> Sender {
        Sender::at([10, 0, 0, n].into())
    }

    fn certified(name: &str) -> Sender {
        Sender::Certificate([name.to_owned()].into())
    }

    fn key(name: &str) -> Key {
        (ServiceName::default(), name.parse().expect("a name"))
    }

    fn report(name: &str, address: &str, boot: &str, seq: u64, state: State) -> Report {
        let json = serde_json::json!({
            "schema": 1, "name": name, "address": address, "boot_id": boot, "seq": seq,
            "interval_ms": 1000, "window_ms": 1000, "workers": 2, "mode": "inline", "state": state,
            "release": {"point": "end", "found": "assumed"}, "now": {},
        });
        Report::parse(json.to_string().as_bytes()).expect("valid")
    }

    fn outcome(result: &Result<Accepted, Rejected>) -> &'static str {
        match result {
            Ok(Accepted::Registered(_)) => "registered",
            Ok(Accepted::Restarted(_)) => "restarted",
            Ok(Accepted::Updated(_)) => "updated",
            Err(Rejected::Stale(_)) => "stale",
            Err(Rejected::Misplaced(Misplaced::Certificate { .. })) => "not its name",
            Err(Rejected::Misplaced(Misplaced::Bound { .. })) => "bound",
            Err(Rejected::Misplaced(Misplaced::OtherInstance { .. })) => "other instance",
        }
    }

    #[test]
    fn a_name_is_its_senders_until_that_one_is_silent_for_as_long_as_a_lease_or_down() {
        let (ready, down) = (State::Ready, State::Down);
        let cases: [(&str, Vec<(Step, &str)>); 5] = [
            (
                "another host while the first reports",
                vec![
                    (Step(0, host(1), "zope-1", "a", ready), "registered"),
                    (Step(1, host(2), "zope-1", "b", ready), "bound"),
                    (Step(1, host(2), "zope-1", "a", ready), "bound"),
                    (Step(2, host(1), "zope-1", "a", ready), "updated"),
                    (Step(3, host(1), "zope-1", "c", ready), "restarted"),
                    (Step(11, host(2), "zope-1", "b", ready), "bound"),
                ],
            ),
            (
                "a host that died, and a pod that takes its place",
                vec![
                    (Step(0, host(1), "zope-1", "a", ready), "registered"),
                    (Step(9, host(2), "zope-1", "b", ready), "bound"),
                    (Step(10, host(2), "zope-1", "b", ready), "restarted"),
                    (Step(11, host(1), "zope-1", "a", ready), "bound"),
                ],
            ),
            (
                "a pod that left in order",
                vec![
                    (Step(0, host(1), "zope-1", "a", ready), "registered"),
                    (Step(1, host(1), "zope-1", "a", down), "updated"),
                    (Step(1, host(2), "zope-1", "b", ready), "restarted"),
                    (Step(2, host(1), "zope-1", "a", down), "bound"),
                ],
            ),
            (
                "certificates, wherever they are shown",
                vec![
                    (Step(0, certified("zope-1"), "zope-1", "a", ready), "registered"),
                    (Step(1, certified("zope-1"), "zope-1", "b", ready), "restarted"),
                    (Step(2, certified("zope-2"), "zope-1", "c", ready), "not its name"),
                    (Step(3, host(1), "zope-1", "c", ready), "bound"),
                ],
            ),
            (
                "an old report of the owner's own",
                vec![
                    (Step(0, host(1), "zope-1", "a", ready), "registered"),
                    (Step(1, host(1), "zope-1", "b", ready), "restarted"),
                    (Step(2, host(1), "zope-1", "a", ready), "stale"),
                ],
            ),
        ];
        for (case, steps) in cases {
            let (start, mut members) = (Instant::now(), Membership::default());
            for (number, (Step(at, sender, name, boot, state), expected)) in steps.into_iter().enumerate() {
                let report = report(name, "10.0.0.1:80", boot, number as u64, state);
                let result = members.report(&report, &sender, start + Duration::from_secs(at));
                assert_eq!(outcome(&result), expected, "{case}, at {at} s: {result:?}");
            }
        }
    }

    #[test]
    fn the_operator_frees_a_name_at_once() {
        let (now, mut members) = (Instant::now(), Membership::default());
        let key = key("zope-1");
        assert!(!members.unbind(&key), "there is none");
        let first = report("zope-1", "10.0.0.1:80", "a", 1, State::Ready);
        members.report(&first, &host(1), now).expect("first");
        assert!(members.unbind(&key));
        let moved = report("zope-1", "10.0.0.2:80", "b", 1, State::Ready);
        assert_eq!(outcome(&members.report(&moved, &host(2), now)), "restarted");
        assert_eq!(outcome(&members.report(&first, &host(1), now)), "bound", "it is the other's now");
    }

    #[test]
    fn nobody_gives_out_anothers_address_as_its_own() {
        let (start, mut members) = (Instant::now(), Membership::default());
        let at = |secs| start + Duration::from_secs(secs);
        let target = "10.0.0.9:80".parse().expect("a target");
        let (origin, standing) = (Origin::Configuration, Standing::Serving);
        let wanted = Wanted { target, workers: 1, release: ReleasePoint::End, origin, standing };
        members.set_wanted(&key("static"), wanted);
        for (secs, name, address, seq, expected) in [
            (0, "a", "10.0.0.1:80", 1, "registered"),
            (1, "b", "10.0.0.1:80", 2, "other instance"),
            (1, "b", "10.0.0.2:80", 2, "registered"),
            (2, "b", "10.0.0.1:80", 3, "other instance"),
            (2, "b", "10.0.0.9:80", 3, "other instance"),
            (2, "static", "10.0.0.9:80", 3, "updated"),
            (9, "b", "10.0.0.2:80", 4, "updated"),
            (10, "b", "10.0.0.1:80", 5, "updated"), // a has been silent for ten intervals
        ] {
            let report = report(name, address, "boot", seq, State::Ready);
            let result = members.report(&report, &host(1), at(secs));
            assert_eq!(outcome(&result), expected, "{name} {address} at {secs} s: {result:?}");
        }
        // Answers at that address are b's now, and keep a no longer.
        let gone = members.expire(at(10), |_, _| Some(at(10)));
        assert_eq!(gone.iter().map(|(key, _)| key.1.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let (now, mut members) = (Instant::now(), Membership::default());
        let own = report("zope-1", "10.0.0.1:80", "a", 1, State::Ready);
        members.report(&own, &host(1), now).expect("first");
        let other = report("zope-2", "10.0.0.1:80", "a", 1, State::Ready);
        for (report, sender, parts) in [
            (&own, host(2), ["other_sender", "10.0.0.1", "10.0.0.2", "10s", "/v1/instances/zope-1/unbind"]),
            (&own, certified("x"), ["other_sender", "certificate", "for x", "zope-1", "colon"]),
            (&other, host(2), ["other_instance", "10.0.0.1:80", "zope-1", "--advertise", "--listen"]),
        ] {
            let text = members.report(report, &sender, now).expect_err("refused").to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
}
