//! Who belongs to the site, in which state, and by whose word.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_proto::report::{Mode, Now, Release, ReleaseFound, ReleasePoint};
use sluice_proto::{
    ApplicationLoad, BootId, ClassRelease, InstanceName, Measured, Report, ServiceName, State, Target,
};

use crate::decide::dispatch::InstanceId;
use crate::decide::foreign::Foreign;
use crate::decide::lease::{self, Knowledge};

/// Where an instance is found: names are unique within a service.
pub type Key = (ServiceName, InstanceName);

/// One instance and all that is known of it but its traffic.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: InstanceId,
    pub target: Target,
    pub workers: u32,
    /// Workers by the configuration, if it knows the instance.
    pub configured: Option<u32>,
    pub release: Release,
    pub operator: Word,
    /// What its agent says; `None` for an instance from the configuration.
    pub agent: Option<AgentWord>,
}

/// The last report, without the measurements.
#[derive(Clone, Debug)]
pub struct AgentWord {
    pub boot_id: BootId,
    /// Boots before this one: their late reports are not news.
    earlier_boots: Vec<BootId>,
    pub seq: u64,
    pub received: Instant,
    pub interval: Duration,
    pub mode: Mode,
    pub state: State,
    pub reason: Option<String>,
    pub version_label: Option<String>,
    pub measured: Measured,
    /// `None`: it does not know the present, as one that is told of requests when they are over.
    pub now: Option<Now>,
    pub foreign: Foreign,
    /// What the application says of itself.
    pub application: Option<ApplicationLoad>,
    releases: Vec<ClassRelease>,
}

/// The operator's word on an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// As its agent says.
    #[default]
    Ready,
    /// Finish what is under way, take nothing new.
    Drain,
    /// As drain, and expected to be down.
    Maintenance,
}

/// Why a report changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    #[error("report {got} of this boot is not newer than {last}")]
    Sequence { got: u64, last: u64 },
    #[error("the report is of an earlier boot of the agent")]
    EarlierBoot,
}

/// Whether requests may be sent to an instance, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    Routed,
    Excluded(String),
}

/// What a report did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    Registered(InstanceId),
    Restarted(InstanceId),
    Updated(InstanceId),
}

impl Accepted {
    pub fn id(self) -> InstanceId {
        match self {
            Self::Registered(id) | Self::Restarted(id) | Self::Updated(id) => id,
        }
    }
}

/// Boots that are remembered per agent.
const EARLIER_BOOTS: usize = 4;

/// All instances of all services.
#[derive(Debug, Default)]
pub struct Membership {
    members: HashMap<Key, Member>,
    /// Words that were given to an earlier process, on instances that have not come yet.
    remembered: HashMap<Key, Word>,
    next_id: u64,
}

impl Membership {
    /// Adds an instance that has no agent.
    pub fn add_static(&mut self, key: Key, target: Target, workers: u32, point: ReleasePoint) -> InstanceId {
        let id = self.fresh_id();
        let release = Release { point, found: ReleaseFound::Configured };
        let operator = self.remembered.remove(&key).unwrap_or_default();
        let configured = Some(workers);
        self.members.insert(key, Member { id, target, workers, configured, release, operator, agent: None });
        id
    }

    /// Takes in a report. A first one registers the instance.
    ///
    /// # Errors
    /// [`Stale`] if it is late, repeated or out of order; nothing is changed then.
    pub fn report(&mut self, report: &Report, now: Instant) -> Result<Accepted, Stale> {
        let key = (report.service.clone(), report.name.clone());
        let Some(member) = self.members.get_mut(&key) else {
            return Ok(Accepted::Registered(self.register(key, report, now)));
        };
        let (earlier_boots, restarted) = match &member.agent {
            Some(agent) => agent.succession(report)?,
            None => (Vec::new(), false),
        };
        member.target = report.address.clone();
        member.workers = report.workers;
        member.release = report.release.clone();
        let foreign = member.agent.as_ref().map_or_else(Foreign::default, |agent| agent.foreign);
        member.agent = Some(AgentWord::new(report, earlier_boots, foreign, now));
        let accepted = if restarted { Accepted::Restarted } else { Accepted::Updated };
        Ok(accepted(member.id))
    }

    fn register(&mut self, key: Key, report: &Report, now: Instant) -> InstanceId {
        let id = self.fresh_id();
        let member = Member {
            id,
            target: report.address.clone(),
            workers: report.workers,
            configured: None,
            release: report.release.clone(),
            operator: self.remembered.remove(&key).unwrap_or_default(),
            agent: Some(AgentWord::new(report, Vec::new(), Foreign::default(), now)),
        };
        self.members.insert(key, member);
        id
    }

    /// Removes the instances whose lease has ended. `last_success` tells when an instance last
    /// answered a request.
    pub fn expire(
        &mut self,
        now: Instant,
        last_success: impl Fn(&Key, InstanceId) -> Option<Instant>,
    ) -> Vec<(Key, Member)> {
        let ended = |key: &Key, member: &Member| {
            member.agent.as_ref().is_some_and(|agent| {
                !lease::is_alive(agent.received, last_success(key, member.id), agent.interval, now)
            })
        };
        let gone: Vec<_> = self.members.iter().filter(|(k, m)| ended(k, m)).map(|(k, _)| k.clone()).collect();
        let gone: Vec<_> = gone.into_iter().filter_map(|key| self.members.remove_entry(&key)).collect();
        // An instance in maintenance is down for longer than its lease, and still is in maintenance
        // when it comes back.
        let spoken_of = gone.iter().filter(|(_, member)| member.operator != Word::Ready);
        self.remembered.extend(spoken_of.map(|(key, member)| (key.clone(), member.operator)));
        gone
    }

    /// Sets the operator's word; `None` if there is no such instance.
    pub fn operate(&mut self, key: &Key, word: Word) -> Option<&Member> {
        let member = self.members.get_mut(key)?;
        member.operator = word;
        Some(member)
    }

    /// The word on an instance that is to come.
    pub fn remember(&mut self, key: Key, word: Word) {
        self.remembered.insert(key, word);
    }

    /// The operator's words that say more than [`Word::Ready`].
    pub fn words(&self) -> impl Iterator<Item = (&Key, Word)> {
        let members = self.members.iter().map(|(key, member)| (key, member.operator));
        let all = members.chain(self.remembered.iter().map(|(key, word)| (key, *word)));
        all.filter(|(_, word)| *word != Word::Ready)
    }

    /// An instance's last report is held against `own`, the workers that this balancer's requests
    /// hold there. Returns those that others hold.
    pub fn compare(&mut self, key: &Key, own: u32) -> u32 {
        let Some(agent) = self.members.get_mut(key).and_then(|m| m.agent.as_mut()) else { return 0 };
        match &agent.now {
            Some(now) => agent.foreign.report(now.in_flight, own),
            None => agent.foreign.unknown(),
        }
    }

    pub fn get(&self, key: &Key) -> Option<&Member> {
        self.members.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Member)> {
        self.members.iter()
    }

    fn fresh_id(&mut self) -> InstanceId {
        self.next_id += 1;
        InstanceId(self.next_id)
    }
}

impl AgentWord {
    fn new(report: &Report, earlier_boots: Vec<BootId>, foreign: Foreign, now: Instant) -> Self {
        let measured = report.measured();
        Self {
            boot_id: report.boot_id.clone(),
            earlier_boots,
            seq: report.seq,
            received: now,
            interval: Duration::from_millis(report.interval_ms.into()),
            mode: report.mode,
            state: report.state,
            reason: report.reason.clone(),
            version_label: report.version_label.clone(),
            now: measured.in_flight.is_known().then(|| report.now.clone()),
            measured,
            foreign,
            application: report.application.clone(),
            releases: report.releases.clone(),
        }
    }

    /// Whether `report` may follow this one: the earlier boots to remember, and whether the agent
    /// was restarted.
    fn succession(&self, report: &Report) -> Result<(Vec<BootId>, bool), Stale> {
        if report.boot_id == self.boot_id {
            let newer = report.seq > self.seq;
            let stale = Stale::Sequence { got: report.seq, last: self.seq };
            return if newer { Ok((self.earlier_boots.clone(), false)) } else { Err(stale) };
        }
        if self.earlier_boots.contains(&report.boot_id) {
            return Err(Stale::EarlierBoot);
        }
        let mut earlier = self.earlier_boots.clone();
        earlier.insert(0, self.boot_id.clone());
        earlier.truncate(EARLIER_BOOTS);
        Ok((earlier, true))
    }
}

impl Member {
    /// How much of what the agent said is still to be believed.
    pub fn knowledge(&self, now: Instant) -> Knowledge {
        let agent = self.agent.as_ref();
        let interval = agent.map_or(Duration::ZERO, |agent| agent.interval);
        lease::knowledge(agent.map(|agent| agent.received), interval, now)
    }

    /// Whether requests reach it through its agent.
    pub fn is_behind_agent(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.mode == Mode::Inline)
    }

    /// What is believed of when its workers are free, by class: what its agent said of late, if the agent is where it
    /// can know that.
    pub fn releases(&self, now: Instant) -> &[ClassRelease] {
        let is_believed = self.is_behind_agent() && self.knowledge(now) == Knowledge::Fresh;
        self.agent.as_ref().filter(|_| is_believed).map_or(&[], |agent| &agent.releases)
    }

    /// Whether it gets requests. Old reports exclude nobody: an agent that fell silent while
    /// "ready" stays in, and one that said "down" stays out until it says otherwise or is forgotten.
    pub fn routing(&self) -> Routing {
        let because = |agent: &AgentWord, what: &str| match &agent.reason {
            Some(reason) => Routing::Excluded(format!("its agent says {what}: {reason}")),
            None => Routing::Excluded(format!("its agent says {what}")),
        };
        match (self.operator, &self.agent) {
            (Word::Drain, _) => Routing::Excluded("drained by the operator".to_owned()),
            (Word::Maintenance, _) => Routing::Excluded("in maintenance by the operator's word".to_owned()),
            (Word::Ready, Some(agent)) => match agent.state {
                State::Ready => Routing::Routed,
                State::Draining => because(agent, "draining"),
                State::Down => because(agent, "down"),
            },
            (Word::Ready, None) => Routing::Routed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(boot: &str, seq: u64, state: &str) -> Report {
        let json = serde_json::json!({
            "schema": 1, "name": "zope-1", "address": "127.0.0.1:8081", "boot_id": boot, "seq": seq,
            "interval_ms": 1000, "window_ms": 1000, "workers": 2, "mode": "inline", "state": state,
            "release": {"point": "end", "found": "assumed"}, "now": {},
        });
        Report::parse(json.to_string().as_bytes()).expect("valid")
    }

    fn key() -> Key {
        (ServiceName::default(), "zope-1".parse().expect("a name"))
    }

    #[test]
    fn late_repeated_and_reordered_reports_change_nothing() {
        let now = Instant::now();
        let mut members = Membership::default();
        let steps = [
            ("a", 5, Ok("registered")),
            ("a", 5, Err("repeated")),
            ("a", 4, Err("reordered")),
            ("a", 9, Ok("updated")),
            ("b", 1, Ok("restarted")),
            ("a", 10, Err("earlier boot")),
            ("b", 2, Ok("updated")),
        ];
        for (boot, seq, expected) in steps {
            let result = members.report(&report(boot, seq, "ready"), now);
            let outcome = match result {
                Ok(Accepted::Registered(_)) => Ok("registered"),
                Ok(Accepted::Restarted(_)) => Ok("restarted"),
                Ok(Accepted::Updated(_)) => Ok("updated"),
                Err(Stale::Sequence { got, last }) if got == last => Err("repeated"),
                Err(Stale::Sequence { .. }) => Err("reordered"),
                Err(Stale::EarlierBoot) => Err("earlier boot"),
            };
            assert_eq!(outcome, expected, "{boot} {seq}");
        }
        assert_eq!(members.get(&key()).and_then(|m| m.agent.as_ref()).map(|a| a.seq), Some(2));
    }

    #[test]
    fn release_points_of_classes_are_believed_for_as_long_as_an_agent_in_the_way_repeats_them() {
        let start = Instant::now();
        for (mode, age_ms, believed) in
            [(Mode::Inline, 2_999, 1), (Mode::Inline, 3_001, 0), (Mode::Passive, 0, 0)]
        {
            let claim = r#"{"class": "GET /a", "point": "first-byte", "found": "learned", "up_to_bytes": 9}"#;
            let claim: ClassRelease = serde_json::from_str(claim).expect("valid");
            let mut members = Membership::default();
            let said = Report { mode, releases: vec![claim], ..report("a", 1, "ready") };
            members.report(&said, start).expect("news");
            let at = start + Duration::from_millis(age_ms);
            let member = members.get(&key()).expect("known");
            assert_eq!(member.releases(at).len(), believed, "{mode:?} {age_ms}");
            members.report(&report("a", 2, "ready"), at).expect("news");
            assert!(members.get(&key()).expect("known").releases(at).is_empty(), "not said again");
        }
    }

    #[test]
    fn workers_of_others_are_heeded_only_where_the_agent_knows_the_present() {
        for (mode, measured, foreign) in [
            ("inline", serde_json::json!(null), 2),
            ("inline", serde_json::json!({"in_flight": "unmeasured"}), 0),
            ("passive", serde_json::json!(null), 0),
            ("passive", serde_json::json!({"by": ["access-log"], "held_us": "estimated"}), 0),
            ("passive", serde_json::json!({"by": ["metrics"], "in_flight": "measured"}), 2),
        ] {
            let mut members = Membership::default();
            let mut said = 0;
            for seq in 1..=6 {
                let mut report = report("a", seq, "ready");
                report.mode = serde_json::from_value(mode.into()).expect("a mode");
                report.measured = serde_json::from_value(measured.clone()).expect("which were measured");
                report.now.in_flight = 3;
                members.report(&report, Instant::now()).expect("news");
                said = members.compare(&key(), 1);
            }
            assert_eq!(said, foreign, "{mode} {measured}");
        }
    }

    #[test]
    fn the_lease_ends_after_ten_silent_intervals_and_static_ones_have_none() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut members = Membership::default();
        let other = (ServiceName::default(), "static".parse().expect("a name"));
        members.add_static(other.clone(), "127.0.0.1:1".parse().expect("a target"), 1, ReleasePoint::End);
        let id = members.report(&report("a", 1, "ready"), start).expect("first").id();
        assert!(members.expire(at(9_999), |_, _| None).is_empty());
        assert!(members.expire(at(12_000), |_, _| Some(at(5_000))).is_empty(), "it answered since");
        let gone = members.expire(at(15_000), |_, _| Some(at(5_000)));
        assert_eq!(gone.iter().map(|(_, m)| m.id).collect::<Vec<_>>(), [id]);
        assert!(members.get(&other).is_some());
        let again = members.report(&report("a", 2, "ready"), at(16_000)).expect("news");
        assert!(matches!(again, Accepted::Registered(new) if new != id), "an id is never used twice");
    }

    #[test]
    fn maintenance_outlives_the_lease() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut members = Membership::default();
        members.report(&report("a", 1, "ready"), start).expect("first");
        members.operate(&key(), Word::Maintenance).expect("known");
        assert_eq!(members.expire(at(20_000), |_, _| None).len(), 1);
        members.report(&report("b", 1, "ready"), at(60_000)).expect("it is back");
        let routing = members.get(&key()).expect("known").routing();
        assert!(matches!(routing, Routing::Excluded(_)), "{routing:?}");
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let now = Instant::now();
        for (state, word, routed) in [
            ("ready", Word::Ready, true),
            ("draining", Word::Ready, false),
            ("down", Word::Ready, false),
            ("ready", Word::Drain, false),
            ("ready", Word::Maintenance, false),
        ] {
            let mut members = Membership::default();
            members.report(&report("a", 1, state), now).expect("first");
            members.operate(&key(), word).expect("known");
            members.report(&report("a", 2, state), now).expect("a report does not undo it");
            let routing = members.get(&key()).expect("known").routing();
            assert_eq!(routing == Routing::Routed, routed, "{state} {word:?}: {routing:?}");
        }
    }
}
