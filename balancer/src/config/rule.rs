//! `[[rule]]` and `[[service.NAME.rule]]` tables: what the operator knows of some requests.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_process::config::{ConfigError, one_or_many};
use sluice_process::{ByteSize, Span};
use sluice_proto::{HeaderSpec, InstanceName, RuleError, RuleSpec, Rules};

use crate::decide::sticky::{CookieSource, StickySpec, is_cookie_name};
use crate::decide::treatment::{LanePin, ServiceRules, Treatment};

/// One rule as the file has it. All matchers that are given must match; the first rule wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RuleOptions {
    /// What the class is called, unique within the service.
    pub name: String,
    /// Host names, `*.` before one for all below it. None: any host.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// None: any method.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// A regular expression found anywhere in the path; named groups become part of the class name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether its requests stay apart by method and path, under the rule's name. Else they are one class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned: Option<bool>,
    /// `small` or `large`: the lane, whatever is learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// How long after its arrival a request without a worker is of no use any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// -10 to 10; who has more goes first. What has no rule has 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Names of the only instances that may serve it.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
    /// Largest request body, instead of --max-body-size; 0: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<ByteSize>,
    /// A field that the request must have: `{ name = "X-Batch", value = "^yes$" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderOptions>,
    /// Its requests keep to one instance, by a cookie: `{ cookie = "__ac", set = false }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickyOptions>,
}

/// `header = { name = "NAME", value = "REGEX" }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderOptions {
    /// Of the field.
    pub name: String,
    /// A regular expression found anywhere in its value. None: any value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// `sticky = { cookie = "NAME", set = true }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StickyOptions {
    /// Its name: letters, digits and `-._`, 64 at most.
    pub cookie: String,
    /// Whether Sluice sets the cookie; else the application does, and each of its values has an instance.
    #[serde(default = "yes")]
    pub set: bool,
}

fn yes() -> bool {
    true
}

/// Where nothing means any number.
pub(super) fn most_bytes(size: ByteSize) -> u64 {
    if size.as_u64() == 0 { u64::MAX } else { size.as_u64() }
}

/// Checks the rules of one service. `prefix` is where they are: `rule` or `service.NAME.rule`.
pub(super) fn check(prefix: &str, options: &[RuleOptions]) -> Result<Arc<ServiceRules>, ConfigError> {
    let specs = options.iter().map(RuleOptions::spec).collect();
    let rules = Rules::compile(specs).map_err(|error| refused(prefix, options, error))?;
    let treatments = options.iter().map(|rule| rule.treatment(prefix)).collect::<Result<_, _>>()?;
    Ok(Arc::new(ServiceRules::new(rules, treatments)))
}

/// Names the field: by the rule's name, or by its place if the name is what is wrong.
fn refused(prefix: &str, options: &[RuleOptions], error: RuleError) -> ConfigError {
    let RuleError { rule, field, value, accepted } = error;
    let place = options.iter().rposition(|option| option.name == rule).unwrap_or(0) + 1;
    let at = if field == "name" { place.to_string() } else { rule };
    ConfigError::value(format!("{prefix}.{at}.{field}"), value, accepted)
}

impl RuleOptions {
    fn spec(&self) -> RuleSpec {
        RuleSpec {
            name: self.name.clone(),
            hosts: self.hosts.clone(),
            methods: self.methods.clone(),
            path: self.path.clone(),
            header: self.header.as_ref().map(HeaderOptions::spec),
            learned: self.learned.unwrap_or(false),
        }
    }

    fn treatment(&self, prefix: &str) -> Result<Treatment, ConfigError> {
        let refuse = |field: &str, value: &dyn ToString, accepted: &str| {
            ConfigError::value(format!("{prefix}.{}.{field}", self.name), value.to_string(), accepted)
        };
        let lane = match self.lane.as_deref() {
            None => None,
            Some("small") => Some(LanePin::Small),
            Some("large") => Some(LanePin::Large),
            Some(other) => return Err(refuse("lane", &other, "small or large")),
        };
        let deadline = self.deadline.map(Span::duration);
        if deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err(refuse("deadline", &"0s", "a time above zero, such as 2s"));
        }
        let priority = self.priority.unwrap_or(0);
        if !(-10..=10).contains(&priority) {
            return Err(refuse("priority", &priority, "a whole number from -10 to 10"));
        }
        let name = |text: &String| {
            text.parse::<InstanceName>().map_err(|error| refuse("instances", text, &error.to_string()))
        };
        let instances = self.instances.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        if let Some(sticky) = self.sticky.as_ref().filter(|sticky| !is_cookie_name(&sticky.cookie)) {
            let accepted = "1 to 64 letters, digits and - . _, such as __ac";
            return Err(refuse("sticky.cookie", &sticky.cookie, accepted));
        }
        Ok(Treatment {
            lane,
            deadline,
            priority: priority as i8,
            instances: (!instances.is_empty()).then(|| instances.into()),
            sticky: self.sticky.as_ref().map(StickyOptions::spec),
            max_body_size: self.max_body_size.map(most_bytes),
        })
    }
}

impl HeaderOptions {
    fn spec(&self) -> HeaderSpec {
        HeaderSpec { name: self.name.clone(), value: self.value.clone() }
    }
}

impl StickyOptions {
    fn spec(&self) -> StickySpec {
        let source = if self.set { CookieSource::Sluice } else { CookieSource::Application };
        StickySpec::new(&self.cookie, source)
    }
}
