//! What a predictor knows, to be saved and read again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::ClassId;
use super::bulk::Bulk;
use super::extension::ExtensionKey;
use super::moments::Moments;
use super::predictor::{Both, Predictor};
use super::remembered::Remembered;
use super::tracker::Tracker;
use super::url::{UrlKey, UrlSeed};

/// Observations that saved evidence counts as, at most: enough to be taken at its word, and little
/// enough for what changed in the meantime to show after a few requests.
const KEPT: f32 = 8.0;

/// A predictor's knowledge. Classes are by name, as their numbers are of one process. Holds the seed
/// of the URL keys: to be stored where only the operator reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PredictorState {
    seed: UrlSeed,
    prior: Both<Moments>,
    extensions: Vec<(ExtensionKey, Both<Moments>)>,
    classes: Vec<ClassRow>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ClassRow {
    name: String,
    evidence: Both<Moments>,
    urls: Vec<(UrlKey, Both<Moments>)>,
}

impl Predictor {
    /// All that is known, classes by the `name` that the caller gives them; a class without one is
    /// left out. Takes milliseconds: not under a lock (see [`Predictor`]).
    pub fn snapshot<'a>(&self, name: impl Fn(ClassId) -> Option<&'a str>) -> PredictorState {
        let extensions = ExtensionKey::ALL.into_iter().zip(&self.extensions);
        PredictorState {
            seed: self.seed,
            prior: of_bulks(&self.prior),
            extensions: extensions.filter_map(|(key, seen)| Some((key, of_bulks(seen.as_ref()?)))).collect(),
            classes: self.class_rows(name),
        }
    }

    fn class_rows<'a>(&self, name: impl Fn(ClassId) -> Option<&'a str>) -> Vec<ClassRow> {
        let mut urls = self.room_for_urls();
        for (url, entry) in self.urls.iter() {
            let evidence = Both { held: entry.held.moments, bytes: entry.bytes.moments };
            urls.entry(entry.stamp).or_default().push((url, evidence));
        }
        let known = (0..).map(ClassId).zip(&self.classes);
        known
            .filter_map(|(id, cell)| {
                let (cell, name) = (cell.as_ref()?, name(id)?.to_owned());
                let evidence = Both { held: cell.evidence.held.level, bytes: cell.evidence.bytes.level };
                Some(ClassRow { name, evidence, urls: urls.remove(&cell.stamp).unwrap_or_default() })
            })
            .collect()
    }

    /// For each class as much as its URLs take, and no more: they are most of what is saved, and lists that grow would
    /// take up to twice that.
    fn room_for_urls(&self) -> HashMap<u32, Vec<(UrlKey, Both<Moments>)>> {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        self.urls.iter().for_each(|(_, entry)| *counts.entry(entry.stamp).or_default() += 1);
        counts.into_iter().map(|(stamp, count)| (stamp, Vec::with_capacity(count))).collect()
    }

    /// A predictor that knows what `state` says, with the same seed. `class` says which class has a
    /// name now; what has none, and what is not possible, is left out.
    pub fn restore(
        urls: usize,
        state: PredictorState,
        mut class: impl FnMut(&str) -> Option<ClassId>,
    ) -> Self {
        let mut this = Self::new(urls, state.seed);
        this.prior = restored_bulks(&this.prior, &state.prior);
        for (key, saved) in &state.extensions {
            let fresh =
                Both { held: Bulk::extension(&this.prior.held), bytes: Bulk::extension(&this.prior.bytes) };
            this.extensions[*key as usize] = Some(restored_bulks(&fresh, saved));
        }
        for row in state.classes {
            if let Some(id) = class(&row.name) {
                this.restore_class(id, row);
            }
        }
        this
    }

    fn restore_class(&mut self, id: ClassId, row: ClassRow) {
        let Some(cell) = self.class_or_new(id) else { return };
        let evidence = checked(&row.evidence);
        cell.evidence = Both { held: Tracker::of(evidence.held), bytes: Tracker::of(evidence.bytes) };
        let stamp = cell.stamp;
        for (url, saved) in row.urls {
            let saved = checked(&saved);
            let (held, bytes) = (Remembered::of(saved.held), Remembered::of(saved.bytes));
            if self.urls.get(url, stamp).is_none() {
                let entry = self.urls.insert(url, stamp);
                (entry.held, entry.bytes) = (held, bytes);
            }
        }
    }
}

fn of_bulks(bulks: &Both<Bulk>) -> Both<Moments> {
    Both { held: bulks.held.moments, bytes: bulks.bytes.moments }
}

fn restored_bulks(fresh: &Both<Bulk>, saved: &Both<Moments>) -> Both<Bulk> {
    Both { held: fresh.held.restored(saved.held, KEPT), bytes: fresh.bytes.restored(saved.bytes, KEPT) }
}

/// What is not possible counts as nothing seen.
fn checked(saved: &Both<Moments>) -> Both<Moments> {
    let check = |moments: Moments| moments.checked(KEPT).unwrap_or_default();
    Both { held: check(saved.held), bytes: check(saved.bytes) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::extension::ExtensionKey;
    use super::super::{Predictor, RequestKey};
    use super::*;

    #[test]
    fn what_is_saved_takes_no_more_room_than_its_urls() {
        let seed = UrlSeed::random(&mut fastrand::Rng::with_seed(1));
        let mut predictor = Predictor::new(Predictor::URLS, seed);
        for n in 0..9_000_u64 {
            let class = ClassId(u32::from(n % 3 == 0));
            let request = RequestKey { class, url: UrlKey(n), extension: ExtensionKey::Bare };
            // Unlike each other: what a URL has in common with its class is not remembered.
            let held = Duration::from_millis(if n % 2 == 0 { 10 } else { 2_000 });
            predictor.observe(request, held, None, None);
        }
        let state = predictor.snapshot(|id| Some(if id.0 == 0 { "GET /a" } else { "GET /b" }));
        let room: Vec<_> = state.classes.iter().map(|row| (row.urls.len(), row.urls.capacity())).collect();
        assert!(room.len() == 2 && room.iter().all(|(urls, room)| *urls > 100 && room == urls), "{room:?}");
    }
}
