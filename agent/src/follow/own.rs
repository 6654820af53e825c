//! The agent's own requests to its instance, which the instance writes down like any other: no traffic.

use std::sync::{Mutex, PoisonError};

/// Requests for one path that are waited for in the log. Some never come there: the connection failed, or the server
/// does not log them. Clients' requests must not be taken for those.
const MOST: u32 = 4;

/// How many of them are still to be found in the log, by path.
#[derive(Debug, Default)]
pub struct OwnRequests {
    expected: Mutex<Vec<(String, u32)>>,
}

impl OwnRequests {
    /// One is about to be made.
    pub fn made(&self, path: &str) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        match expected.iter_mut().find(|(known, _)| known == path) {
            Some((_, n)) => *n = (*n + 1).min(MOST),
            None => expected.push((path.to_owned(), 1)),
        }
    }

    /// Whether a request in the log is one of them, which is then found.
    pub(super) fn found(&self, path: &str) -> bool {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let own = expected.iter_mut().find(|(known, n)| known == path && *n > 0);
        own.map(|(_, n)| *n -= 1).is_some()
    }
}
