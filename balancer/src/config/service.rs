//! `[service.NAME]` tables: which hosts and path prefixes lead to which application.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_process::config::{ConfigError, one_or_many};
use sluice_proto::{HostPattern, ServiceName};

use crate::config::rule::{self, RuleOptions};
use crate::decide::route::{Routes, Rule};
use crate::decide::treatment::ServiceRules;
use crate::decide::versions::VersionPolicy;

/// One service as the file has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ServiceOptions {
    /// Host names, `*.` before one for all below it. None: any host.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Path prefixes, in whole segments. None: any path.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,
    /// Which versions of the application get its requests; not said: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<VersionPolicy>,
    /// What the operator knows of its requests, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<RuleOptions>,
}

/// One service, checked.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    pub name: ServiceName,
    /// Empty for the service that gets what no rule matches.
    pub rules: Vec<Rule>,
    /// How its requests are classified and treated.
    pub class_rules: Arc<ServiceRules>,
    /// Which versions of the application get its requests.
    pub versions: VersionPolicy,
}

/// Checks the tables and adds the default service, if it is not among them. `rules` are those that
/// stand outside of all services: the default one's, as is `versions`, which beats what its table has.
pub(super) fn check(
    services: &BTreeMap<String, ServiceOptions>,
    rules: &[RuleOptions],
    versions: Option<&VersionPolicy>,
) -> Result<Vec<ServiceSpec>, ConfigError> {
    let mut specs =
        services.iter().map(|(name, options)| spec(name, options)).collect::<Result<Vec<_>, _>>()?;
    let class_rules = rule::check("rule", rules)?;
    match specs.iter_mut().find(|spec| spec.name == ServiceName::default()) {
        None => specs.push(ServiceSpec {
            name: ServiceName::default(),
            rules: Vec::new(),
            class_rules,
            versions: VersionPolicy::default(),
        }),
        Some(_) if rules.is_empty() => {}
        Some(default) if default.class_rules.rules().specs().is_empty() => default.class_rules = class_rules,
        Some(_) => {
            let accepted =
                "rules of the default service in one place, in [[rule]] or in [[service.default.rule]]";
            return Err(ConfigError::value("service.default.rule", "and rule", accepted));
        }
    }
    let default = specs.iter_mut().find(|spec| spec.name == ServiceName::default());
    if let Some((default, versions)) = default.zip(versions) {
        default.versions = versions.clone();
    }
    Ok(specs)
}

fn spec(key: &str, options: &ServiceOptions) -> Result<ServiceSpec, ConfigError> {
    let name: ServiceName = key.parse().map_err(|e| ConfigError::value("service", key, format!("{e}")))?;
    if options.hosts.is_empty() && options.path_prefixes.is_empty() && name != ServiceName::default() {
        let accepted = "at least one of hosts and path-prefixes";
        return Err(ConfigError::missing(format!("service.{key}.hosts"), accepted));
    }
    let hosts = or_any(&options.hosts, "*");
    let prefixes = or_any(&options.path_prefixes, "/");
    let mut rules = Vec::new();
    for host in &hosts {
        let pattern: HostPattern = host
            .parse()
            .map_err(|accepted: String| ConfigError::value(format!("service.{key}.hosts"), host, accepted))?;
        for prefix in &prefixes {
            if !prefix.starts_with('/') || prefix.contains(['?', '#', ' ']) {
                let field = format!("service.{key}.path-prefixes");
                return Err(ConfigError::value(field, prefix, "a path that starts with /, without a query"));
            }
            rules.push(Rule { service: name.clone(), host: pattern.clone(), path_prefix: prefix.clone() });
        }
    }
    let class_rules = rule::check(&format!("service.{key}.rule"), &options.rule)?;
    Ok(ServiceSpec { name, rules, class_rules, versions: options.versions.clone().unwrap_or_default() })
}

fn or_any(values: &[String], any: &str) -> Vec<String> {
    if values.is_empty() { vec![any.to_owned()] } else { values.to_vec() }
}

/// The routes of all services; what none matches goes to the default one.
pub fn routes(services: &[ServiceSpec]) -> Routes {
    let rules = services.iter().flat_map(|service| service.rules.iter().cloned()).collect();
    Routes::new(rules, ServiceName::default())
}
