//! Finds a request's class, and what belongs to the class, without an allocation for one that is known.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use http::{HeaderMap, HeaderValue, request};
use sluice_proto::{ClassName, class::write_name, headers, report::MAX_CLASSES};

use crate::metrics::{AgentMetrics, ClassMetrics};

/// A class as one data thread knows it.
pub(super) struct Class {
    pub(super) name: ClassName,
    pub(super) metrics: ClassMetrics,
}

/// The classes that one data thread has seen, at most [`MAX_CLASSES`]; the rest are made anew for each request.
pub(super) struct ClassTable {
    known: RefCell<HashMap<ClassName, Rc<Class>>>,
    scratch: RefCell<String>,
    metrics: AgentMetrics,
}

impl ClassTable {
    pub(super) fn new(metrics: AgentMetrics) -> Self {
        Self { known: RefCell::default(), scratch: RefCell::default(), metrics }
    }

    /// The class that the balancer gave the request, else one by method and path.
    pub(super) fn of(&self, request: &request::Parts) -> Rc<Class> {
        match given(&request.headers) {
            Some(name) => self.named(name),
            None => {
                let mut scratch = self.scratch.borrow_mut();
                write_name(request.method.as_str(), request.uri.path(), &mut scratch);
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
        let class = Rc::new(Class { metrics: self.metrics.class(&name), name: name.clone() });
        if known.len() < MAX_CLASSES {
            known.insert(name, class.clone());
        }
        class
    }
}

fn given(headers: &HeaderMap) -> Option<&str> {
    let name = headers.get(headers::CLASS).map(HeaderValue::to_str)?.ok()?;
    ClassName::parse(name).is_some().then_some(name)
}
