//! The learner beside a modelled server, of which it is known what is true.

use std::{collections::VecDeque, time::Duration};

use sluice_proto::ClassName;
use tokio::time::Instant;

use super::super::{
    RunId,
    learner::{Learner, News},
};

/// What a class's requests do, in milliseconds.
struct Kind {
    class: ClassName,
    is_safe: bool,
    until_head: u64,
    sending: u64,
    length: Option<u64>,
    /// The worker is free at the first byte.
    is_free: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Queued,
    Working { head_at: u64 },
    Sending { ends_at: u64 },
}

struct Request {
    run: RunId,
    /// `None`: the agent's own question, which takes a millisecond.
    kind: Option<usize>,
    stage: Stage,
    begun: u64,
    is_probe: bool,
    released: bool,
}

struct Model {
    start: Instant,
    learner: Learner,
    workers: usize,
    kinds: Vec<Kind>,
    /// At the server, in the order in which they came.
    inside: Vec<Request>,
    /// At the gate.
    waiting: VecDeque<usize>,
    probes: usize,
    wrong: Vec<String>,
}

impl Model {
    fn random(rng: &mut fastrand::Rng) -> Self {
        let kind = |index: usize, rng: &mut fastrand::Rng| Kind {
            class: ClassName::parse(&format!("GET /{index}")).expect("a valid name"),
            is_safe: rng.u8(..4) > 0,
            until_head: rng.u64(1..30),
            sending: [0, rng.u64(0..4000), rng.u64(1000..4000)][rng.usize(..3)],
            length: rng.bool().then_some(1000),
            is_free: rng.bool(),
        };
        let workers = rng.usize(1..4);
        Self {
            start: Instant::now(),
            learner: Learner::new(workers),
            workers,
            kinds: (0..rng.usize(2..5)).map(|index| kind(index, rng)).collect(),
            inside: vec![],
            waiting: VecDeque::new(),
            probes: 0,
            wrong: vec![],
        }
    }

    fn now(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Requests that have a place at the gate; a probe takes over the first that is given back.
    fn taken(&self) -> usize {
        self.inside.iter().filter(|request| request.kind.is_some() && !request.released).count()
    }

    fn send(&mut self, kind: Option<usize>, run: RunId, is_probe: bool, ms: u64) {
        let request = Request { run, kind, stage: Stage::Queued, begun: ms, is_probe, released: false };
        self.inside.push(request);
        let probes = self.inside.iter().filter(|request| request.is_probe).count();
        self.probes = self.probes.max(probes);
    }

    fn step(&mut self, ms: u64) {
        let now = self.now(ms);
        self.end_what_ends(ms);
        self.let_in(ms);
        if let Some(run) = self.learner.ask(now) {
            self.send(None, run, true, ms);
        }
        self.serve(ms);
        if ms.is_multiple_of(200) {
            self.learner.tend(now);
        }
    }

    fn let_in(&mut self, ms: u64) {
        let now = self.now(ms);
        while self.taken() < self.workers
            && let Some(kind) = self.waiting.pop_front()
        {
            let run = self.learner.begin(Some(self.kinds[kind].class.clone()), false, now);
            self.send(Some(kind), run, false, ms);
        }
        for place in 0..self.waiting.len() {
            let Kind { class, is_safe, .. } = &self.kinds[self.waiting[place]];
            if !self.learner.grant(class, *is_safe, now) {
                continue;
            }
            if !is_safe {
                self.wrong.push(format!("{class} was let in at {ms}"));
            }
            let run = self.learner.begin(Some(class.clone()), true, now);
            let kind = self.waiting.remove(place);
            return self.send(kind, run, true, ms);
        }
    }

    /// Workers take requests up in the order in which they came.
    fn serve(&mut self, ms: u64) {
        let holds = |request: &&Request| match (request.stage, request.kind) {
            (Stage::Queued, _) => false,
            (Stage::Working { .. }, _) => true,
            (Stage::Sending { .. }, Some(kind)) => !self.kinds[kind].is_free,
            (Stage::Sending { .. }, None) => false,
        };
        let mut free = self.workers - self.inside.iter().filter(holds).count();
        for request in self.inside.iter_mut().filter(|request| request.stage == Stage::Queued) {
            if free == 0 {
                return;
            }
            free -= 1;
            let takes = request.kind.map_or(1, |kind| self.kinds[kind].until_head);
            request.stage = Stage::Working { head_at: ms + takes };
        }
    }

    fn end_what_ends(&mut self, ms: u64) {
        let now = self.now(ms);
        let mut inside = std::mem::take(&mut self.inside);
        inside.retain_mut(|request| {
            if request.kind.is_none() && request.stage == Stage::Queued && ms >= request.begun + 1000 {
                self.learner.judge_overdue(request.run, now);
                self.learner.ended(request.run, now);
                return false;
            }
            if let Stage::Working { head_at } = request.stage
                && ms >= head_at
            {
                self.learner.answered(request.run, now);
                request.is_probe = false;
                let sending = request.kind.map_or(0, |kind| self.kinds[kind].sending);
                request.stage = Stage::Sending { ends_at: ms + sending };
                if let Some(kind) = request.kind.map(|kind| &self.kinds[kind]).filter(|_| sending > 0) {
                    request.released = self.learner.first_byte(request.run, kind.length, now);
                    if request.released && !kind.is_free {
                        self.wrong.push(format!("{} was taken for free at {ms}", kind.class));
                    }
                }
            }
            let over = matches!(request.stage, Stage::Sending { ends_at } if ms >= ends_at);
            if over {
                self.learner.ended(request.run, now);
            }
            !over
        });
        self.inside = inside;
    }
}

/// Random servers, classes and loads: no class whose workers are held is ever taken for free, and those that are free
/// are found out.
#[test]
fn what_is_learned_of_a_modelled_server_is_true() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut learned = 0;
    for _ in 0..30 {
        let mut model = Model::random(&mut rng);
        let pause = rng.u64(5..400);
        for ms in (0..15_000).step_by(2) {
            if rng.u64(..pause) < 2 && model.waiting.len() < 16 {
                model.waiting.push_back(rng.usize(..model.kinds.len()));
            }
            model.step(ms);
        }
        assert_eq!(model.wrong, Vec::<String>::new());
        assert!(model.probes <= 1, "{} probes at a time", model.probes);
        learned += model.learner.take_news().iter().filter(|news| matches!(news, News::Learned(_))).count();
    }
    println!("{learned} classes were learned to be free");
    assert!(learned >= 2, "{learned}");
}
