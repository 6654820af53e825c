//! `[service.NAME]` tables: which hosts and path prefixes lead to which application.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_process::config::{ConfigError, one_or_many};
use sluice_proto::ServiceName;

use crate::decide::route::{HostPattern, Routes, Rule};

/// One service as the file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ServiceOptions {
    /// Host names, `*.` before one for all below it. None: any host.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Path prefixes, in whole segments. None: any path.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,
}

/// One service, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    pub name: ServiceName,
    /// Empty for the service that gets what no rule matches.
    pub rules: Vec<Rule>,
}

/// Checks the tables and adds the default service, if it is not among them.
pub(super) fn check(services: &BTreeMap<String, ServiceOptions>) -> Result<Vec<ServiceSpec>, ConfigError> {
    let mut specs =
        services.iter().map(|(name, options)| spec(name, options)).collect::<Result<Vec<_>, _>>()?;
    if !specs.iter().any(|spec| spec.name == ServiceName::default()) {
        specs.push(ServiceSpec { name: ServiceName::default(), rules: Vec::new() });
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
    Ok(ServiceSpec { name, rules })
}

fn or_any(values: &[String], any: &str) -> Vec<String> {
    if values.is_empty() { vec![any.to_owned()] } else { values.to_vec() }
}

/// The routes of all services; what none matches goes to the default one.
pub fn routes(services: &[ServiceSpec]) -> Routes {
    let rules = services.iter().flat_map(|service| service.rules.iter().cloned()).collect();
    Routes::new(rules, ServiceName::default())
}
