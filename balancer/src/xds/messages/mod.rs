//! The messages of the discovery service, as far as they are used here: version 3 of Envoy's API.
//!
//! Written by hand, so that no compiler for protocol buffers is needed to build; the numbers are those of the published
//! definitions in `envoy/service/discovery/v3` and `envoy/config/endpoint/v3`. Fields that are not read are left out:
//! a reader of protocol buffers skips what it does not know.

mod discovery;
mod endpoint;

pub use discovery::{
    Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
    RpcStatus,
};
pub use endpoint::{
    Address, ClusterLoadAssignment, Endpoint, Fields, HealthStatus, LbEndpoint, LocalityLbEndpoints,
    Metadata, SocketAddress, TextValue, UInt32Value,
};

/// The type of the one resource that is served.
pub const ASSIGNMENT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
