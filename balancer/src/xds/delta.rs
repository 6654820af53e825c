//! Incremental: each response has what the client does not have yet.

use std::collections::BTreeMap;

use crate::xds::conversation::{Conversation, Excess, Exchange, Heard, check, is_ours, verdict};
use crate::xds::messages::{ASSIGNMENT, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use crate::xds::table::{Found, Table};

/// One stream of `DeltaEndpoints`, or of `DeltaAggregatedResources`.
#[derive(Debug, Default)]
pub struct Delta {
    /// By name: what the client has.
    subscribed: BTreeMap<String, Has>,
    exchange: Exchange,
    heard_of: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Has {
    /// It waits for a first word.
    #[default]
    NoWord,
    Version(String),
    /// It was told that there is no such resource.
    Absence,
}

impl Conversation for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn hear(&mut self, mut request: DeltaDiscoveryRequest) -> Result<Heard, Excess> {
        if !is_ours(&request.type_url) {
            return Ok(Heard::Nothing);
        }
        // Other names count whichever response came before them.
        let changes =
            !request.resource_names_subscribe.is_empty() || !request.resource_names_unsubscribe.is_empty();
        let is_first = !std::mem::replace(&mut self.heard_of, true);
        for name in request.resource_names_subscribe {
            // Only a stream's first request tells what is there from before. Who asks again has lost it.
            let version = if is_first { request.initial_resource_versions.remove(&name) } else { None };
            self.subscribed.insert(name, version.map_or(Has::NoWord, Has::Version));
        }
        for name in request.resource_names_unsubscribe {
            self.subscribed.remove(&name);
        }
        check(self.subscribed.keys())?;
        if self.exchange.answered(&request.response_nonce) {
            return Ok(verdict(request.error_detail));
        }
        Ok(if changes { Heard::Subscription } else { Heard::Nothing })
    }

    fn say(&mut self, table: &Table) -> Option<DeltaDiscoveryResponse> {
        if !self.exchange.is_free() {
            return None;
        }
        let (mut resources, mut removed_resources) = (Vec::new(), Vec::new());
        for (name, has) in &mut self.subscribed {
            match table.find(name) {
                Found::Assignment(found) if *has != Has::Version(found.version.clone()) => {
                    let (version, resource) = (found.version.clone(), Some(found.named(name)));
                    *has = Has::Version(version.clone());
                    resources.push(Resource { version, resource, name: name.clone() });
                }
                Found::Nothing if *has != Has::Absence => {
                    *has = Has::Absence;
                    removed_resources.push(name.clone());
                }
                Found::Assignment(_) | Found::Nothing | Found::NotYet => {}
            }
        }
        if resources.is_empty() && removed_resources.is_empty() {
            return None;
        }
        let nonce = self.exchange.begin();
        Some(DeltaDiscoveryResponse { resources, type_url: ASSIGNMENT.to_owned(), nonce, removed_resources })
    }
}
