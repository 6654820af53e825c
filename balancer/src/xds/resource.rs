//! What is told of a service's instances, as a versioned resource.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::decide::hash;
use crate::xds::endpoint::Told;
use crate::xds::messages::{
    ASSIGNMENT, Address, Any, ClusterLoadAssignment, Endpoint, Fields, LbEndpoint, LocalityLbEndpoints,
    Metadata, SocketAddress, TextValue, UInt32Value,
};

/// What load balancing by subsets looks at.
const FILTER: &str = "envoy.lb";

/// The endpoints of one service, whatever a client calls it.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub told: Vec<Told>,
    /// All but the name, encoded once for all who are sent it.
    endpoints: Bytes,
    /// By what it says, so that it is the same in every balancer that says the same, and after a restart.
    pub version: String,
}

impl Assignment {
    pub fn new(told: Vec<Told>) -> Self {
        let endpoints = Bytes::from(message(String::new(), &told).encode_to_vec());
        let version = format!("{:016x}", hash::stable(&endpoints));
        Self { told, endpoints, version }
    }

    /// The resource under the name that it was asked for by.
    pub fn named(&self, name: &str) -> Any {
        // Messages one after the other are one message with the fields of both.
        let named = ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints: Vec::new() };
        let mut value = named.encode_to_vec();
        value.extend_from_slice(&self.endpoints);
        Any { type_url: ASSIGNMENT.to_owned(), value: value.into() }
    }
}

pub(super) fn message(cluster_name: String, told: &[Told]) -> ClusterLoadAssignment {
    let lb_endpoints = told.iter().map(endpoint).collect();
    ClusterLoadAssignment { cluster_name, endpoints: vec![LocalityLbEndpoints { lb_endpoints }] }
}

fn endpoint(told: &Told) -> LbEndpoint {
    let (address, port_value) = (told.address.ip().to_string(), told.address.port().into());
    let socket_address = Some(SocketAddress { address, port_value });
    LbEndpoint {
        endpoint: Some(Endpoint { address: Some(Address { socket_address }) }),
        health_status: told.health.into(),
        metadata: Some(Metadata { filter_metadata: BTreeMap::from([(FILTER.to_owned(), fields(told))]) }),
        load_balancing_weight: Some(UInt32Value { value: told.weight }),
    }
}

/// What subset selectors find, in the order of the keys.
pub(super) fn keys(told: &Told) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::from([
        ("sluice.instance".to_owned(), told.name.clone()),
        ("sluice.role".to_owned(), told.serves.as_str().to_owned()),
    ]);
    keys.extend(told.version.iter().map(|version| ("sluice.version".to_owned(), version.clone())));
    keys
}

fn fields(told: &Told) -> Fields {
    let text = |(key, text)| (key, TextValue { string_value: Some(text) });
    Fields { fields: keys(told).into_iter().map(text).collect() }
}
