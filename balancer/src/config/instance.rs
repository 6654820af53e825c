//! `--instance ADDR[,workers=N][,release=first-byte|end][,service=NAME][,name=NAME]`, where ADDR may be a name in DNS
//! that stands for several instances: `dns:NAME:PORT`, `srv:_SERVICE._PROTOCOL.NAME`.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use sluice_process::config::ConfigError;
use sluice_process::discover::Name;
use sluice_process::serde_as_text;
use sluice_proto::{InstanceName, Target};

use crate::config::{ServiceSpec, Source, Terms};

const ACCEPTED: &str = "ADDR[,workers=N][,release=first-byte|end][,service=NAME][,name=NAME]";

/// An instance that has no agent, or a source of such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpec {
    pub place: Place,
    pub terms: Terms,
}

/// Where instances are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One, at an address.
    One { target: Target, name: InstanceName },
    /// As many as the source has.
    Source(Source),
}

serde_as_text!(InstanceSpec, ACCEPTED);

impl FromStr for InstanceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let place = parts.next().unwrap_or_default().parse()?;
        let mut spec = Self { place, terms: Terms::default() };
        parts.try_for_each(|part| spec.set(part))?;
        Ok(spec)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = match text.parse::<Target>() {
            // A host may well be called dns: dns:8080.
            Ok(target) => {
                // Names have no slashes: unix:/run/a.sock is unix:.run.a.sock.
                let name = target.as_str().replace('/', ".").parse().map_err(|e| format!("{e}"))?;
                return Ok(Self::One { target, name });
            }
            Err(refused) => refused.to_string(),
        };
        let named = |name: Option<Name>, example: &str| {
            let name = name.ok_or_else(|| format!("{text:?}: give it as in {example}"))?;
            Ok(Self::Source(Source::Dns(name)))
        };
        match text.split_once(':') {
            Some(("dns", rest)) => named(Name::host(rest), "dns:zope.example:8080"),
            Some(("srv", rest)) => {
                named(Name::service(rest), "srv:_http._tcp.zope.example, without a port, which DNS has")
            }
            _ => Err(refused),
        }
    }
}

impl InstanceSpec {
    fn set(&mut self, part: &str) -> Result<(), String> {
        match (part.split_once('='), &mut self.place) {
            (Some(("name", text)), Place::One { name, .. }) => {
                *name = text.parse().map_err(|e| format!("{e}"))?;
                Ok(())
            }
            (Some(("name", _)), Place::Source(_)) => {
                Err(format!("{part:?}: what is found by name is called by its address"))
            }
            _ => self.terms.set(part, ACCEPTED),
        }
    }
}

impl fmt::Display for InstanceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::One { target, name } => write!(f, "{target},{},name={name}", self.terms),
            Place::Source(source) => write!(f, "{source},{}", self.terms),
        }
    }
}

/// Names must be unique within a service, and the service must exist.
pub(super) fn check(instances: &[InstanceSpec], services: &[ServiceSpec]) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for instance in instances {
        instance.terms.check("instance", instance, services)?;
        let accepted = match &instance.place {
            Place::One { name, .. } if !seen.insert((&instance.terms.service, name.to_string())) => {
                "each name once per service; give name=NAME to tell two apart"
            }
            Place::Source(source) if !seen.insert((&instance.terms.service, source.to_string())) => {
                "each source once per service"
            }
            _ => continue,
        };
        return Err(ConfigError::value("instance", instance, accepted));
    }
    Ok(())
}
