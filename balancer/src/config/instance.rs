//! `--instance ADDR[,workers=N][,release=first-byte|end][,service=NAME][,name=NAME]`.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use sluice_process::config::ConfigError;
use sluice_process::serde_as_text;
use sluice_proto::report::ReleasePoint;
use sluice_proto::{InstanceName, ServiceName, Target};

use crate::config::ServiceSpec;

const ACCEPTED: &str = "ADDR[,workers=N][,release=first-byte|end][,service=NAME][,name=NAME]";

/// An instance that has no agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpec {
    pub target: Target,
    pub workers: NonZeroU32,
    pub release: ReleasePoint,
    pub service: ServiceName,
    pub name: InstanceName,
}

serde_as_text!(InstanceSpec, ACCEPTED);

impl FromStr for InstanceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let target: Target = parts.next().unwrap_or_default().parse().map_err(|e| format!("{e}"))?;
        // Names have no slashes: unix:/run/a.sock is unix:.run.a.sock.
        let name = target.as_str().replace('/', ".").parse().map_err(|e| format!("{e}"))?;
        let mut spec = Self {
            target,
            // One: the only number that overloads no server.
            workers: NonZeroU32::MIN,
            release: ReleasePoint::End,
            service: ServiceName::default(),
            name,
        };
        parts.try_for_each(|part| spec.set(part))?;
        Ok(spec)
    }
}

impl InstanceSpec {
    fn set(&mut self, part: &str) -> Result<(), String> {
        let bad = |accepted: &str| format!("{part:?}: accepted is {accepted}");
        match part.split_once('=') {
            Some(("workers", n)) => self.workers = n.parse().map_err(|_| bad("workers=N with N from 1"))?,
            Some(("release", "first-byte")) => self.release = ReleasePoint::FirstByte,
            Some(("release", "end")) => self.release = ReleasePoint::End,
            Some(("release", _)) => return Err(bad("release=first-byte or release=end")),
            Some(("service", name)) => self.service = name.parse().map_err(|e| format!("{e}"))?,
            Some(("name", name)) => self.name = name.parse().map_err(|e| format!("{e}"))?,
            _ => return Err(bad(ACCEPTED)),
        }
        Ok(())
    }
}

impl fmt::Display for InstanceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = match self.release {
            ReleasePoint::FirstByte => "first-byte",
            ReleasePoint::End => "end",
        };
        let Self { target, workers, service, name, .. } = self;
        write!(f, "{target},workers={workers},release={release},service={service},name={name}")
    }
}

/// Names must be unique within a service, and the service must exist.
pub(super) fn check(instances: &[InstanceSpec], services: &[ServiceSpec]) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for instance in instances {
        if !services.iter().any(|service| service.name == instance.service) {
            let known: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
            let accepted = format!("a service of this configuration: {}", known.join(", "));
            return Err(ConfigError::value("instance", instance.to_string(), accepted));
        }
        if !seen.insert((&instance.service, &instance.name)) {
            let accepted = "each name once per service; give name=NAME to tell two apart";
            return Err(ConfigError::value("instance", instance.to_string(), accepted));
        }
    }
    Ok(())
}
