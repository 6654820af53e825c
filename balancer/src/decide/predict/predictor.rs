//! The predictor of one service: levels put together.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::belief::{Belief, Shrinkage};
use super::bulk::Bulk;
use super::extension::ExtensionKey;
use super::memory::UrlMemory;
use super::moments::{Moments, log_bytes, log_seconds};
use super::remembered::Remembered;
use super::tracker::{Sample, Tracker};
use super::url::{UrlKey, UrlSeed};
use super::{ClassId, Counted, Prediction, RequestKey, Source};

/// Held time of a request of which nothing is known, before anything is: an ordinary page.
const FIRST_HELD: Duration = Duration::from_millis(10);
/// Body bytes of such a request.
const FIRST_BYTES: u64 = 16 * 1024;
/// z of the 99th percentile of a normal distribution.
const Z_99: f32 = 2.33;
/// Observations from which a class is known.
const KNOWN: f32 = 8.0;

/// The two quantities that are predicted, side by side.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Both<T> {
    pub(super) held: T,
    pub(super) bytes: T,
}

/// A class's evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClassCell {
    /// New for each class that takes this place: URLs remembered for the one before are not its.
    pub(super) stamp: u32,
    pub(super) evidence: Both<Tracker>,
}

/// Predicts what requests of one service cost, from what earlier ones did. See the module.
///
/// To save it without holding its lock for long, clone it (about 1 MB) and take the
/// [`snapshot`](Self::snapshot) of the clone.
#[derive(Clone, Debug)]
pub struct Predictor {
    pub(super) seed: UrlSeed,
    pub(super) prior: Both<Bulk>,
    /// By [`ExtensionKey`]; `None`: not seen yet.
    pub(super) extensions: [Option<Both<Bulk>>; ExtensionKey::ALL.len()],
    /// By [`ClassId`].
    pub(super) classes: Vec<Option<ClassCell>>,
    pub(super) urls: UrlMemory,
    last_stamp: u32,
}

impl Predictor {
    /// URLs remembered for one service, unless configured: about 0.9 MB.
    pub const URLS: usize = 16_384;

    /// `urls`: how many URLs to remember, rounded down to a power of two and up to 8.
    pub fn new(urls: usize, seed: UrlSeed) -> Self {
        Self {
            seed,
            prior: Both {
                held: Bulk::prior(log_seconds(FIRST_HELD)),
                bytes: Bulk::prior(log_bytes(FIRST_BYTES)),
            },
            extensions: [None; ExtensionKey::ALL.len()],
            classes: Vec::new(),
            urls: UrlMemory::new(urls),
            last_stamp: 0,
        }
    }

    /// What every [`UrlKey`] given to this predictor must be made with. Never changes.
    pub fn seed(&self) -> UrlSeed {
        self.seed
    }

    /// What `request` is expected to cost. Changes nothing.
    pub fn predict(&self, request: RequestKey) -> Prediction {
        let class = self.class(request.class);
        let mut beliefs = self.beliefs(class, request.extension);
        if let Some(entry) = class.and_then(|class| self.urls.get(request.url, class.stamp)) {
            beliefs.held = of_url(beliefs.held, &entry.held);
            beliefs.bytes = of_url(beliefs.bytes, &entry.bytes);
        }
        Prediction { held: beliefs.held.estimate(), bytes: beliefs.bytes.estimate() }
    }

    /// The mean held time of the bulk of all requests, in seconds: what "large" is measured against.
    pub fn bulk_seconds(&self) -> f64 {
        self.prior.held.belief(Source::Prior).estimate().mean
    }

    /// The 99th percentile of what requests of `class` hold a worker, in seconds; `None`: fewer than
    /// 8 are known. Whoever puts a request behind another wants this to be small, and known.
    ///
    /// exp(μ + 2.33 σ), the quantile of a log-normal distribution.
    pub fn tail(&self, class: ClassId) -> Option<f64> {
        let level = &self.class(class)?.evidence.held.level;
        let p99 = level.mean + Z_99 * level.spread().sqrt();
        (level.n >= KNOWN).then(|| f64::from(p99).exp())
    }

    /// Learns what a request came to: how long it `held` its worker, how many body `bytes` the
    /// instance sent (`None`: not known, or cut short). `counted`: what
    /// [`reclassified`](Self::reclassified) gave for this request, if it was.
    pub fn observe(
        &mut self,
        request: RequestKey,
        held: Duration,
        bytes: Option<u64>,
        counted: Option<Counted>,
    ) {
        let held = self.sample(request.class, log_seconds(held), counted);
        let bytes = bytes.map(|bytes| Sample::New(log_bytes(bytes)));
        self.learn(request, Both { held: Some(held), bytes });
    }

    /// Learns at once from a request that still runs and has held its worker for `at_least`, by far
    /// more than predicted. May be called again as it goes on, with what the last call gave.
    ///
    /// Counted as twice as long: what has taken t is expected to take another t, the mean residual
    /// life of the heavy tails (Pareto, exponent 2) that costs of requests have.
    pub fn reclassified(
        &mut self,
        request: RequestKey,
        at_least: Duration,
        counted: Option<Counted>,
    ) -> Counted {
        let log_seconds = log_seconds(at_least.saturating_mul(2));
        let held = self.sample(request.class, log_seconds, counted);
        let stamp = self.learn(request, Both { held: Some(held), bytes: None });
        Counted { log_seconds, stamp }
    }

    /// Takes an agent's word that `url` sends about `bytes`, where nothing better is known: what was
    /// observed here is not changed by it, and among the remembered URLs it is the first to go
    /// until it is asked for.
    pub fn hint(&mut self, class: ClassId, url: UrlKey, bytes: u64) {
        let Some(stamp) = self.class_or_new(class).map(|class| class.stamp) else { return };
        let belief = self.beliefs(self.class(class), ExtensionKey::Other).bytes;
        let x = log_bytes(bytes);
        if self.urls.get(url, stamp).is_none() && (belief.is_mixed() || !belief.explains(x)) {
            self.urls.insert(url, stamp).bytes.apply(Sample::New(x), &belief);
        }
    }

    /// The class's place is free for another one.
    pub fn forget_class(&mut self, class: ClassId) {
        if let Some(place) = self.classes.get_mut(class.0 as usize) {
            *place = None;
        }
    }

    /// How many URLs can be remembered.
    pub fn url_capacity(&self) -> usize {
        self.urls.capacity()
    }

    /// How many URLs are remembered. Looks at every place.
    pub fn urls_remembered(&self) -> usize {
        self.urls.iter().count()
    }

    pub(super) fn class(&self, class: ClassId) -> Option<&ClassCell> {
        self.classes.get(class.0 as usize)?.as_ref()
    }

    /// Corrects what was counted, if it was and its class is still the same.
    fn sample(&self, class: ClassId, new: f32, counted: Option<Counted>) -> Sample {
        let stamp = self.class(class).map(|class| class.stamp);
        match counted {
            Some(counted) if Some(counted.stamp) == stamp => {
                Sample::Revised { old: counted.log_seconds, new }
            }
            _ => Sample::New(new),
        }
    }

    /// Adds to every level; the URL is judged by what was believed of its class before. Gives the
    /// class's stamp, 0 if nothing is learned of the class.
    fn learn(&mut self, request: RequestKey, samples: Both<Option<Sample>>) -> u32 {
        let before = self.beliefs(self.class(request.class), request.extension);
        self.learn_common(request.extension, samples);
        let Some(cell) = self.class_or_new(request.class) else { return 0 };
        if let Some(sample) = samples.held {
            cell.evidence.held.apply(sample);
        }
        if let Some(sample) = samples.bytes {
            cell.evidence.bytes.apply(sample);
        }
        let stamp = cell.stamp;
        self.learn_url(request.url, stamp, samples, &before);
        stamp
    }

    /// Corrections are not worth making here: both values are beyond the reach of these levels.
    fn learn_common(&mut self, extension: ExtensionKey, samples: Both<Option<Sample>>) {
        let Self { prior, extensions, .. } = self;
        let extension = extensions[extension as usize].get_or_insert_with(|| Both {
            held: Bulk::extension(&prior.held),
            bytes: Bulk::extension(&prior.bytes),
        });
        if let Some(Sample::New(x)) = samples.held {
            prior.held.add(x);
            extension.held.add(x);
        }
        if let Some(Sample::New(x)) = samples.bytes {
            prior.bytes.add(x);
            extension.bytes.add(x);
        }
    }

    fn learn_url(&mut self, url: UrlKey, stamp: u32, samples: Both<Option<Sample>>, class: &Both<Belief>) {
        let known = self.urls.visit(url, stamp);
        let is_known = known.is_some();
        if !is_known && !is_news(samples.held, &class.held) && !is_news(samples.bytes, &class.bytes) {
            return;
        }
        let entry = match known {
            Some(entry) => entry,
            None => self.urls.insert(url, stamp),
        };
        learn_remembered(&mut entry.held, samples.held, &class.held);
        learn_remembered(&mut entry.bytes, samples.bytes, &class.bytes);
        if !tells_more(&entry.held, &class.held) && !tells_more(&entry.bytes, &class.bytes) {
            self.urls.remove(url, stamp);
        }
    }

    pub(super) fn class_or_new(&mut self, class: ClassId) -> Option<&mut ClassCell> {
        if class > ClassId(ClassId::MOST) {
            return None;
        }
        let place = class.0 as usize;
        if place >= self.classes.len() {
            self.classes.resize(place + 1, None);
        }
        Some(self.classes[place].get_or_insert_with(|| {
            self.last_stamp = self.last_stamp.wrapping_add(1).max(1); // 0 marks a free place
            ClassCell { stamp: self.last_stamp, evidence: Both::default() }
        }))
    }

    /// What is believed of any request of the class, whatever its URL.
    fn beliefs(&self, class: Option<&ClassCell>, extension: ExtensionKey) -> Both<Belief> {
        let extension = self.extensions[extension as usize].as_ref();
        let none = Moments::default();
        let common = |prior: &Bulk, extension: Option<&Bulk>| match extension {
            Some(seen) => seen.belief(Source::Extension),
            None => prior.belief(Source::Prior),
        };
        let held = common(&self.prior.held, extension.map(|e| &e.held));
        let bytes = common(&self.prior.bytes, extension.map(|e| &e.bytes));
        let (own_held, own_bytes) =
            class.map_or((&none, &none), |c| (&c.evidence.held.level, &c.evidence.bytes.level));
        Both {
            held: held.narrowed(own_held, Shrinkage::CLASS, Source::Class),
            bytes: bytes.narrowed(own_bytes, Shrinkage::CLASS, Source::Class),
        }
    }
}

fn of_url(class: Belief, own: &Remembered) -> Belief {
    class.narrowed(&own.moments, Shrinkage::url(&class), Source::Url)
}

/// Whether an observation says something about its URL that the class does not.
fn is_news(sample: Option<Sample>, class: &Belief) -> bool {
    match sample {
        Some(Sample::New(x) | Sample::Revised { new: x, .. }) => class.is_mixed() || !class.explains(x),
        None => false,
    }
}

/// Of an entry that is new, a correction is the first thing heard.
fn learn_remembered(remembered: &mut Remembered, sample: Option<Sample>, class: &Belief) {
    match sample {
        Some(Sample::Revised { new, .. }) if remembered.moments.n == 0.0 => {
            remembered.apply(Sample::New(new), class);
        }
        Some(sample) => remembered.apply(sample, class),
        None => {}
    }
}

/// Whether an entry is worth its place: a class that differs within itself, or a URL that is off by
/// a factor of 2, less than the 4 that it takes to get in, so that none goes in and out.
fn tells_more(remembered: &Remembered, class: &Belief) -> bool {
    let off = remembered.moments.mean - class.log_mean();
    remembered.moments.n > 0.0 && (class.is_mixed() || off.abs() > std::f32::consts::LN_2)
}
