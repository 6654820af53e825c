//! `envoy.config.endpoint.v3`, and what it uses of `envoy.config.core.v3` and `google.protobuf`.

use std::collections::BTreeMap;

use prost::{Enumeration, Message};

/// The instances of one cluster.
#[derive(Clone, PartialEq, Message)]
pub struct ClusterLoadAssignment {
    #[prost(string, tag = "1")]
    pub cluster_name: String,
    #[prost(message, repeated, tag = "2")]
    pub endpoints: Vec<LocalityLbEndpoints>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LocalityLbEndpoints {
    #[prost(message, repeated, tag = "2")]
    pub lb_endpoints: Vec<LbEndpoint>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LbEndpoint {
    /// The first of the alternatives of `host_identifier`.
    #[prost(message, optional, tag = "1")]
    pub endpoint: Option<Endpoint>,
    #[prost(enumeration = "HealthStatus", tag = "2")]
    pub health_status: i32,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Metadata>,
    #[prost(message, optional, tag = "4")]
    pub load_balancing_weight: Option<UInt32Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Endpoint {
    #[prost(message, optional, tag = "1")]
    pub address: Option<Address>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Address {
    /// The first of the alternatives of `address`.
    #[prost(message, optional, tag = "1")]
    pub socket_address: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SocketAddress {
    #[prost(string, tag = "2")]
    pub address: String,
    /// The first of the alternatives of `port_specifier`.
    #[prost(uint32, tag = "3")]
    pub port_value: u32,
}

/// What Envoy does with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
pub enum HealthStatus {
    Unknown = 0,
    Healthy = 1,
    Unhealthy = 2,
    Draining = 3,
    Timeout = 4,
    /// Gets requests if there are not enough healthy ones.
    Degraded = 5,
}

/// By the name of the filter that it is for.
#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    pub filter_metadata: BTreeMap<String, Fields>,
}

/// `google.protobuf.Struct`. In order, so that the same fields are the same bytes.
#[derive(Clone, PartialEq, Message)]
pub struct Fields {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, TextValue>,
}

/// `google.protobuf.Value`, of whose kinds only the text is used.
#[derive(Clone, PartialEq, Message)]
pub struct TextValue {
    /// Optional, as one of the alternatives of `kind`: an empty text is written, too.
    #[prost(string, optional, tag = "3")]
    pub string_value: Option<String>,
}

/// `google.protobuf.UInt32Value`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct UInt32Value {
    #[prost(uint32, tag = "1")]
    pub value: u32,
}
