//! What the configuration says of instances without agents, and what its sources found of late.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sluice_proto::Target;

use crate::config::{InstanceSpec, Place, Source, Terms};
use crate::decide::membership::Key;
use crate::decide::sources::{Endpoint, Origin, Standing, Wanted};

/// What is found, by the source as it is written: what one process hands to the next.
pub type Found = BTreeMap<String, Vec<Endpoint>>;

/// No I/O, no clock: others look, this remembers.
#[derive(Debug, Default)]
pub(in crate::control) struct Book {
    specs: Vec<InstanceSpec>,
    found: Found,
}

impl Book {
    /// Another configuration. What was found by sources that stay is kept.
    pub(in crate::control) fn configure(&mut self, specs: &[InstanceSpec]) {
        self.specs = specs.to_vec();
        let sources: HashSet<_> = self.sources().iter().map(Source::to_string).collect();
        self.found.retain(|source, _| sources.contains(source));
    }

    /// Where to look, each once.
    pub(in crate::control) fn sources(&self) -> HashSet<Source> {
        let sources = self.specs.iter().filter_map(|spec| match &spec.place {
            Place::Source(source) => Some(source.clone()),
            Place::One { .. } => None,
        });
        sources.collect()
    }

    /// All that a source has now. Nothing is done for one that the configuration has no more.
    pub(in crate::control) fn heard(&mut self, source: &Source, endpoints: Vec<Endpoint>) {
        if self.sources().contains(source) {
            self.found.insert(source.to_string(), endpoints);
        }
    }

    pub(in crate::control) fn found(&self) -> &Found {
        &self.found
    }

    /// What an earlier process found, until it is looked for anew.
    pub(in crate::control) fn inherit(&mut self, found: Found) {
        let sources: HashSet<_> = self.sources().iter().map(Source::to_string).collect();
        self.found.extend(found.into_iter().filter(|(source, _)| sources.contains(source)));
    }

    /// The instances that there should be. What is named itself goes before what is found, and what an earlier source
    /// found before the same address or name of a later one.
    pub(in crate::control) fn wanted(&self) -> BTreeMap<Key, Wanted> {
        let mut wanted = BTreeMap::new();
        for spec in &self.specs {
            if let Place::One { target, name } = &spec.place {
                let key = (spec.terms.service.clone(), name.clone());
                let one = on_terms(&spec.terms, target, Standing::Serving, Origin::Configuration);
                wanted.insert(key, one);
            }
        }
        let mut taken: HashSet<_> = wanted.iter().map(|(key, w)| (key.0.clone(), w.target.clone())).collect();
        for spec in &self.specs {
            let Place::Source(source) = &spec.place else { continue };
            let label: Arc<str> = source.to_string().into();
            for Endpoint { name, target, standing } in self.found.get(&*label).into_iter().flatten() {
                let service = &spec.terms.service;
                let key = (service.clone(), name.clone());
                if !wanted.contains_key(&key) && taken.insert((service.clone(), target.clone())) {
                    let origin = Origin::Source(label.clone());
                    wanted.insert(key, on_terms(&spec.terms, target, *standing, origin));
                }
            }
        }
        wanted
    }
}

fn on_terms(terms: &Terms, target: &Target, standing: Standing, origin: Origin) -> Wanted {
    let (target, workers) = (target.clone(), terms.workers.get());
    Wanted { target, workers, release: terms.release, origin, standing }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn specs(lines: &[&str]) -> Vec<InstanceSpec> {
        lines.iter().map(|line| line.parse().expect(line)).collect()
    }

    fn source(line: &str) -> Source {
        let Place::Source(source) = line.parse().expect(line) else { panic!("{line}: no source") };
        source
    }

    fn endpoints(addresses: &[&str]) -> Vec<Endpoint> {
        let endpoint = |address: &&str| {
            let address: SocketAddr = address.parse().expect("an address");
            Endpoint::new(address.ip(), address.port(), None, Standing::Serving)
        };
        addresses.iter().map(endpoint).collect()
    }

    fn told(book: &Book) -> Vec<String> {
        let told = |(key, wanted): (&Key, &Wanted)| {
            format!("{} {} x{} by {}", key.0, key.1, wanted.workers, wanted.origin)
        };
        book.wanted().iter().map(told).collect()
    }

    #[test]
    fn an_instance_is_wanted_once_and_by_who_names_it_first() {
        let (a, b) = ("dns:a.example:80", "dns:b.example:80");
        let mut book = Book::default();
        book.configure(&specs(&["10.0.0.1:80,name=one,workers=4", &format!("{a},workers=2"), b]));
        assert_eq!(told(&book), ["default one x4 by configuration"], "nothing is found yet");
        book.heard(&source(a), endpoints(&["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"]));
        book.heard(&source(b), endpoints(&["10.0.0.2:80", "10.0.0.3:80"]));
        book.heard(&source("dns:c.example:80"), endpoints(&["10.0.0.9:80"]));
        let expected = [
            "default 10.0.0.2:80 x2 by dns:a.example:80",
            "default 10.0.0.3:80 x1 by dns:b.example:80",
            "default [::1]:80 x2 by dns:a.example:80",
            "default one x4 by configuration",
        ];
        assert_eq!(told(&book), expected);
    }

    #[test]
    fn with_another_configuration_what_sources_found_stays_as_long_as_they_do() {
        let (a, b) = ("dns:a.example:80", "srv:_http._tcp.b.example");
        let mut book = Book::default();
        book.configure(&specs(&[a, b]));
        book.heard(&source(a), endpoints(&["10.0.0.1:80"]));
        book.heard(&source(b), endpoints(&["10.0.0.2:80"]));
        let handed = serde_json::to_string(book.found()).expect("plain data");
        book.configure(&specs(&["srv:_http._tcp.b.example,workers=3,service=shop"]));
        assert_eq!(told(&book), ["shop 10.0.0.2:80 x3 by srv:_http._tcp.b.example"]);
        book.configure(&specs(&[a, b]));
        assert_eq!(told(&book).len(), 1, "what was gone is to be found anew");
        let mut next = Book::default();
        next.configure(&specs(&[a]));
        next.inherit(serde_json::from_str(&handed).expect("as it was written"));
        assert_eq!(told(&next), ["default 10.0.0.1:80 x1 by dns:a.example:80"]);
    }
}
