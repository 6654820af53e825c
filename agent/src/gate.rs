//! The way to the instance: as many requests at a time as it has workers, a short queue in front.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use sluice_relay::Failure;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::timeout,
};

/// First come, first served. Leaving the queue, by whatever way, gives the place back.
#[derive(Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
    workers: usize,
    places: usize,
    patience: Duration,
    queued: AtomicUsize,
}

/// The right to occupy one worker, until dropped.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
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
        Self {
            permits: Arc::new(Semaphore::new(workers)),
            workers,
            places: places as usize,
            patience,
            queued: AtomicUsize::new(0),
        }
    }

    /// Waits for a worker. Dropping the future leaves the queue.
    pub async fn enter(&self) -> Result<Permit, Refusal> {
        // A permit that is given back goes to the one that waited longest, so nobody barges in here.
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => return Ok(Permit { _permit: permit }),
            Err(TryAcquireError::Closed) => return Err(Refusal::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _place = self.take_place()?;
        match timeout(self.patience, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Permit { _permit: permit }),
            Ok(Err(_closed)) => Err(Refusal::Closed),
            Err(_elapsed) => Err(Refusal::Timeout),
        }
    }

    /// Refuses from now on, those that wait as well. Permits already given stay.
    pub fn close(&self) {
        self.permits.close();
    }

    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            workers: self.workers,
            busy: self.workers - self.permits.available_permits(),
            queued: self.queued.load(Relaxed),
        }
    }

    /// Whether no worker is free.
    pub fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    fn take_place(&self) -> Result<Place<'_>, Refusal> {
        let one_more = |queued| (queued < self.places).then_some(queued + 1);
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
            Refusal::Full => Self::QueueFull,
            Refusal::Timeout => Self::QueueTimeout,
            Refusal::Closed => Self::Stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

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
                        let Ok(_permit) = gate.enter().await else { return };
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
        let first = gate.enter().await.expect("a free worker");
        let mut second = pin!(gate.enter());
        let mut third = pin!(gate.enter());
        tokio::select! {
            biased;
            _ = second.as_mut() => panic!("no worker is free"),
            _ = third.as_mut() => panic!("no worker is free"),
            () = yield_now() => {}
        }
        drop(first);
        assert_eq!(gate.enter().await.expect_err("the second has the worker, and waiting"), Refusal::Full);
        let entered = tokio::select! {
            entered = third => panic!("overtook: {entered:?}"),
            entered = second => entered,
        };
        assert!(entered.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_after_the_patience_and_at_the_limit_of_places() {
        let gate = Gate::new(1, 1, PATIENCE);
        let _busy = gate.enter().await.expect("a free worker");
        let since = Instant::now();
        let mut waits = pin!(gate.enter());
        tokio::select! { biased; _ = waits.as_mut() => panic!("no worker is free"), () = yield_now() => {} }
        assert_eq!(gate.enter().await.expect_err("one place only"), Refusal::Full);
        assert_eq!(waits.await.expect_err("nobody leaves"), Refusal::Timeout);
        assert_eq!(since.elapsed(), PATIENCE);
        assert_eq!(gate.occupancy().queued, 0);
    }

    #[tokio::test]
    async fn without_places_nobody_waits() {
        let gate = Gate::new(1, 0, PATIENCE);
        let _busy = gate.enter().await.expect("a free worker");
        assert_eq!(gate.enter().await.expect_err("no places"), Refusal::Full);
    }

    #[tokio::test]
    async fn closing_refuses_those_that_wait_and_those_that_come() {
        let gate = Gate::new(1, 1, PATIENCE);
        let busy = gate.enter().await.expect("a free worker");
        let mut waits = pin!(gate.enter());
        tokio::select! { biased; _ = waits.as_mut() => panic!("no worker is free"), () = yield_now() => {} }
        gate.close();
        assert_eq!(waits.await.expect_err("closed"), Refusal::Closed);
        assert_eq!(gate.enter().await.expect_err("closed"), Refusal::Closed);
        assert_eq!(gate.occupancy().busy, 1, "the one inside goes on");
        drop(busy);
        assert_eq!(gate.occupancy().busy, 0);
    }
}
