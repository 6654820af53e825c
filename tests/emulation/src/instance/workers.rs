//! The worker slots of one instance, and the time that work takes on them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// Most of a sleep's lateness that the next work makes up for.
///
/// Timers fire up to 1 ms late by design; later than 2 ms is a busy machine, which would slow a
/// real worker too.
const MAX_OWED: Duration = Duration::from_millis(2);

/// Workers as a fair queue: requests get one in order of arrival.
#[derive(Debug)]
pub(super) struct Workers {
    slots: Arc<Semaphore>,
    speed: f64,
    /// By how much past work overran, to be taken off work to come. Without this, 10 ms pages
    /// would take 10.6 ms on average and every load would be 6 % above what the workload says.
    owed: Mutex<Duration>,
}

impl Workers {
    pub(super) fn new(count: usize, speed: f64) -> Self {
        Self { slots: Arc::new(Semaphore::new(count)), speed, owed: Mutex::new(Duration::ZERO) }
    }

    /// Waits for a worker, first come first served; dropping the future leaves the queue.
    pub(super) async fn acquire(&self) -> OwnedSemaphorePermit {
        let slots = Arc::clone(&self.slots);
        slots.acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Takes `work / speed` of time: exact on average, each at most 2 ms short.
    pub(super) async fn perform(&self, work: Duration) {
        let asked = Duration::try_from_secs_f64(work.as_secs_f64() / self.speed).unwrap_or(Duration::MAX / 2);
        let Some(wanted) = self.settle(asked) else { return };
        let until = Instant::now() + wanted;
        sleep_until(until).await;
        self.owe(until.elapsed());
    }

    /// Takes what is owed off `asked`; `None` if nothing is left to wait for.
    fn settle(&self, asked: Duration) -> Option<Duration> {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let repaid = asked.min(*owed);
        *owed -= repaid;
        (asked > repaid).then(|| asked - repaid)
    }

    fn owe(&self, late: Duration) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        *owed = (*owed + late).min(MAX_OWED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_takes_its_time_divided_by_the_speed() {
        for (speed, expected_ms) in [(1.0, 1000), (0.2, 5000), (2.0, 500)] {
            let workers = Workers::new(1, speed);
            let start = Instant::now();
            workers.perform(Duration::from_secs(1)).await;
            let took = start.elapsed();
            let expected = Duration::from_millis(expected_ms);
            assert!(took >= expected && took <= expected + MAX_OWED, "speed {speed}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn late_timers_do_not_add_up() {
        let workers = Workers::new(1, 1.0);
        let start = Instant::now();
        for _ in 0..1000 {
            workers.perform(Duration::from_micros(1_300)).await; // the timer only knows whole ms
        }
        let took = start.elapsed();
        let expected = Duration::from_millis(1_300);
        assert!(took + MAX_OWED >= expected && took <= expected + MAX_OWED, "{took:?}");
    }
}
