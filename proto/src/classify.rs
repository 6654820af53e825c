//! From a request to the name of its class: operator's rules, then what is learned, then the static rules.
//!
//! Balancer and passive agents run this very code, so that both speak of the same classes.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::class::{MAX_LEN, Parts};
use crate::template::{REST_LEN, write_template};
use crate::{ClassName, Kind, RuleError, RuleSpec, Rules, Templates};

/// What a class may depend on.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// The `Host` field, with or without a port.
    pub host: &'a str,
    /// A query, if there is one, is ignored.
    pub path: &'a str,
    pub kind: Kind,
    /// A header field by its name in lower case.
    pub field: &'a dyn Fn(&str) -> Option<&'a str>,
}

/// How a request came to its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An operator's rule, by its place in [`Rules`].
    Rule(usize),
    /// Its path.
    Path,
}

/// Writes the class name of a request to `out`, which is cleared first.
///
/// The caller keeps `out` between requests, so that a request of a known class allocates nothing,
/// unless its path is matched by a rule with groups.
pub fn classify(request: &Request<'_>, rules: &Rules, templates: &Templates, out: &mut String) -> Origin {
    out.clear();
    let path = request.path.split(['?', '#']).next().unwrap_or_default();
    let Some((index, rule)) = rules.first_match(request, path) else {
        write_learned(request, path, templates, out);
        return Origin::Path;
    };
    rule.write_name(path, out);
    if rule.is_learned() {
        out.push(' ');
        write_learned(request, path, templates, out);
    } else {
        out.push_str(request.kind.after_rule());
    }
    Origin::Rule(index)
}

fn write_learned(request: &Request<'_>, path: &str, templates: &Templates, out: &mut String) {
    out.push_str(method_name(request.method));
    out.push(' ');
    let kind = request.kind.after_template();
    write_template(path, templates, MAX_LEN - out.len() - kind.len(), out);
    out.push_str(kind);
}

/// HTTP's methods and those of WebDAV, versioning and caches. Others share a name: a client can make
/// them up without end.
fn method_name(method: &str) -> &str {
    const KNOWN: [&str; 24] = [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "CONNECT",
        "OPTIONS",
        "TRACE",
        "PATCH",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
        "ACL",
        "BIND",
        "CHECKIN",
        "CHECKOUT",
        "MKCALENDAR",
        "PURGE",
        "REPORT",
        "SEARCH",
    ];
    if KNOWN.contains(&method) { method } else { "METHOD" }
}

/// The name that a class has by now, if what was learned since gave it another.
pub fn renamed(name: &ClassName, templates: &Templates) -> Option<ClassName> {
    let Parts { before, template, after } = name.parts();
    if template.is_empty() {
        return None;
    }
    let mut now = before.to_owned();
    templates.rewrite(template, &mut now);
    now.push_str(after);
    if now == name.as_str() { None } else { ClassName::parse(&now) }
}

/// Why the name of a class reads as it does, in words; `None` if nothing in it was learned.
pub fn reason(name: &ClassName, templates: &Templates) -> Option<String> {
    templates.reason(name.parts().template)
}

/// Rules and templates as they go to agents that classify themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// Of the content: a reader that has this version need not get it again.
    pub version: u64,
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
    #[serde(default)]
    pub templates: Templates,
}

impl Classification {
    /// The most bytes that one takes as JSON.
    pub const MAX_BYTES: usize = 192 * 1024;

    /// Puts both together. Templates that do not fit are left out, the deepest first; rules are held
    /// to less than [`Self::MAX_BYTES`] by [`Rules::compile`].
    pub fn new(rules: &[RuleSpec], templates: &Templates) -> Self {
        let mut this = Self { version: 0, rules: rules.to_vec(), templates: templates.clone() };
        loop {
            let text = serde_json::to_string(&this).expect("plain text, numbers and lists");
            if text.len() <= Self::MAX_BYTES || this.templates.is_empty() {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                // Zero is what nobody has.
                this.version = hasher.finish().max(1);
                return this;
            }
            this.templates = this.templates.truncated(this.templates.len() / 2);
        }
    }
}

/// A [`Classification`] ready for use.
#[derive(Clone, Debug, Default)]
pub struct Classifier {
    rules: Rules,
    templates: Templates,
}

impl Classifier {
    pub fn classify(&self, request: &Request<'_>, out: &mut String) -> Origin {
        classify(request, &self.rules, &self.templates, out)
    }
}

impl TryFrom<Classification> for Classifier {
    type Error = RuleError;

    fn try_from(wire: Classification) -> Result<Self, RuleError> {
        Ok(Self { rules: Rules::compile(wire.rules)?, templates: wire.templates })
    }
}

const _: () =
    assert!(crate::rules::MAX_NAME + 64 + REST_LEN < MAX_LEN, "a rule's name leaves room for a template");

#[cfg(test)]
mod tests;
