//! By how much counters grew from one page to the next.

use std::collections::HashMap;

use super::text::Sample;

/// Series that are remembered of one process.
const MOST_SERIES: usize = 50_000;

/// Processes that are told apart: the workers of a server that answer in turn, each with counters of its own.
const MOST_PROCESSES: usize = 64;

/// The counters of the pages before.
#[derive(Debug, Default)]
pub(super) struct Deltas {
    /// By when the process started, the one heard of last at the end.
    processes: Vec<(u64, HashMap<Box<str>, f64>)>,
}

impl Deltas {
    /// How much each of `counters` grew since the last page of the process that started then, in their order; one that
    /// was not there counts from zero, as client libraries make them when they are first used. A counter that shrank
    /// was reset, and counts from zero as well. `None`: the first page of this process, from which others are told.
    pub(super) fn since_last(&mut self, started: Option<f64>, counters: &[&Sample<'_>]) -> Option<Vec<f64>> {
        let process = started.unwrap_or(0.0).to_bits();
        let Some(at) = self.processes.iter().position(|(known, _)| *known == process) else {
            self.processes.drain(..(self.processes.len() + 1).saturating_sub(MOST_PROCESSES));
            self.processes.push((process, HashMap::new()));
            self.remember(counters);
            return None;
        };
        let heard_last = self.processes.remove(at);
        let before = &heard_last.1;
        let grown = counters.iter().map(|counter| match before.get(counter.series) {
            Some(value) if *value <= counter.value => counter.value - value,
            _ => counter.value.max(0.0),
        });
        let grown = grown.collect();
        self.processes.push(heard_last);
        self.remember(counters);
        Some(grown)
    }

    /// Into the process heard of last. One that is not on a page keeps its value: it may come back.
    fn remember(&mut self, counters: &[&Sample<'_>]) {
        let Some((_, values)) = self.processes.last_mut() else { return };
        for counter in counters {
            if let Some(value) = values.get_mut(counter.series) {
                *value = counter.value;
            } else if values.len() < MOST_SERIES {
                values.insert(counter.series.into(), counter.value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::scrape::text::samples;

    fn grown(deltas: &mut Deltas, started: Option<f64>, page: &str) -> Option<Vec<f64>> {
        let all: Vec<_> = samples(page, |_| true).collect();
        deltas.since_last(started, &all.iter().collect::<Vec<_>>())
    }

    #[test]
    fn counters_grow_start_late_and_are_reset() {
        let mut deltas = Deltas::default();
        for (page, wanted) in [
            ("a 5\nb{c=\"1\"} 7", None),
            ("a 8\nb{c=\"1\"} 7", Some(vec![3.0, 0.0])),
            ("a 8\nb{c=\"2\"} 2", Some(vec![0.0, 2.0])),
            ("a 1\nb{c=\"1\"} 9", Some(vec![1.0, 2.0])),
            ("a -3", Some(vec![0.0])),
        ] {
            assert_eq!(grown(&mut deltas, None, page), wanted, "{page}");
        }
    }

    #[test]
    fn workers_that_answer_in_turn_are_told_apart() {
        let mut deltas = Deltas::default();
        for (started, page, wanted) in [
            (1.0, "a 100", None),
            (2.0, "a 90", None),
            (1.0, "a 103", Some(vec![3.0])),
            (2.0, "a 91", Some(vec![1.0])),
            (3.0, "a 2", None),
        ] {
            assert_eq!(grown(&mut deltas, Some(started), page), wanted, "{started} {page}");
        }
        (0..1000).for_each(|n| drop(grown(&mut deltas, Some(f64::from(n)), "a 1")));
        assert_eq!(deltas.processes.len(), MOST_PROCESSES);
    }
}
