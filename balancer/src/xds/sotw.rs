//! State of the world: each response has everything that is subscribed to.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::hash;
use crate::xds::conversation::{Conversation, Excess, Exchange, Heard, check, is_ours, verdict};
use crate::xds::messages::{ASSIGNMENT, DiscoveryRequest, DiscoveryResponse};
use crate::xds::table::{Found, Table};

/// One stream of `StreamEndpoints`, or of `StreamAggregatedResources`.
#[derive(Debug, Default)]
pub struct StateOfTheWorld {
    /// For endpoints there is no "all": an empty list is none.
    names: BTreeSet<String>,
    exchange: Exchange,
    /// By name: the version that was said last.
    said: BTreeMap<String, String>,
}

impl Conversation for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn hear(&mut self, request: DiscoveryRequest) -> Result<Heard, Excess> {
        let is_first = request.response_nonce.is_empty();
        if !is_ours(&request.type_url) || !(is_first || self.exchange.is_last(&request.response_nonce)) {
            return Ok(Heard::Nothing);
        }
        check(request.resource_names.iter())?;
        self.names = request.resource_names.into_iter().collect();
        // Who leaves something out and asks for it again is told again.
        self.said.retain(|name, _| !is_first && self.names.contains(name));
        let answers = self.exchange.answered(&request.response_nonce);
        Ok(if answers { verdict(request.error_detail) } else { Heard::Subscription })
    }

    fn say(&mut self, table: &Table) -> Option<DiscoveryResponse> {
        if !self.exchange.is_free() {
            return None;
        }
        let found = |name: &String| match table.find(name) {
            Found::Assignment(assignment) => Some((name.clone(), assignment)),
            Found::NotYet | Found::Nothing => None,
        };
        let found: Vec<_> = self.names.iter().filter_map(found).collect();
        if found.iter().all(|(name, assignment)| self.said.get(name) == Some(&assignment.version)) {
            return None;
        }
        let versions: String = found.iter().map(|(_, assignment)| assignment.version.as_str()).collect();
        let resources = found.iter().map(|(name, assignment)| assignment.named(name)).collect();
        self.said = found.iter().map(|(name, found)| (name.clone(), found.version.clone())).collect();
        Some(DiscoveryResponse {
            version_info: format!("{:016x}", hash::stable(versions.as_bytes())),
            resources,
            type_url: ASSIGNMENT.to_owned(),
            nonce: self.exchange.begin(),
        })
    }
}
