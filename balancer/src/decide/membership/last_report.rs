//! An agent's last report again, for a balancer that takes over.

use sluice_proto::{Report, SCHEMA};

use super::{Key, Member};
use crate::decide::sender::Sender;

impl Member {
    /// What its agent said last, without the figures of the window, which are learned already, and whose its name is.
    /// `None`: it has no agent, or one whose name the operator has just freed.
    pub fn last_report(&self, key: &Key) -> Option<(Report, &Sender)> {
        let agent = self.agent.as_ref()?;
        let sender = agent.sender.as_ref()?;
        let (service, name) = key.clone();
        let interval_ms = u32::try_from(agent.interval.as_millis()).unwrap_or(u32::MAX);
        let report = Report {
            schema: SCHEMA,
            name,
            service,
            address: self.target.clone(),
            boot_id: agent.boot_id.clone(),
            seq: agent.seq,
            interval_ms,
            window_ms: interval_ms,
            workers: self.workers,
            release: self.release.clone(),
            mode: agent.mode,
            version_label: agent.version_label.clone(),
            state: agent.state,
            reason: agent.reason.clone(),
            now: agent.now.clone().unwrap_or_default(),
            classes: Vec::new(),
            heavy_urls: Vec::new(),
            classifications: Vec::new(),
            releases: agent.releases.clone(),
            measured: Some(agent.measured.clone()),
            application: agent.application.clone(),
            grant: agent.grant,
            answers_probes: agent.answers_probes,
        };
        Some((report, sender))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::Membership;
    use super::*;

    #[test]
    fn who_gets_the_last_report_knows_the_agent_as_if_it_had_reported() {
        let now = Instant::now();
        let report = |seq: u64| {
            let json = serde_json::json!({
                "schema": 1, "name": "zope-1", "service": "shop", "address": "127.0.0.1:8081", "boot_id": "b",
                "seq": seq, "interval_ms": 500, "window_ms": 500, "workers": 2, "mode": "inline",
                "state": "draining", "reason": "asked to", "version_label": "v2",
                "release": {"point": "first-byte", "found": "configured"}, "now": {"in_flight": 1},
                "answers_probes": true,
            });
            Report::parse(json.to_string().as_bytes()).expect("valid")
        };
        let key: Key = ("shop".parse().expect("a name"), "zope-1".parse().expect("a name"));
        let (mut old, mut new) = (Membership::default(), Membership::default());
        let host = Sender::at([10, 0, 0, 1].into());
        old.report(&report(7), &host, now).expect("the first");
        let (last, sender) = old.get(&key).expect("reported").last_report(&key).expect("it has an agent");
        let again = Report::parse(&serde_json::to_vec(&last).expect("plain data")).expect("valid");
        new.report(&again, sender, now).expect("the first");
        let (known, expected) = (new.get(&key).expect("known"), old.get(&key).expect("known"));
        assert_eq!(known.routing(), expected.routing());
        assert_eq!((known.workers, &known.target), (expected.workers, &expected.target));
        assert!(known.answers_probes() && expected.answers_probes());
        new.report(&report(7), &host, now).expect_err("it was taken in already");
        new.report(&report(8), &host, now).expect("the next of the same boot");
        new.report(&report(9), &Sender::at([10, 0, 0, 2].into()), now)
            .expect_err("the name is the first one's");
    }
}
