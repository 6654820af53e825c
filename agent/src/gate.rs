//! The way to the instance: as many requests at a time as it has workers, a short queue in front.

mod lending;

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use sluice_relay::{Failure, RetryAfter};
use tokio::{
    sync::{Notify, Semaphore, TryAcquireError},
    time::{Instant, timeout},
};

use crate::busy_time::BusyTime;

pub use lending::{give_back, lend};

/// First come, first served. Leaving the queue, by whatever way, gives the place back.
#[derive(Debug)]
pub struct Gate {
    permits: Arc<Permits>,
    /// Changed by [`Gate::resize`] alone.
    workers: AtomicUsize,
    places: AtomicUsize,
    patience_ms: AtomicU64,
    queued: AtomicUsize,
}

/// As many as there are workers.
#[derive(Debug)]
struct Permits {
    free: Semaphore,
    /// Given out beyond those that there are: the next that come back are kept.
    owed: AtomicUsize,
    /// By requests of this process: not those that are lent.
    held: BusyTime,
    /// A successor has those that are not needed here: see [`lending`].
    is_lent: AtomicBool,
    /// As many as it has.
    away: AtomicUsize,
    changed: Notify,
}

/// The right to occupy one worker, until dropped.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
    is_extra: bool,
    asked: Instant,
    since: Instant,
    /// Set by the one who gives it back and knows the time.
    until: Option<Instant>,
}

impl Permit {
    /// It was given out though every worker was taken.
    pub fn is_extra(&self) -> bool {
        self.is_extra
    }

    /// When it was given out.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// For how long it was waited for.
    pub fn waited(&self) -> Duration {
        self.since.saturating_duration_since(self.asked)
    }

    /// Its drop, for one who has just looked at the clock.
    pub fn give_back(mut self, now: Instant) {
        self.until = Some(now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.held.given_back(self.until.unwrap_or_else(Instant::now));
        self.permits.take_back(1);
        self.permits.tell();
    }
}

impl Permits {
    /// `count` come back: to pay what is owed, or to be given out again.
    fn take_back(&self, count: usize) {
        let less = |owed: usize| owed.checked_sub(1);
        let free = (0..count).filter(|_| self.owed.fetch_update(Relaxed, Relaxed, less).is_err()).count();
        self.free.add_permits(free);
    }
}

/// Why a request did not get through. The instance saw nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every place of the queue is taken.
    Full,
    /// It waited for as long as the gate lets wait.
    Timeout,
    /// The agent is about to stop.
    Closed,
}

/// How full it is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    pub workers: usize,
    pub busy: usize,
    pub queued: usize,
}

impl Gate {
    /// `places`: requests that may wait, each for `patience` at most.
    pub fn new(workers: u32, places: u32, patience: Duration) -> Self {
        let workers = workers as usize;
        let this = Self {
            permits: Arc::new(Permits {
                free: Semaphore::new(workers),
                owed: AtomicUsize::new(0),
                held: BusyTime::new(Instant::now()),
                is_lent: AtomicBool::new(false),
                away: AtomicUsize::new(0),
                changed: Notify::new(),
            }),
            workers: AtomicUsize::new(workers),
            places: AtomicUsize::default(),
            patience_ms: AtomicU64::default(),
            queued: AtomicUsize::new(0),
        };
        this.set_queue(places, patience);
        this
    }

    /// Other bounds for those that come from now on.
    pub fn set_queue(&self, places: u32, patience: Duration) {
        self.places.store(places as usize, Relaxed);
        self.patience_ms.store(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Another number of workers, from one caller at a time. Those that are taken beyond it are kept when they come
    /// back.
    pub fn resize(&self, workers: u32) {
        let before = self.workers.swap(workers as usize, Relaxed);
        self.permits.take_back((workers as usize).saturating_sub(before));
        let surplus = before.saturating_sub(workers as usize);
        let forgotten = self.permits.free.forget_permits(surplus);
        self.permits.owed.fetch_add(surplus - forgotten, Relaxed);
    }

    /// A worker, if one is free. `Ok(None)`: it is to be waited for, by [`Self::enter`].
    ///
    /// # Errors
    /// [`Refusal::Closed`].
    pub fn try_enter(&self) -> Result<Option<Permit>, Refusal> {
        // A permit that is given back goes to the one that waited longest, so nobody barges in here.
        match self.permits.free.try_acquire() {
            Ok(permit) => {
                permit.forget();
                let now = Instant::now();
                Ok(Some(self.permit(now, now)))
            }
            Err(TryAcquireError::Closed) => Err(Refusal::Closed),
            Err(TryAcquireError::NoPermits) => Ok(None),
        }
    }

    /// Waits for a worker, or for `extra`, which lets it in though none is free; `extra` is not asked by one that
    /// finds a worker. Dropping the future leaves the queue.
    pub async fn enter(&self, extra: impl Future<Output = ()>) -> Result<Permit, Refusal> {
        if let Some(permit) = self.try_enter()? {
            return Ok(permit);
        }
        let asked = Instant::now();
        let _place = self.take_place()?;
        self.permits.tell();
        let patience = Duration::from_millis(self.patience_ms.load(Relaxed));
        tokio::select! {
            biased;
            acquired = timeout(patience, self.permits.free.acquire()) => match acquired {
                Ok(Ok(permit)) => {
                    permit.forget();
                    Ok(self.permit(asked, Instant::now()))
                }
                Ok(Err(_closed)) => Err(Refusal::Closed),
                Err(_elapsed) => Err(Refusal::Timeout),
            },
            () = self.unless_lent(extra) => {
                self.permits.owed.fetch_add(1, Relaxed);
                let mut permit = self.permit(asked, Instant::now());
                permit.is_extra = true;
                Ok(permit)
            }
        }
    }

    /// Never more than one beyond the workers: whom to let in is the successor's to say, once there is one.
    async fn unless_lent(&self, extra: impl Future<Output = ()>) {
        extra.await;
        if self.permits.is_lent.load(Relaxed) {
            pending::<()>().await;
        }
    }

    /// From now on the drop of what this returns gives back what was taken.
    fn permit(&self, asked: Instant, since: Instant) -> Permit {
        self.permits.held.taken(since);
        Permit { permits: self.permits.clone(), is_extra: false, asked, since, until: None }
    }

    /// Refuses from now on, those that wait as well. Permits already given stay.
    pub fn close(&self) {
        self.permits.free.close();
    }

    pub fn occupancy(&self) -> Occupancy {
        let workers = self.workers.load(Relaxed);
        Occupancy {
            workers,
            // Read one after the other: all may change between.
            busy: (workers + self.permits.owed.load(Relaxed))
                .saturating_sub(self.permits.free.available_permits()),
            queued: self.queued.load(Relaxed),
        }
    }

    /// Time that workers were held, all in all.
    pub fn worker_time(&self, now: Instant) -> Duration {
        self.permits.held.total(now)
    }

    /// Whether no worker is free.
    pub fn is_full(&self) -> bool {
        self.permits.free.available_permits() == 0
    }

    fn take_place(&self) -> Result<Place<'_>, Refusal> {
        let places = self.places.load(Relaxed);
        let one_more = |queued| (queued < places).then_some(queued + 1);
        self.queued
            .fetch_update(Relaxed, Relaxed, one_more)
            .map(|_| Place(&self.queued))
            .map_err(|_| Refusal::Full)
    }
}

/// A place in the queue, until dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::QueueFull(RetryAfter::SOON),
            Refusal::Timeout => Self::QueueTimeout,
            Refusal::Closed => Self::Stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin};

    use tokio::{
        task::{JoinSet, yield_now},
        time::{Instant, sleep},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Requests come, work, and give up at random; whatever happens, no more than `workers` are inside.
    #[tokio::test(start_paused = true)]
    async fn never_more_inside_than_workers_and_nothing_leaks() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..20 {
            let workers = rng.u32(1..=4);
            let places = rng.u32(0..=8);
            let gate = Arc::new(Gate::new(workers, places, Duration::from_millis(rng.u64(1..=50))));
            let inside = Arc::new(AtomicUsize::new(0));
            let mut requests = JoinSet::new();
            for _ in 0..200 {
                let (gate, inside) = (gate.clone(), inside.clone());
                let [arrives, works, leaves] = [rng.u64(0..400), rng.u64(0..20), rng.u64(0..60)];
                requests.spawn(async move {
                    sleep(Duration::from_millis(arrives)).await;
                    let visit = async {
                        let Ok(_permit) = gate.enter(pending()).await else { return };
                        let now_inside = inside.fetch_add(1, Relaxed) + 1;
                        assert!(now_inside <= workers as usize, "{now_inside} inside");
                        let _leave = Place(&inside);
                        sleep(Duration::from_millis(works)).await;
                    };
                    let _given_up = timeout(Duration::from_millis(leaves), visit).await;
                    assert!(gate.occupancy().queued <= places as usize);
                });
            }
            while let Some(request) = requests.join_next().await {
                request.expect("no request panics");
            }
            let empty = Occupancy { workers: workers as usize, busy: 0, queued: 0 };
            assert_eq!(gate.occupancy(), empty, "everything was given back");
        }
    }

    #[tokio::test]
    async fn the_first_that_waits_is_the_first_that_enters() {
        let gate = Gate::new(1, 2, PATIENCE);
        let first = gate.enter(pending()).await.expect("a free worker");
        let mut second = pin!(gate.enter(pending()));
        let mut third = pin!(gate.enter(pending()));
        tokio::select! {
            biased;
            _ = second.as_mut() => panic!("no worker is free"),
            _ = third.as_mut() => panic!("no worker is free"),
            () = yield_now() => {}
        }
        drop(first);
        assert_eq!(
            gate.enter(pending()).await.expect_err("the second has the worker, and waiting"),
            Refusal::Full
        );
        let entered = tokio::select! {
            entered = third => panic!("overtook: {entered:?}"),
            entered = second => entered,
        };
        assert!(entered.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_after_the_patience_and_at_the_limit_of_places() {
        let gate = Gate::new(1, 1, PATIENCE);
        let _busy = gate.enter(pending()).await.expect("a free worker");
        let since = Instant::now();
        let mut waits = pin!(gate.enter(pending()));
        tokio::select! { biased; _ = waits.as_mut() => panic!("no worker is free"), () = yield_now() => {} }
        assert_eq!(gate.enter(pending()).await.expect_err("one place only"), Refusal::Full);
        assert_eq!(waits.await.expect_err("nobody leaves"), Refusal::Timeout);
        assert_eq!(since.elapsed(), PATIENCE);
        assert_eq!(gate.occupancy().queued, 0);
    }

    #[tokio::test]
    async fn without_places_nobody_waits() {
        let gate = Gate::new(1, 0, PATIENCE);
        let _busy = gate.enter(pending()).await.expect("a free worker");
        assert_eq!(gate.enter(pending()).await.expect_err("no places"), Refusal::Full);
    }

    #[tokio::test]
    async fn closing_refuses_those_that_wait_and_those_that_come() {
        let gate = Gate::new(1, 1, PATIENCE);
        let busy = gate.enter(pending()).await.expect("a free worker");
        let mut waits = pin!(gate.enter(pending()));
        tokio::select! { biased; _ = waits.as_mut() => panic!("no worker is free"), () = yield_now() => {} }
        gate.close();
        assert_eq!(waits.await.expect_err("closed"), Refusal::Closed);
        assert_eq!(gate.enter(pending()).await.expect_err("closed"), Refusal::Closed);
        assert_eq!(gate.occupancy().busy, 1, "the one inside goes on");
        drop(busy);
        assert_eq!(gate.occupancy().busy, 0);
    }

    /// The worker that is freed next goes to the one that was let in beyond the limit.
    #[tokio::test]
    async fn one_that_is_let_in_as_an_extra_counts_until_any_leaves() {
        for extra_leaves_first in [true, false] {
            let gate = Gate::new(1, 2, PATIENCE);
            let first = gate.enter(pending()).await.expect("a free worker");
            assert!(!first.is_extra());
            let extra = gate.enter(async {}).await.expect("let in");
            assert!(extra.is_extra());
            assert_eq!(gate.occupancy(), Occupancy { workers: 1, busy: 2, queued: 0 });
            let mut waits = pin!(gate.enter(pending()));
            let (leaves, stays) = if extra_leaves_first { (extra, first) } else { (first, extra) };
            drop(leaves);
            tokio::select! { biased; _ = waits.as_mut() => panic!("one is inside"), () = yield_now() => {} }
            assert_eq!(gate.occupancy(), Occupancy { workers: 1, busy: 1, queued: 1 });
            drop(stays);
            drop(waits.await.expect("nobody is inside"));
            assert_eq!(gate.occupancy(), Occupancy { workers: 1, busy: 0, queued: 0 });
        }
    }

    #[tokio::test]
    async fn an_extra_is_not_asked_for_by_one_that_finds_a_worker() {
        let gate = Gate::new(1, 1, PATIENCE);
        let asked = async { panic!("a worker is free") };
        assert!(!gate.enter(asked).await.expect("a free worker").is_extra());
    }

    /// However the number of workers changes: never more inside than the largest number since those inside came, and
    /// once it rests, exactly as many as there are.
    #[tokio::test(start_paused = true)]
    async fn the_number_of_workers_changes_while_they_work() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let gate = Gate::new(2, 100, PATIENCE);
        let mut inside = Vec::new();
        for _ in 0..500 {
            let workers = rng.u32(1..6);
            gate.resize(workers);
            while let Ok(Ok(permit)) = timeout(Duration::ZERO, gate.enter(pending())).await {
                inside.push(permit);
                assert!(inside.len() <= workers as usize, "{} inside of {workers}", inside.len());
            }
            let occupancy = gate.occupancy();
            assert_eq!((occupancy.workers, occupancy.busy), (workers as usize, inside.len()));
            assert!(inside.len() >= workers as usize, "all of {workers} can be used");
            for _ in 0..rng.usize(..=inside.len()) {
                inside.swap_remove(rng.usize(..inside.len()));
            }
        }
        inside.clear();
        assert_eq!(gate.occupancy().busy, 0);
    }
}
