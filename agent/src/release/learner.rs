//! Which requests are at the instance, what follows from the order in which they are answered, and when to probe.
//!
//! The proof is a count. If more requests than there are workers have been taken up by one and are not over, some
//! worker was freed before the end of its response. It can only be one whose response is being sent; those of which
//! that is known already explain as many as they are; and if the rest are of one class, it is one of theirs. The
//! refutation is a request that stays unanswered for longer than such requests take, until a response ends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use sluice_proto::{ClassName, ClassRelease, report::MAX_CLASSES};
use tokio::time::Instant;

use super::{
    class::Class,
    handover::Handover,
    run::{Body, Pending, ProbeOutcome, Run, RunId, Suspect},
};

/// A request that waits for a worker is taken for late after this, or after what its class takes if that is more.
pub(super) const OVERDUE: Duration = Duration::from_secs(1);
/// A response that is being sent for less may be over before anything is found out.
const YOUNG: Duration = Duration::from_millis(50);
/// Free "at the first byte" is what was free within this part of the response's time.
const EARLY: u32 = 3;
/// Responses whose workers are called into doubt by one request that waits: those begun last.
const SUSPECTS: usize = 16;

/// What whoever keeps logs and metrics should hear of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    Probed(ProbeOutcome),
    /// More is known to be free.
    Learned(ClassName),
    /// Something is not free that was taken for it.
    Withdrawn(ClassName),
}

/// Learns when the workers of one instance are free. No clock, no I/O: the caller says what happens, and when.
#[derive(Debug)]
pub(super) struct Learner {
    workers: usize,
    classes: HashMap<ClassName, Class>,
    runs: BTreeMap<RunId, Run>,
    /// Those without an answer.
    asking: BTreeSet<RunId>,
    /// Those whose response is being sent and keeps its place here.
    kept: BTreeSet<RunId>,
    /// Those whose response is being sent and gave its place to another request.
    released: BTreeSet<RunId>,
    probe: Option<Probe>,
    /// Proofs that count if the response goes on for long enough.
    pending: Vec<Pending>,
    news: Vec<News>,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Probe {
    /// A request was told that it may go.
    Granted,
    Asking(RunId),
}

impl Learner {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers,
            classes: HashMap::new(),
            runs: BTreeMap::new(),
            asking: BTreeSet::new(),
            kept: BTreeSet::new(),
            released: BTreeSet::new(),
            probe: None,
            pending: Vec::new(),
            news: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn set_workers(&mut self, workers: usize) {
        self.workers = workers;
    }

    /// Whether a request of this class may be let in though every place is taken. If so it must begin at once.
    ///
    /// Only one that is short and changes nothing (`is_safe`, RFC 9110, 9.2.1), only while no other probe is without
    /// an answer: should no worker be free after all, it waits at the instance as it would have waited here. Also
    /// beside a response that was found out to be free after it had begun.
    pub(super) fn grant(&mut self, class: &ClassName, is_safe: bool, now: Instant) -> bool {
        let is_short = self.classes.get(class).is_some_and(|class| class.usual.is_short());
        let Some(suspect) = self.worth_probing(now).filter(|_| is_safe && is_short) else { return false };
        self.of_mut(&suspect).0.probed(now);
        self.probe = Some(Probe::Granted);
        true
    }

    /// A question of the agent's own, if one is worth asking now.
    pub(super) fn ask(&mut self, now: Instant) -> Option<RunId> {
        let suspect = self.worth_probing(now)?;
        let (handover, length) = self.of_mut(&suspect);
        if handover.is_free(length) {
            return None;
        }
        handover.probed(now);
        Some(self.begin(None, true, now))
    }

    /// A request goes to the instance. `is_probe`: because it was granted.
    pub(super) fn begin(&mut self, class: Option<ClassName>, is_probe: bool, now: Instant) -> RunId {
        self.next += 1;
        let id = RunId(self.next);
        let has_worker = self.runs.len() < self.workers;
        let run = Run { class, begun: now, has_worker, body: None, freed_by: None, verdict: None };
        self.runs.insert(id, run);
        self.asking.insert(id);
        if is_probe {
            self.probe = Some(Probe::Asking(id));
        }
        id
    }

    /// The head of its response came.
    pub(super) fn answered(&mut self, id: RunId, now: Instant) {
        if !self.asking.remove(&id) {
            return;
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        let (time, class) = (now.saturating_duration_since(run.begun), run.class.clone());
        let freed_by = run.freed_by.take();
        let outcome = match run.verdict {
            Some(verdict) => verdict,
            None if run.has_worker => return self.note_time(class.as_ref(), time),
            None => self.weigh(now),
        };
        match (outcome, freed_by) {
            (ProbeOutcome::Answered, _) => self.note_time(class.as_ref(), time),
            (ProbeOutcome::Unclear, Some(suspect)) if self.is_late(class.as_ref(), time) => {
                self.refute(&suspect, now);
                return self.probed(id, ProbeOutcome::Waited);
            }
            _ => {}
        }
        self.probed(id, outcome);
    }

    /// The first byte of its response's body came; `length` as its head says. Returns whether the worker is free.
    pub(super) fn first_byte(&mut self, id: RunId, length: Option<u64>, now: Instant) -> bool {
        let Some(run) = self.runs.get_mut(&id) else { return false };
        run.body = Some(Body { since: now, length });
        let class = run.class.as_ref().and_then(|class| self.classes.get(class));
        let is_free = class.is_some_and(|class| class.is_free(length));
        if is_free {
            self.released.insert(id)
        } else {
            self.kept.insert(id)
        };
        is_free
    }

    /// The last byte of its response came, or none will.
    pub(super) fn ended(&mut self, id: RunId, now: Instant) {
        self.count_pending(now);
        let Some(run) = self.runs.remove(&id) else { return };
        self.asking.remove(&id);
        self.kept.remove(&id);
        self.released.remove(&id);
        self.pending.retain(|pending| pending.run != id);
        self.probed(id, run.verdict.unwrap_or(ProbeOutcome::Unclear));
        let (Some(suspect), Some(body)) = (run.suspect(), run.body) else { return };
        for waiting in self.asking.range(id..) {
            let waiting = self.runs.get_mut(waiting);
            if let Some(waiting) = waiting.filter(|run| !run.has_worker && body.since <= run.begun) {
                waiting.freed_by = Some(suspect.clone());
            }
        }
    }

    /// What time alone tells. To be called several times a second.
    pub(super) fn tend(&mut self, now: Instant) {
        self.count_pending(now);
        for id in self.asking.iter().copied().collect::<Vec<_>>() {
            let Some(run) = self.runs.get(&id).filter(|run| !run.has_worker && run.verdict.is_none()) else {
                continue;
            };
            let waits = now.saturating_duration_since(run.begun);
            if waits >= OVERDUE && self.is_late(run.class.as_ref(), waits) {
                self.judge_overdue(id, now);
            }
        }
    }

    /// Whether one more request would be let in, if it is such a one.
    pub(super) fn is_probe_due(&self, now: Instant) -> bool {
        self.worth_probing(now).is_some()
    }

    /// What was told of since the last call.
    pub(super) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// What balancers are told: one entry for each class of which something is known.
    pub(super) fn claims(&self) -> Vec<ClassRelease> {
        let mut claims: Vec<_> = self.classes.iter().filter_map(|(name, class)| class.claim(name)).collect();
        claims.sort_by(|a, b| a.class.cmp(&b.class));
        claims
    }

    /// The response of which the answer to one more request would say something, or beside which it is known to come.
    fn worth_probing(&self, now: Instant) -> Option<Suspect> {
        if self.kept.is_empty() || self.probe.is_some() || !self.is_full() {
            return None;
        }
        let is_old =
            |id| self.runs.get(id).and_then(|run| run.body).is_some_and(|body| now >= body.since + YOUNG);
        let suspect = self.suspect_kept().filter(|_| self.kept.iter().any(is_old))?;
        let unknown = Class::default();
        let class = self.classes.get(&suspect.class).unwrap_or(&unknown);
        let (handover, length) = class.of(suspect.length);
        (handover.is_free(length) || handover.wants_probe(length, now)).then_some(suspect)
    }

    /// Whether every worker has something, as far as is known.
    fn is_full(&self) -> bool {
        let all_have_one = self.asking.iter().all(|id| self.runs.get(id).is_some_and(|run| run.has_worker));
        all_have_one && self.runs.len() - self.released.len() >= self.workers
    }

    /// The shortest of the responses whose workers are taken for held, if all are of one class.
    fn suspect_kept(&self) -> Option<Suspect> {
        let mut all = self.kept.iter().map(|id| self.runs.get(id).and_then(Run::suspect));
        let first = all.next()??;
        all.try_fold(first, |shortest, other| shortest.shorter(other?))
    }

    /// What it says that a request was answered now, though it did not find a free worker.
    fn weigh(&mut self, now: Instant) -> ProbeOutcome {
        let without =
            self.asking.iter().filter(|id| self.runs.get(id).is_some_and(|run| !run.has_worker)).count();
        let freed = (self.runs.len() - without).saturating_sub(self.workers);
        if freed == 0 {
            return ProbeOutcome::Unclear;
        }
        if freed > self.released.len() {
            return self.prove_later(now);
        }
        self.uphold();
        ProbeOutcome::Answered
    }

    fn prove_later(&mut self, now: Instant) -> ProbeOutcome {
        let since = |id: &RunId| self.runs.get(id).and_then(|run| run.body).map(|body| (body.since, *id));
        let oldest = self.kept.iter().filter_map(since).min();
        let (Some(suspect), Some((since, run))) = (self.suspect_kept(), oldest) else {
            return ProbeOutcome::Unclear;
        };
        let counts_at = since + now.saturating_duration_since(since) * EARLY;
        self.pending.push(Pending { run, suspect, counts_at });
        ProbeOutcome::Answered
    }

    fn count_pending(&mut self, now: Instant) {
        let due: Vec<_> = self.pending.extract_if(.., |pending| now >= pending.counts_at).collect();
        for Pending { suspect, .. } in due {
            let (handover, length) = self.of_mut(&suspect);
            if handover.prove(length) {
                self.news.push(News::Learned(suspect.class));
            }
        }
    }

    /// Some worker was free whose response goes on, and all of those were taken for free.
    fn uphold(&mut self) {
        let Some(suspect) = self.released.last().and_then(|id| self.runs.get(id)).and_then(Run::suspect)
        else {
            return;
        };
        let (handover, _) = self.of_mut(&suspect);
        handover.uphold();
    }

    /// Nobody answered `id` for so long that responses that were being sent when it came must hold their workers.
    pub(super) fn judge_overdue(&mut self, id: RunId, now: Instant) {
        let suspects = self.suspects_of(id);
        let outcome = if suspects.is_empty() { ProbeOutcome::Unclear } else { ProbeOutcome::Waited };
        suspects.iter().for_each(|suspect| self.refute(suspect, now));
        if let Some(run) = self.runs.get_mut(&id) {
            run.verdict = Some(outcome);
        }
    }

    /// The responses that may keep `id` waiting: if those that are taken for holding their workers are enough to
    /// explain it, these alone.
    fn suspects_of(&self, id: RunId) -> Vec<Suspect> {
        let Some(begun) = self.runs.get(&id).map(|run| run.begun) else { return Vec::new() };
        let holds = |other: &RunId| !self.released.contains(other);
        let explained = self.runs.range(..id).filter(|(other, _)| holds(other)).take(self.workers).count()
            == self.workers;
        let sent_before = |run: &Run| run.body.is_some_and(|body| body.since <= begun);
        self.runs
            .range(..id)
            .rev()
            .filter(|(other, run)| sent_before(run) && (!explained || holds(other)))
            .filter_map(|(_, run)| run.suspect())
            .take(SUSPECTS)
            .collect()
    }

    fn refute(&mut self, suspect: &Suspect, now: Instant) {
        // What is about to count was no better.
        self.pending.retain(|pending| pending.suspect.class != suspect.class);
        let (handover, length) = self.of_mut(suspect);
        if handover.refute(length, now) {
            self.news.push(News::Withdrawn(suspect.class.clone()));
        }
    }

    /// The probe is over, if `id` was it.
    fn probed(&mut self, id: RunId, outcome: ProbeOutcome) {
        if self.probe != Some(Probe::Asking(id)) {
            return;
        }
        self.probe = None;
        self.news.push(News::Probed(outcome));
    }

    /// Whether a request that found a free worker would have been answered within `time`.
    fn is_late(&self, class: Option<&ClassName>, time: Duration) -> bool {
        let late_after = match class {
            Some(class) => self.classes.get(class).and_then(|class| class.usual.late_after()),
            None => Some(OVERDUE),
        };
        late_after.is_some_and(|late| time > late)
    }

    fn note_time(&mut self, class: Option<&ClassName>, time: Duration) {
        if let Some(class) = class {
            self.class_mut(class).usual.add(time);
        }
    }

    fn of_mut(&mut self, of: &Suspect) -> (&mut Handover, u64) {
        self.class_mut(&of.class).of_mut(of.length)
    }

    fn class_mut(&mut self, name: &ClassName) -> &mut Class {
        // What balancers learn gives classes new names: those that are in use are soon known again.
        if self.classes.len() >= MAX_CLASSES && !self.classes.contains_key(name) {
            self.classes.clear();
        }
        self.classes.entry(name.clone()).or_default()
    }
}
