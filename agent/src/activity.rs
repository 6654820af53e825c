//! What is under way in this agent, so that it knows when it may leave.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

/// A request that a balancer sent before it heard of the drain is at most this long on its way.
const SETTLE: Duration = Duration::from_millis(100);

/// Counts requests from their arrival to the last byte of the response (or the end of the tunnel).
#[derive(Debug, Default)]
pub struct Activity {
    present: AtomicUsize,
    arrivals: AtomicU64,
    streaming: AtomicUsize,
    emptied: Notify,
}

/// A request that is under way, until dropped.
#[derive(Debug)]
pub struct Presence(Arc<Activity>);

/// A response that is still being sent though its worker is free, until dropped.
#[derive(Debug)]
pub struct Streaming(Arc<Activity>);

impl Activity {
    pub fn arrive(self: &Arc<Self>) -> Presence {
        self.arrivals.fetch_add(1, SeqCst);
        self.present.fetch_add(1, SeqCst);
        Presence(self.clone())
    }

    pub fn stream(self: &Arc<Self>) -> Streaming {
        self.streaming.fetch_add(1, SeqCst);
        Streaming(self.clone())
    }

    /// Requests under way: waiting, at the instance, or being answered.
    pub fn present(&self) -> usize {
        self.present.load(SeqCst)
    }

    pub fn streaming(&self) -> usize {
        self.streaming.load(SeqCst)
    }

    /// Resolves when nothing is under way and nothing came for a moment. For one waiter at a time.
    pub async fn quiet(&self) {
        loop {
            while self.present() > 0 {
                self.emptied.notified().await;
            }
            let seen = self.arrivals.load(SeqCst);
            sleep(SETTLE).await;
            if self.present() == 0 && self.arrivals.load(SeqCst) == seen {
                return;
            }
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.0.present.fetch_sub(1, SeqCst) == 1 {
            self.0.emptied.notify_one();
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streaming.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn quiet_is_when_nothing_is_under_way_and_nothing_followed() {
        let activity = Arc::new(Activity::default());
        let first = activity.arrive();
        let second = activity.arrive();
        let mut quiet = pin!(activity.quiet());
        assert!(timeout(Duration::from_secs(60), quiet.as_mut()).await.is_err(), "two are under way");
        drop(first);
        drop(second);
        assert!(timeout(SETTLE / 2, quiet.as_mut()).await.is_err(), "one may still be on its way");
        let late = activity.arrive();
        drop(late);
        let since = Instant::now();
        quiet.await;
        assert!(since.elapsed() > SETTLE, "the late one starts the wait again: {:?}", since.elapsed());
    }
}
