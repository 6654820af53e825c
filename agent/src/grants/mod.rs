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
//!
//! Balancers that are found in DNS come and go. To one that is alone nothing is said.

mod book;
mod divide;
mod division;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub use book::{Book, Holder, Wants};
pub use division::Division;

/// The shares of one agent's balancers.
pub struct Grants {
    book: Mutex<Book>,
    changed: Notify,
}

/// A balancer's part in them, until dropped.
pub struct Membership {
    holder: Holder,
    grants: Arc<Grants>,
}

impl Grants {
    pub fn new(workers: u32) -> Self {
        Self { book: Mutex::new(Book::new(workers)), changed: Notify::new() }
    }

    /// Another number of workers, from now on.
    pub fn set_workers(&self, workers: u32) {
        self.change(|book| book.set_workers(workers));
    }

    /// One more balancer, which counts from the next report on.
    pub fn join(self: &Arc<Self>) -> Membership {
        Membership { holder: self.change(Book::join), grants: self.clone() }
    }

    /// For a report that is being made.
    pub fn grant(&self) -> Division {
        self.locked().grant()
    }

    /// Resolves when somebody should be told of a greater share. For one waiter.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.locked();
        let before = book.has_news();
        let result = change(&mut book);
        if book.has_news() && !before {
            self.changed.notify_one();
        }
        result
    }

    fn locked(&self) -> MutexGuard<'_, Book> {
        // Plain values: each is whole whenever the lock is free.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// The balancer took a report in which it was told `grant`.
    pub fn acknowledged(&self, grant: u32, wants: Wants) {
        self.grants.change(|book| book.acknowledged(self.holder, grant, wants));
    }

    /// The balancer did not take a report.
    pub fn failed(&self) {
        self.grants.change(|book| book.failed(self.holder));
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.grants.change(|book| book.leave(self.holder));
    }
}
