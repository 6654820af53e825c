//! Operator's rules that name a class: what a request must be like, and what its class is called.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::ClassName;
use crate::classify::Request;
use crate::host::{HostPattern, without_port};
use crate::segment::push_clean;

/// The most rules of one service: each is tried for each request.
pub const MAX_RULES: usize = 100;
/// The longest name of a rule, in bytes.
pub(crate) const MAX_NAME: usize = 64;
/// The longest regular expression, in bytes.
const MAX_PATTERN: usize = 512;
/// The most that a rule lists of hosts or methods.
const MAX_LIST: usize = 16;
/// The longest name of a class by rule, groups included; the rest of a class name is for its template.
const MAX_WRITTEN: usize = 120;
/// All rules of a service as JSON, in bytes: they go to passive agents with their plan.
const MAX_JSON: usize = 64 * 1024;
/// Memory of one compiled expression, in bytes. Enough for anything that a path is matched with.
const MAX_COMPILED: usize = 1 << 20;

/// A rule as it is written down. All that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSpec {
    /// What the class is called.
    pub name: String,
    /// Host names, `*.` before one for all below it. None: any host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// None: any method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// A regular expression found anywhere in the path. What its named groups match becomes part of
    /// the class name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderSpec>,
    /// The requests stay apart by method, path and kind, under the rule's name.
    #[serde(default)]
    pub learned: bool,
}

/// A header field that a request must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderSpec {
    pub name: String,
    /// A regular expression found anywhere in its value. `None`: any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}: {field} = {value:?} is not usable: {accepted}")]
pub struct RuleError {
    /// Its name, or its place in the list where that is what is wrong.
    pub rule: String,
    pub field: &'static str,
    pub value: String,
    /// What is accepted.
    pub accepted: String,
}

/// The rules of one service, in order: the first that matches decides.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    specs: Vec<RuleSpec>,
    rules: Vec<Rule>,
}

/// One rule, ready to be tried.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    name: String,
    hosts: Vec<HostPattern>,
    methods: Vec<String>,
    path: Option<Regex>,
    /// Names and numbers of the groups in `path`.
    groups: Vec<(String, usize)>,
    header: Option<(String, Option<Regex>)>,
    learned: bool,
}

impl Rules {
    /// # Errors
    /// The first rule that can not be used, or whose name is taken.
    pub fn compile(specs: Vec<RuleSpec>) -> Result<Self, RuleError> {
        if let Some(spec) = specs.get(MAX_RULES) {
            let accepted = format!("at most {MAX_RULES} rules per service");
            return Err(refuse(spec, "name", &spec.name, accepted));
        }
        for (index, spec) in specs.iter().enumerate() {
            if specs[..index].iter().any(|earlier| earlier.name == spec.name) {
                return Err(refuse(spec, "name", &spec.name, "a name that no earlier rule has"));
            }
        }
        let size = serde_json::to_string(&specs).expect("plain text and lists").len();
        if let Some(last) = specs.last().filter(|_| size > MAX_JSON) {
            let accepted = format!("rules of a service are at most {MAX_JSON} bytes together, these {size}");
            return Err(refuse(last, "name", &last.name, accepted));
        }
        let rules = specs.iter().map(Rule::compile).collect::<Result<_, _>>()?;
        Ok(Self { specs, rules })
    }

    /// As they were written down.
    pub fn specs(&self) -> &[RuleSpec] {
        &self.specs
    }

    /// The place of the rule that names a class of this name.
    pub fn of_class(&self, name: &ClassName) -> Option<usize> {
        let word = name.parts().first_word();
        self.rules.iter().position(|rule| rule.name == word)
    }

    pub(crate) fn first_match(&self, request: &Request<'_>, path: &str) -> Option<(usize, &Rule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.matches(request, path))
    }
}

impl Rule {
    fn compile(spec: &RuleSpec) -> Result<Self, RuleError> {
        check_name(spec)?;
        for (field, list) in [("hosts", &spec.hosts), ("methods", &spec.methods)] {
            if let Some(extra) = list.get(MAX_LIST) {
                return Err(refuse(spec, field, extra, format!("at most {MAX_LIST} of them")));
            }
        }
        let host = |text: &String| {
            let pattern = text.parse().map_err(|accepted: String| refuse(spec, "hosts", text, accepted));
            pattern.and_then(|pattern| short(spec, "hosts", text).map(|()| pattern))
        };
        let path = spec.path.as_ref().map(|text| pattern(spec, "path", text)).transpose()?;
        let header = spec.header.as_ref().map(|header| compile_header(spec, header)).transpose()?;
        Ok(Self {
            name: spec.name.clone(),
            hosts: spec.hosts.iter().map(host).collect::<Result<_, _>>()?,
            methods: spec.methods.iter().map(|text| method(spec, text)).collect::<Result<_, _>>()?,
            groups: path.as_ref().map(named_groups).unwrap_or_default(),
            path,
            header,
            learned: spec.learned,
        })
    }

    pub(crate) fn is_learned(&self) -> bool {
        self.learned
    }

    fn matches(&self, request: &Request<'_>, path: &str) -> bool {
        let host = || without_port(request.host);
        (self.methods.is_empty() || self.methods.iter().any(|method| method == request.method))
            && (self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(host())))
            && self.path.as_ref().is_none_or(|pattern| pattern.is_match(path))
            && self.header.as_ref().is_none_or(|(name, value)| {
                (request.field)(name)
                    .is_some_and(|given| value.as_ref().is_none_or(|pattern| pattern.is_match(given)))
            })
    }

    /// Adds the rule's name and its groups: `report year=2024`.
    pub(crate) fn write_name(&self, path: &str, out: &mut String) {
        out.push_str(&self.name);
        let captures = match &self.path {
            Some(pattern) if !self.groups.is_empty() => pattern.captures(path),
            _ => None,
        };
        let Some(captures) = captures else { return };
        for (name, number) in &self.groups {
            if let Some(found) = captures.get(*number).filter(|found| !found.is_empty()) {
                out.push(' ');
                push_clean(name, out);
                out.push('=');
                push_clean(found.as_str(), out);
            }
        }
        out.truncate(MAX_WRITTEN);
    }
}

fn check_name(spec: &RuleSpec) -> Result<(), RuleError> {
    let name = &spec.name;
    let valid = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        // A method's name would be taken for one: methods are written in capitals.
        && name.bytes().any(|b| b.is_ascii_lowercase())
        && name != ClassName::OTHER;
    let accepted = "1 to 64 of A-Z a-z 0-9 . _ -, with a small letter, and not \"other\"";
    if valid { Ok(()) } else { Err(refuse(spec, "name", name, accepted)) }
}

fn compile_header(spec: &RuleSpec, header: &HeaderSpec) -> Result<(String, Option<Regex>), RuleError> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !(1..=MAX_NAME).contains(&header.name.len()) || !header.name.bytes().all(is_token) {
        let accepted = "the name of a header field, such as Accept-Language";
        return Err(refuse(spec, "header.name", &header.name, accepted));
    }
    let value = header.value.as_ref().map(|text| pattern(spec, "header.value", text)).transpose()?;
    Ok((header.name.to_ascii_lowercase(), value))
}

/// Methods are case-sensitive (RFC 9110, 9.1): `get` would match nothing.
fn method(spec: &RuleSpec, text: &str) -> Result<String, RuleError> {
    let valid =
        (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    let accepted = "methods in capitals, such as GET or POST";
    if valid { Ok(text.to_owned()) } else { Err(refuse(spec, "methods", text, accepted)) }
}

fn pattern(spec: &RuleSpec, field: &'static str, text: &str) -> Result<Regex, RuleError> {
    short(spec, field, text)?;
    let compiled = RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
    compiled.map_err(|error| {
        // The last line says what is wrong; those before draw where.
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        refuse(spec, field, text, format!("a regular expression, such as ^/exports/ ({why})"))
    })
}

fn short(spec: &RuleSpec, field: &'static str, text: &str) -> Result<(), RuleError> {
    let accepted = || format!("at most {MAX_PATTERN} bytes");
    if text.len() <= MAX_PATTERN { Ok(()) } else { Err(refuse(spec, field, text, accepted())) }
}

fn named_groups(pattern: &Regex) -> Vec<(String, usize)> {
    let names = pattern.capture_names().enumerate();
    names.filter_map(|(number, name)| name.map(|name| (name.to_owned(), number))).collect()
}

fn refuse(spec: &RuleSpec, field: &'static str, value: &str, accepted: impl Into<String>) -> RuleError {
    RuleError { rule: spec.name.clone(), field, value: value.to_owned(), accepted: accepted.into() }
}

#[cfg(test)]
mod tests;
