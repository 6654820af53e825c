//! Several balancers share an instance: each is told how many of its workers it may count on.
//!
//! ```text
//!  report with the balancer's `grant` ──► balancer ──► answer: what it `wanted` ──► Book ──► the next reports
//! ```
//!
//! The agent divides because it is the one that everybody talks to: no balancer need know of another. The sum of what
//! is granted never exceeds the workers. With fewer workers than balancers some are granted none: each of those sends
//! one request at a time all the same, which waits at the gate for its turn, so that a worker never idles while
//! anybody has work; the gate serves in order of arrival, and lets in no more than there are workers.

mod book;
mod divide;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub use book::{Book, Wants};

/// The shares of one agent's balancers.
pub struct Grants {
    /// `None`: there is one balancer, and nothing to divide.
    book: Option<Mutex<Book>>,
    changed: Notify,
}

impl Grants {
    pub fn new(workers: u32, balancers: usize) -> Self {
        let book = (balancers > 1).then(|| Mutex::new(Book::new(workers, balancers)));
        Self { book, changed: Notify::new() }
    }

    /// Another number of workers, from now on.
    pub fn set_workers(&self, workers: u32) {
        self.change(|book| book.set_workers(workers));
    }

    /// By balancer, for a report that is being made; empty: there is nothing to say.
    pub fn grant(&self) -> Vec<u32> {
        self.locked().map_or_else(Vec::new, |mut book| book.grant())
    }

    /// A balancer took a report in which it was told `grant`.
    pub fn acknowledged(&self, balancer: usize, grant: u32, wants: Wants) {
        self.change(|book| book.acknowledged(balancer, grant, wants));
    }

    /// A balancer did not take a report.
    pub fn failed(&self, balancer: usize) {
        self.change(|book| book.failed(balancer));
    }

    /// Resolves when somebody should be told of a greater share. For one waiter.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        let Some(mut book) = self.locked() else { return };
        let before = book.has_news();
        change(&mut book);
        if book.has_news() && !before {
            self.changed.notify_one();
        }
    }

    fn locked(&self) -> Option<MutexGuard<'_, Book>> {
        // Plain values: each is whole whenever the lock is free.
        self.book.as_ref().map(|book| book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
