//! From one page after another to figures by class. Pure.

use std::collections::HashMap;

use sluice_proto::{ClassName, ClassSums, Classifier, Kind, Measured, Quality, Source, classify::Request};

use super::{
    deltas::Deltas,
    names::{self, Names, Role},
    sums::Grown,
    text::{Sample, samples},
};

/// Reads the pages of one endpoint.
#[derive(Debug)]
pub(super) struct Pages {
    names: Names,
    deltas: Deltas,
}

/// What one page says.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    /// Since the page before. Empty as well for a first page.
    pub(super) classes: HashMap<ClassName, ClassSums>,
    pub(super) measured: Measured,
    /// `None`: there is no such gauge, or none was named.
    pub(super) busy: Option<u32>,
}

/// A method and a path or another name, as far as the labels say.
type Asked<'a> = (Option<&'a str>, Option<&'a str>);

impl Pages {
    pub(super) fn new(names: Names) -> Self {
        Self { names, deltas: Deltas::default() }
    }

    /// `None`: nothing of interest is on the page.
    pub(super) fn read(&mut self, page: &str, classifier: &Classifier) -> Option<Told> {
        let all: Vec<_> = samples(page, |name| self.names.is_wanted(name)).collect();
        let found: Vec<_> =
            all.iter().filter_map(|sample| Some((self.names.role(sample)?, sample))).collect();
        let timed = found
            .iter()
            .filter_map(|(role, _)| if let Role::Count(at) = role { Some(*at) } else { None })
            .min();
        let counter = found
            .iter()
            .filter_map(|(role, _)| if let Role::Requests(at) = role { Some(*at) } else { None })
            .min();
        let busy = busy(&found);
        if timed.is_none() && counter.is_none() && busy.is_none() {
            return None;
        }
        let of_interest = |role: &Role| match role {
            Role::Bucket(at, _) | Role::Count(at) | Role::Sum(at) => Some(*at) == timed,
            Role::Requests(at) => Some(*at) == counter,
            Role::Busy | Role::Started => false,
        };
        let counters: Vec<_> = found.iter().filter(|(role, _)| of_interest(role)).copied().collect();
        let started = found.iter().find(|(role, _)| *role == Role::Started).map(|(_, sample)| sample.value);
        let series: Vec<_> = counters.iter().map(|(_, sample)| *sample).collect();
        let judged = series.iter().any(|sample| names::failed(sample).is_some());
        let grown = self.deltas.since_last(started, &series).unwrap_or_default();
        let unit_us = timed.map_or(1.0, |metric| self.names.unit_us(metric));
        let by_asked = self.by_asked(counters.iter().copied().zip(grown), timed.is_some());
        let mut classes: HashMap<ClassName, ClassSums> = HashMap::new();
        for ((method, path), grown) in by_asked {
            let sums = grown.sums(unit_us);
            if sums.requests > 0 {
                classes.entry(class(method, path, classifier)).or_default().merge(&sums);
            }
        }
        Some(Told { classes, measured: measured(timed.is_some(), judged), busy })
    }

    /// Puts the counters together that are of the same requests.
    fn by_asked<'a>(
        &self,
        counters: impl Iterator<Item = ((Role, &'a Sample<'a>), f64)>,
        is_timed: bool,
    ) -> HashMap<Asked<'a>, Grown> {
        let mut all: HashMap<Asked<'a>, Grown> = HashMap::new();
        for ((role, sample), grown) in counters {
            let one = all.entry((names::method(sample), self.names.path(sample))).or_default();
            let failed = names::failed(sample);
            match role {
                Role::Bucket(_, bound) => one.add_bucket(bound, grown),
                Role::Count(_) => {
                    one.count += grown;
                    one.timed.add(grown, failed);
                }
                Role::Sum(_) => one.sum += grown,
                Role::Requests(_) => one.counted.add(grown, failed),
                Role::Busy | Role::Started => {}
            }
        }
        // A counter with other labels than the durations counts the same requests once more.
        all.retain(|_, grown| !is_timed || grown.timed.requests > 0.0);
        all
    }
}

/// The sum of the gauge's samples: some have one per process.
fn busy(found: &[(Role, &Sample<'_>)]) -> Option<u32> {
    let mut gauges =
        found.iter().filter(|(role, _)| *role == Role::Busy).map(|(_, sample)| sample.value).peekable();
    gauges.peek()?;
    Some(gauges.sum::<f64>().clamp(0.0, 1e6) as u32)
}

fn measured(is_timed: bool, judged: bool) -> Measured {
    Measured {
        by: vec![Source::Metrics],
        held_us: if is_timed { Quality::Estimated } else { Quality::Unmeasured },
        errors: if judged { Quality::Measured } else { Quality::Unmeasured },
        ..Measured::nothing()
    }
}

/// The balancer's name for it where the label has a path; what is variable in it is taken for a number. Else the name
/// that the application has for it.
fn class(method: Option<&str>, path: Option<&str>, classifier: &Classifier) -> ClassName {
    let method = method.map_or_else(|| "METHOD".to_owned(), str::to_ascii_uppercase);
    let Some(path) = path else { return ClassName::other() };
    if !path.starts_with('/') {
        let words = path.replace(|c: char| !c.is_ascii_graphic() || matches!(c, '"' | '\\'), "_");
        return ClassName::parse(&format!("{method} {words}")).unwrap_or_else(ClassName::other);
    }
    let segments: Vec<_> = path.split('/').map(|part| if is_variable(part) { "0" } else { part }).collect();
    let path = segments.join("/");
    let mut name = String::new();
    let request = Request {
        method: &method,
        host: "",
        path: &path,
        kind: Kind::of(&method, |_| false),
        field: &|_| None,
    };
    classifier.classify(&request, &mut name);
    ClassName::parse(&name).unwrap_or_else(ClassName::other)
}

/// As routers write it: `<int:id>`, `{id}`, `:id`, `(?P<id>[0-9]+)`.
fn is_variable(segment: &str) -> bool {
    segment.starts_with([':', '(']) || segment.contains(['<', '{'])
}

#[cfg(test)]
mod tests;
