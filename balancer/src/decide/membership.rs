//! Who belongs to the site, in which state, and by whose word.

mod binding;
mod last_report;
mod wanted;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_proto::report::{Mode, Now, Release};
use sluice_proto::{
    ApplicationLoad, BootId, ClassRelease, InstanceName, Measured, Report, ServiceName, State, Target,
};

use crate::decide::dispatch::InstanceId;
use crate::decide::foreign::Foreign;
use crate::decide::lease::{self, Knowledge};
use crate::decide::sender::{Misplaced, Sender};
use crate::decide::sources::{Standing, Wanted};

/// Where an instance is found: names are unique within a service.
pub type Key = (ServiceName, InstanceName);

/// One instance and all that is known of it but its traffic.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: InstanceId,
    pub target: Target,
    pub workers: u32,
    /// As the configuration or one of its sources has it, if they do.
    pub wanted: Option<Wanted>,
    pub release: Release,
    pub operator: Word,
    /// What its agent says; `None` for an instance that has none.
    pub agent: Option<AgentWord>,
}

/// The last report, without the measurements.
#[derive(Clone, Debug)]
pub struct AgentWord {
    /// Whose word it is; `None` once the operator has let the name go.
    pub sender: Option<Sender>,
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
    /// Workers that this balancer may count on, if others share the instance.
    pub grant: Option<u32>,
    answers_probes: bool,
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
pub enum Rejected {
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    #[error(transparent)]
    Stale(#[from] Stale),
}

/// Why a report of the right sender is no news.
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
    /// Shared with those who look at all of them, so that none is copied for that.
    members: HashMap<Key, Arc<Member>>,
    /// Words that were given to an earlier process, on instances that have not come yet.
    remembered: HashMap<Key, Word>,
    next_id: u64,
}

impl Membership {
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Member>> {
        self.members.remove(key)
    }

    /// Takes in a report. A first one registers the instance, and binds its name to the sender.
    ///
    /// # Errors
    /// [`Rejected`] if it is not this sender's to say, or late, repeated or out of order; nothing is changed then.
    pub fn report(&mut self, report: &Report, sender: &Sender, now: Instant) -> Result<Accepted, Rejected> {
        let key = (report.service.clone(), report.name.clone());
        self.admit(&key, report, sender, now)?;
        let word = |earlier_boots, foreign| AgentWord::new(report, sender, earlier_boots, foreign, now);
        let Some(member) = self.members.get_mut(&key).map(Arc::make_mut) else {
            let word = word(Vec::new(), Foreign::default());
            return Ok(Accepted::Registered(self.register(key, report, word)));
        };
        let (earlier_boots, restarted) = match &member.agent {
            Some(agent) => agent.succession(report)?,
            None => (Vec::new(), false),
        };
        member.target = report.address.clone();
        member.workers = report.workers;
        member.release = report.release.clone();
        let foreign = member.agent.as_ref().map_or_else(Foreign::default, |agent| agent.foreign);
        member.agent = Some(word(earlier_boots, foreign));
        let accepted = if restarted { Accepted::Restarted } else { Accepted::Updated };
        Ok(accepted(member.id))
    }

    fn register(&mut self, key: Key, report: &Report, word: AgentWord) -> InstanceId {
        let id = self.fresh_id();
        let member = Member {
            id,
            target: report.address.clone(),
            workers: report.workers,
            wanted: None,
            release: report.release.clone(),
            operator: self.remembered.remove(&key).unwrap_or_default(),
            agent: Some(word),
        };
        self.members.insert(key, Arc::new(member));
        id
    }

    /// Nobody could be heard for so long: no agent was silent in that time.
    pub fn forgive(&mut self, silence: Duration, now: Instant) {
        for agent in self.members.values_mut().filter_map(|member| Arc::make_mut(member).agent.as_mut()) {
            agent.received = (agent.received + silence).min(now);
        }
    }

    /// Removes the instances whose lease has ended, or whose address another has taken over. `last_success` tells when
    /// an instance last answered a request.
    pub fn expire(
        &mut self,
        now: Instant,
        last_success: impl Fn(&Key, InstanceId) -> Option<Instant>,
    ) -> Vec<(Key, Arc<Member>)> {
        let (spoken_for, silent): (Vec<_>, Vec<_>) =
            self.members.values().partition(|member| member.is_spoken_for(now));
        let silent: HashSet<_> = silent.iter().map(|member| &member.target).collect();
        let taken_over: HashSet<_> =
            spoken_for.iter().map(|member| &member.target).filter(|target| silent.contains(target)).collect();
        let ended = |key: &Key, member: &Member| {
            member.agent.as_ref().is_some_and(|agent| {
                // What answers there now is another instance.
                let succeeded = !member.is_spoken_for(now) && taken_over.contains(&member.target);
                let alive = |success| lease::is_alive(agent.received, success, agent.interval, now);
                succeeded || (!alive(None) && !alive(last_success(key, member.id)))
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

    /// Instances that get requests, and whose agents missed two reports: nothing bad in itself.
    pub fn silent(&self, now: Instant) -> impl Iterator<Item = (&Key, &Arc<Member>)> {
        self.members.iter().filter(move |(_, member)| {
            member.routing() == Routing::Routed
                && member.agent.as_ref().is_some_and(|agent| agent.is_silent(now))
        })
    }

    /// Sets the operator's word; `None` if there is no such instance.
    pub fn operate(&mut self, key: &Key, word: Word) -> Option<&Member> {
        let member = self.get_mut(key)?;
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
        let Some(agent) = self.get_mut(key).and_then(|m| m.agent.as_mut()) else { return 0 };
        match &agent.now {
            Some(now) => agent.foreign.report(now.in_flight, own),
            None => agent.foreign.unknown(),
        }
    }

    pub fn get(&self, key: &Key) -> Option<&Member> {
        self.members.get(key).map(Arc::as_ref)
    }

    fn get_mut(&mut self, key: &Key) -> Option<&mut Member> {
        self.members.get_mut(key).map(Arc::make_mut)
    }

    /// In no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Member>)> {
        self.members.iter()
    }

    fn fresh_id(&mut self) -> InstanceId {
        self.next_id += 1;
        InstanceId(self.next_id)
    }
}

impl AgentWord {
    fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.received) > self.interval * lease::SILENT_AFTER
    }

    fn new(
        report: &Report,
        sender: &Sender,
        earlier_boots: Vec<BootId>,
        foreign: Foreign,
        now: Instant,
    ) -> Self {
        let measured = report.measured();
        Self {
            sender: Some(sender.clone()),
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
            grant: report.grant,
            answers_probes: report.answers_probes,
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

    /// Whether it answered a request within the last of its agent's intervals.
    pub fn has_answered(&self, last_success: Option<Instant>, now: Instant) -> bool {
        let interval = self.agent.as_ref().map_or(Duration::ZERO, |agent| agent.interval);
        last_success.is_some_and(|at| now.saturating_duration_since(at) <= interval)
    }

    /// What its agent calls the version of the application; empty if nobody says.
    pub fn version(&self) -> &str {
        self.agent.as_ref().and_then(|agent| agent.version_label.as_deref()).unwrap_or_default()
    }

    /// Whether requests reach it through its agent.
    pub fn is_behind_agent(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.mode == Mode::Inline)
    }

    /// Whether its agent, which requests reach it through, says by itself that it runs.
    pub fn answers_probes(&self) -> bool {
        self.is_behind_agent() && self.agent.as_ref().is_some_and(|agent| agent.answers_probes)
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
            (Word::Ready, None) => self.standing(),
        }
    }

    /// Whether it gets requests by the word of whoever found it.
    fn standing(&self) -> Routing {
        let Some(wanted) = &self.wanted else { return Routing::Routed };
        match wanted.standing {
            Standing::Serving => Routing::Routed,
            Standing::NotReady => Routing::Excluded(format!("{} says that it is not ready", wanted.origin)),
            Standing::Terminating => {
                Routing::Excluded(format!("{} says that it is terminating", wanted.origin))
            }
        }
    }
}

#[cfg(test)]
mod tests;
