//! What holds for an instance without an agent, however it is found: `[,workers=N][,release=first-byte|end][,service=NAME]`.

use std::fmt;
use std::num::NonZeroU32;

use sluice_process::config::ConfigError;
use sluice_proto::ServiceName;
use sluice_proto::report::ReleasePoint;

use crate::config::ServiceSpec;

/// How requests are sent to instances that can not say it themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub workers: NonZeroU32,
    pub release: ReleasePoint,
    pub service: ServiceName,
}

impl Default for Terms {
    fn default() -> Self {
        // One: the only number that overloads no server.
        Self { workers: NonZeroU32::MIN, release: ReleasePoint::End, service: ServiceName::default() }
    }
}

impl Terms {
    /// Takes one `KEY=VALUE`. `accepted` is what a line as a whole may be.
    pub(super) fn set(&mut self, part: &str, accepted: &str) -> Result<(), String> {
        let bad = |accepted: &str| format!("{part:?}: accepted is {accepted}");
        match part.split_once('=') {
            Some(("workers", n)) => self.workers = n.parse().map_err(|_| bad("workers=N with N from 1"))?,
            Some(("release", "first-byte")) => self.release = ReleasePoint::FirstByte,
            Some(("release", "end")) => self.release = ReleasePoint::End,
            Some(("release", _)) => return Err(bad("release=first-byte or release=end")),
            Some(("service", name)) => self.service = name.parse().map_err(|e| format!("{e}"))?,
            _ => return Err(bad(accepted)),
        }
        Ok(())
    }

    /// The service must exist. `field` and `spec` are told if it does not.
    pub(super) fn check(
        &self,
        field: &str,
        spec: &impl fmt::Display,
        services: &[ServiceSpec],
    ) -> Result<(), ConfigError> {
        if services.iter().any(|service| service.name == self.service) {
            return Ok(());
        }
        let known: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
        let accepted = format!("a service of this configuration: {}", known.join(", "));
        Err(ConfigError::value(field, spec, accepted))
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = match self.release {
            ReleasePoint::FirstByte => "first-byte",
            ReleasePoint::End => "end",
        };
        write!(f, "workers={},release={release},service={}", self.workers, self.service)
    }
}
