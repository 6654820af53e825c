//! Finds a request's class, and what belongs to the class, without an allocation for one that is known.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderName, header::HOST, request};
use sluice_proto::{ClassName, Kind, classify::Request, headers, report::MAX_CLASSES};

use crate::{config::Buffered, metrics::ClassMetrics, shared::Shared};

static CLASS: HeaderName = HeaderName::from_static(headers::CLASS);

/// A class as one data thread knows it.
pub(super) struct Class {
    pub(super) name: ClassName,
    pub(super) metrics: ClassMetrics,
    pub(super) buffered: Buffered,
    tail: Cell<Option<Duration>>,
}

impl Class {
    /// From a response's head to the last byte of the instance. `None`: none has ended yet.
    pub(super) fn tail(&self) -> Option<Duration> {
        self.tail.get()
    }

    /// A response ended so long after its head. Rises at once and comes down slowly.
    pub(super) fn ended_after_head(&self, time: Duration) {
        let known = self.tail.get().unwrap_or_default();
        self.tail.set(Some(if time > known { time } else { (known * 3 + time) / 4 }));
    }
}

/// The classes that one data thread has seen, at most [`MAX_CLASSES`].
pub(super) struct ClassTable {
    known: RefCell<HashMap<ClassName, Rc<Class>>>,
    scratch: RefCell<String>,
    shared: Arc<Shared>,
}

impl ClassTable {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { known: RefCell::default(), scratch: RefCell::default(), shared }
    }

    /// The class that the balancer gave the request. One that came past it is sorted as the balancer would, if it has
    /// said how, else by method and path.
    pub(super) fn of(&self, request: &request::Parts) -> Rc<Class> {
        let given = request.headers.get(&CLASS).and_then(|name| name.to_str().ok());
        // One that is known is a valid name.
        if let Some(class) = given.and_then(|name| self.known.borrow().get(name).cloned()) {
            return class;
        }
        match given.filter(|name| ClassName::parse(name).is_some()) {
            Some(name) => self.named(name),
            None => {
                let mut scratch = self.scratch.borrow_mut();
                let field = |name: &str| text(&request.headers, name);
                self.shared.classifier().classify(&view(request, &field), &mut scratch);
                self.named(&scratch)
            }
        }
    }

    fn named(&self, name: &str) -> Rc<Class> {
        let mut known = self.known.borrow_mut();
        if let Some(class) = known.get(name) {
            return class.clone();
        }
        let name = ClassName::parse(name).unwrap_or_else(ClassName::other);
        let class = Rc::new(Class {
            metrics: self.shared.metrics.class(&name),
            buffered: self.shared.config.buffering.of(name.as_str()),
            tail: Cell::default(),
            name: name.clone(),
        });
        // What the balancer learns gives classes new names: those that are in use come back at once.
        if known.len() >= MAX_CLASSES {
            known.clear();
        }
        known.insert(name, class.clone());
        class
    }
}

fn view<'a>(request: &'a request::Parts, field: &'a dyn Fn(&str) -> Option<&'a str>) -> Request<'a> {
    let method = request.method.as_str();
    let kind = Kind::of(method, |name| request.headers.contains_key(name));
    let host = field(HOST.as_str()).unwrap_or_default();
    Request { method, host, path: request.uri.path(), kind, field }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
