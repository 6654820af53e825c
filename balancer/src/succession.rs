//! What one balancer process hands to the next: what it learned, and its agents' last reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_process::upgrade::{Incumbent, Predecessor, Wire};
use sluice_proto::{Report, ServiceName};

use crate::control::sources::Found;
use crate::control::{ControlState, saved};
use crate::decide::sender::Sender;
use crate::saved::SavedService;

/// As JSON between processes that may be of different versions.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Handed {
    /// By service: the file that would outlive a restart, as it would be now.
    #[serde(default)]
    learned: BTreeMap<ServiceName, String>,
    /// By the agents' last reports the successor knows the instances before it serves.
    #[serde(default)]
    reports: Vec<LastReport>,
    /// By source: instances without agents, so that they serve before they are looked for anew.
    #[serde(default)]
    found: Found,
}

#[derive(Debug, Serialize, Deserialize)]
struct LastReport {
    report: serde_json::Value,
    /// Whose the instance's name is.
    sender: Sender,
}

impl LastReport {
    fn of(report: &Report, sender: &Sender) -> serde_json::Result<Self> {
        Ok(Self { report: serde_json::to_value(report)?, sender: sender.clone() })
    }

    fn parse(self) -> Option<(Report, Sender)> {
        match Report::parse(self.report.to_string().as_bytes()) {
            Ok(report) => Some((report, self.sender)),
            Err(error) => {
                tracing::warn!("an agent's last report is not taken over: {error}");
                None
            }
        }
    }
}

/// What the process before this one knew; of the first process, nothing.
#[derive(Debug, Default)]
pub(crate) struct Inheritance(Handed);

impl Inheritance {
    /// What can not be understood is not known.
    pub(crate) fn of(predecessor: Option<&Predecessor>) -> Self {
        let Some(predecessor) = predecessor else { return Self::default() };
        Self(serde_json::from_slice(predecessor.state()).unwrap_or_else(|error| {
            tracing::warn!("what the process before this one knew can not be read: {error}");
            Handed::default()
        }))
    }

    /// What was learned of a service.
    pub(crate) fn learned(&self, service: &ServiceName) -> Option<SavedService> {
        let text = self.0.learned.get(service)?;
        SavedService::parse(text.as_bytes(), service)
            .inspect_err(|reason| tracing::warn!(%service, "what was learned is not taken over: {reason}"))
            .ok()
    }

    /// What was found of instances without agents.
    pub(crate) fn found(&mut self) -> Found {
        std::mem::take(&mut self.0.found)
    }

    /// The agents' last reports.
    pub(crate) fn reports(self) -> impl Iterator<Item = (Report, Sender)> {
        self.0.reports.into_iter().filter_map(LastReport::parse)
    }
}

/// A balancer that may be succeeded.
pub struct Succession {
    state: Arc<ControlState>,
}

impl Succession {
    pub(crate) fn new(state: Arc<ControlState>) -> Self {
        Self { state }
    }

    fn handed(&self) -> serde_json::Result<Handed> {
        let directory = self.state.directory();
        let learned = directory.iter().map(|service| {
            serde_json::to_string(&saved(&self.state, service)).map(|text| (service.name.clone(), text))
        });
        let members = self.state.members();
        let reports = members.iter().filter_map(|(key, member)| member.last_report(key));
        Ok(Handed {
            learned: learned.collect::<Result<_, _>>()?,
            reports: reports
                .map(|(report, sender)| LastReport::of(&report, sender))
                .collect::<Result<_, _>>()?,
            found: self.state.found(),
        })
    }
}

impl Incumbent for Succession {
    fn program(&self) -> (&'static str, &'static str) {
        ("sluice-balancer", env!("CARGO_PKG_VERSION"))
    }

    fn state(&self) -> Result<Vec<u8>, String> {
        self.handed().and_then(|handed| serde_json::to_vec(&handed)).map_err(|error| error.to_string())
    }

    fn leave(&self) -> Vec<u8> {
        self.state.succeed();
        Vec::new()
    }

    /// There is nothing more to say: agents tell the successor how many workers this one's requests still hold.
    async fn remain(self, _wire: Wire) {}
}
