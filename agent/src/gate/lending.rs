//! A gate whose workers two processes share: one agent takes over from another, which still has requests at the instance.
//!
//! There are as many permits as workers, and each is in one of the two gates, or on its way between them. The predecessor
//! keeps those in use; what comes back and is not waited for there goes to its successor, and what it needs beyond that it
//! asks for.

use std::{
    io,
    sync::atomic::Ordering::{Relaxed, SeqCst},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Gate, Permits};

/// A permit, in either direction.
const PERMIT: u8 = b'+';
/// The predecessor has a request that waits for one.
const WANTED: u8 = b'?';

impl Gate {
    /// Until something was [received](Self::receive_but), nobody is let in.
    pub fn without_permits(self) -> Self {
        self.permits.free.forget_permits(self.workers.load(Relaxed));
        self
    }

    /// Permits that come from the other process; `held`: those that it still has. They may be more than there are workers
    /// now, if it had more of them.
    pub fn receive_but(&self, held: usize) {
        let workers = self.workers.load(Relaxed);
        self.permits.owed.fetch_add(held.saturating_sub(workers), Relaxed);
        self.permits.free.add_permits(workers.saturating_sub(held));
    }

    /// From now on permits are shared with a successor. Gives up those that are free; how many are kept.
    pub fn hand_over(&self) -> usize {
        self.permits.is_lent.store(true, SeqCst);
        while self.give_up() {}
        self.workers.load(Relaxed).saturating_sub(self.permits.away.load(SeqCst))
    }

    /// Gives up a permit that is free.
    fn give_up(&self) -> bool {
        let is_free = self.permits.free.try_acquire().map(|permit| permit.forget()).is_ok();
        if is_free {
            self.permits.away.fetch_add(1, SeqCst);
        }
        is_free
    }

    /// Waits for a permit in turn, to give it to the other process; `false`: the gate is closed.
    async fn lend(&self) -> bool {
        self.permits.free.acquire().await.map(|permit| permit.forget()).is_ok()
    }
}

impl Permits {
    /// Whoever shares these with another process has something to do.
    pub(super) fn tell(&self) {
        if self.is_lent.load(SeqCst) {
            self.changed.notify_one();
        }
    }
}

/// The predecessor's side: gives up what comes back and asks for what it needs, until either process ends.
///
/// If it is the successor, this gate has all its permits again for what it still has to finish.
pub async fn give_back(gate: &Gate, wire: impl AsyncRead + AsyncWrite + Unpin) {
    let (mut from, mut to) = tokio::io::split(wire);
    let mut asked = 0_usize;
    let mut talk = async || -> io::Result<()> {
        loop {
            while gate.give_up() {
                to.write_u8(PERMIT).await?;
            }
            while asked < gate.queued.load(Relaxed) {
                asked += 1;
                to.write_u8(WANTED).await?;
            }
            tokio::select! {
                () = gate.permits.changed.notified() => {}
                word = from.read_u8() => match word? {
                    PERMIT => {
                        asked = asked.saturating_sub(1);
                        gate.permits.away.fetch_sub(1, SeqCst);
                        gate.permits.take_back(1);
                    }
                    other => return Err(io::Error::other(format!("byte {other}"))),
                },
            }
        }
    };
    if let Err(error) = talk().await {
        tracing::info!(%error, "the successor shares no more workers");
    }
    gate.permits.take_back(gate.permits.away.swap(0, SeqCst));
}

/// The successor's side; `held` permits are the predecessor's. When it ends, all are here.
pub async fn lend(gate: &Gate, wire: impl AsyncRead + AsyncWrite + Unpin, held: usize) {
    let (mut from, mut to) = tokio::io::split(wire);
    let (mut lent, mut wanted) = (held, 0_usize);
    // Kept over the rounds of the loop: it has a place in the queue.
    let mut next = Box::pin(gate.lend());
    loop {
        tokio::select! {
            word = from.read_u8() => match word {
                Ok(PERMIT) => {
                    lent = lent.saturating_sub(1);
                    gate.permits.take_back(1);
                }
                Ok(WANTED) => wanted += 1,
                Ok(_) | Err(_) => break,
            },
            is_open = next.as_mut(), if wanted > 0 => {
                if !is_open {
                    break;
                }
                (wanted, lent) = (wanted - 1, lent + 1);
                next = Box::pin(gate.lend());
                if to.write_u8(PERMIT).await.is_err() {
                    break;
                }
            }
        }
    }
    drop(next);
    tracing::info!(lent, "the process before this one has ended: all workers are this one's");
    gate.permits.take_back(lent);
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::{Arc, atomic::AtomicUsize},
        time::Duration,
    };

    use tokio::{
        io::duplex,
        task::{JoinSet, yield_now},
        time::{sleep, timeout},
    };

    use super::*;
    use crate::gate::{Permit, Refusal};

    const PATIENCE: Duration = Duration::from_secs(600);

    fn gate(workers: u32) -> Arc<Gate> {
        Arc::new(Gate::new(workers, 1000, PATIENCE))
    }

    async fn enter(gate: &Gate) -> Permit {
        gate.enter(pending()).await.expect("open, and patient")
    }

    /// Two gates that share from here on, and the tasks of both sides.
    fn share(old: &Arc<Gate>, workers: u32) -> (Arc<Gate>, JoinSet<()>) {
        let (here, there) = duplex(64);
        let new = Arc::new(Gate::new(workers, 1000, PATIENCE).without_permits());
        let held = old.hand_over();
        new.receive_but(held);
        let mut sides = JoinSet::new();
        let (a, b) = (old.clone(), new.clone());
        sides.spawn(async move { give_back(&a, here).await });
        sides.spawn(async move { lend(&b, there, held).await });
        (new, sides)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_by_one_is_not_free_at_the_other_until_it_is_given_back() {
        let old = gate(2);
        let held = enter(&old).await;
        let (new, _sides) = share(&old, 2);
        let _own = enter(&new).await;
        let second = timeout(Duration::from_secs(1), enter(&new)).await;
        assert!(second.is_err(), "two are inside");
        drop(held);
        timeout(Duration::from_secs(1), enter(&new)).await.expect("it was given back");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_late_to_the_old_one_gets_a_worker_of_the_new_one() {
        let old = gate(1);
        let (new, _sides) = share(&old, 1);
        let late = timeout(Duration::from_secs(1), enter(&old)).await.expect("asked for and got");
        assert!(timeout(Duration::from_secs(1), enter(&new)).await.is_err(), "it is inside");
        drop(late);
        let own = timeout(Duration::from_secs(1), enter(&new)).await.expect("given back");
        let waits = timeout(Duration::from_secs(1), enter(&old)).await;
        assert!(waits.is_err(), "the new one's is inside");
        drop(own);
        // What was asked for by the one that gave up is given back at once.
        timeout(Duration::from_secs(1), enter(&new)).await.expect("nobody holds it");
    }

    #[tokio::test(start_paused = true)]
    async fn when_one_ends_the_other_has_all_workers() {
        for old_ends in [true, false] {
            let old = gate(3);
            let held = enter(&old).await;
            let (new, mut sides) = share(&old, 3);
            yield_now().await;
            sides.abort_all();
            while sides.join_next().await.is_some() {}
            // Again, with nobody at the other end.
            let (alone, gone) = duplex(64);
            drop(gone);
            if old_ends {
                lend(&new, alone, 1).await;
                assert_eq!(new.occupancy().busy, 0);
            } else {
                give_back(&old, alone).await;
                assert_eq!(old.occupancy().busy, 1);
            }
            drop(held);
        }
    }

    #[tokio::test]
    async fn fewer_workers_than_are_held_are_a_debt() {
        let old = gate(3);
        let held = [enter(&old).await, enter(&old).await, enter(&old).await];
        let (new, _sides) = share(&old, 1);
        for (permit, busy) in held.into_iter().zip([2, 1, 0]) {
            drop(permit);
            while new.occupancy().busy != busy {
                yield_now().await;
            }
        }
        let closed = new.enter(pending()).await.map(drop);
        assert_eq!(closed, Ok::<(), Refusal>(()));
    }

    /// Requests come to both, work, and give up at random; both gates together never let in more than there are workers.
    #[tokio::test(start_paused = true)]
    async fn both_together_never_let_in_more_than_workers_and_nothing_is_lost() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..20 {
            let workers = rng.u32(1..=4);
            let old = gate(workers);
            let before = enter(&old).await;
            let (new, sides) = share(&old, workers);
            let inside = Arc::new(AtomicUsize::new(1));
            let mut requests = JoinSet::new();
            for _ in 0..200 {
                let gate = if rng.bool() { old.clone() } else { new.clone() };
                let inside = inside.clone();
                let [arrives, works, leaves] = [rng.u64(0..400), rng.u64(1..20), rng.u64(1..60)];
                requests.spawn(async move {
                    sleep(Duration::from_millis(arrives)).await;
                    let visit = async {
                        let permit = enter(&gate).await;
                        let now_inside = inside.fetch_add(1, SeqCst) + 1;
                        let leave = Leave(&inside);
                        assert!(now_inside <= workers as usize, "{now_inside} inside");
                        sleep(Duration::from_millis(works)).await;
                        drop(leave);
                        drop(permit);
                    };
                    _ = timeout(Duration::from_millis(leaves), visit).await;
                });
            }
            sleep(Duration::from_millis(rng.u64(0..200))).await;
            inside.fetch_sub(1, SeqCst);
            drop(before);
            while let Some(request) = requests.join_next().await {
                request.expect("no request panics");
            }
            while new.occupancy().busy > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            drop(sides);
        }
    }

    struct Leave<'a>(&'a AtomicUsize);

    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
}
