//! From EndpointSlices to instances. No I/O.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{Endpoint as Found, EndpointSlice};
use sluice_proto::InstanceName;

use crate::config::Port;
use crate::decide::sources::{Endpoint, Standing};

/// The slices have endpoints, and none of them the port.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("which port? The service has {0}: name one, as in NAMESPACE/NAME:PORT")]
pub(super) struct NoPort(String);

/// The instances of a service.
///
/// An endpoint may be in two slices for a moment, and pods of two address families have slices for each: then IPv4 is
/// used. Conditions are read as Kubernetes says that they are meant: not said is ready and not terminating.
/// (`discovery.k8s.io/v1`, `EndpointConditions`.)
///
/// # Errors
/// [`NoPort`] if it is not clear which port is meant.
pub(super) fn endpoints<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice> + Clone,
    port: &Port,
) -> Result<Vec<Endpoint>, NoPort> {
    let of_family = |family| {
        slices.clone().filter(move |slice| slice.address_type == family && !slice.endpoints().is_empty())
    };
    let family = if of_family("IPv4").next().is_some() { "IPv4" } else { "IPv6" };
    let (mut found, mut without_port) = (BTreeMap::new(), None);
    for slice in of_family(family) {
        let Some(port) = port_of(slice, port) else {
            without_port = Some(NoPort(ports(slice)));
            continue;
        };
        for endpoint in slice.endpoints() {
            add(&mut found, endpoint, port);
        }
    }
    match without_port {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found.into_values().collect()),
    }
}

/// Of an endpoint that is there twice, the better word holds: the other is a slice that is about to go.
fn add(found: &mut BTreeMap<SocketAddr, Endpoint>, endpoint: &Found, port: u16) {
    // "No semantics are defined for additional addresses beyond the first".
    let Some(ip) = endpoint.addresses.first().and_then(|ip| ip.parse::<IpAddr>().ok()) else { return };
    let standing = standing(endpoint);
    match found.entry(SocketAddr::new(ip, port)) {
        Entry::Occupied(mut known) => {
            let known = known.get_mut();
            known.standing = known.standing.min(standing);
        }
        Entry::Vacant(place) => {
            place.insert(Endpoint::new(ip, port, pod(endpoint), standing));
        }
    }
}

/// One that ends gets nothing new, also if it says that it could take it: services that publish addresses that are not
/// ready call everything ready.
fn standing(endpoint: &Found) -> Standing {
    let conditions = endpoint.conditions.as_ref();
    let says = |condition: Option<Option<bool>>, default| condition.flatten().unwrap_or(default);
    if says(conditions.map(|conditions| conditions.terminating), false) {
        Standing::Terminating
    } else if says(conditions.map(|conditions| conditions.ready), true) {
        Standing::Serving
    } else {
        Standing::NotReady
    }
}

/// What its agent would be called, if there were one: the pod's name.
fn pod(endpoint: &Found) -> Option<InstanceName> {
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?;
    target.name.as_ref()?.parse().ok()
}

fn port_of(slice: &EndpointSlice, wanted: &Port) -> Option<u16> {
    let number = |number: Option<i32>| number.and_then(|number| u16::try_from(number).ok());
    let ports = slice.ports.as_deref().unwrap_or_default();
    match wanted {
        // Also if the service has it not: pods may listen where they like.
        Port::Number(number) => Some(*number),
        Port::Named(name) => {
            ports.iter().find(|port| port.name.as_deref() == Some(name)).and_then(|p| number(p.port))
        }
        Port::Only => match ports {
            [port] => number(port.port),
            _ => None,
        },
    }
}

fn ports(slice: &EndpointSlice) -> String {
    let ports = slice.ports.iter().flatten().filter_map(|port| match port.name.as_deref() {
        None | Some("") => port.port.map(|number| number.to_string()),
        Some(name) => Some(name.to_owned()),
    });
    let ports: Vec<_> = ports.collect();
    if ports.is_empty() { "no ports".to_owned() } else { ports.join(", ") }
}

/// Endpoints, without the case that a slice has none.
trait Endpoints {
    fn endpoints(&self) -> &[Found];
}

impl Endpoints for EndpointSlice {
    fn endpoints(&self) -> &[Found] {
        self.endpoints.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slice(family: &str, ports: &Value, endpoints: &[Value]) -> EndpointSlice {
        let slice = json!({
            "addressType": family, "metadata": { "name": "zope-1" }, "ports": ports, "endpoints": endpoints,
        });
        serde_json::from_value(slice).expect("a slice")
    }

    fn pod(ip: &str, name: &str, conditions: &Value) -> Value {
        json!({ "addresses": [ip], "targetRef": { "kind": "Pod", "name": name }, "conditions": conditions })
    }

    fn told(slices: &[EndpointSlice], port: &Port) -> Result<Vec<String>, String> {
        let words =
            |endpoint: &Endpoint| format!("{} {} {:?}", endpoint.name, endpoint.target, endpoint.standing);
        let found = endpoints(slices.iter(), port).map_err(|error| error.to_string())?;
        Ok(found.iter().map(words).collect())
    }

    #[test]
    fn conditions_are_read_as_kubernetes_means_them() {
        let http = json!([{ "name": "http", "port": 8080 }]);
        for (conditions, standing) in [
            (json!(null), "Serving"),
            (json!({}), "Serving"),
            (json!({ "ready": true }), "Serving"),
            (json!({ "ready": true, "serving": true, "terminating": false }), "Serving"),
            (json!({ "ready": false }), "NotReady"),
            (json!({ "ready": false, "serving": false, "terminating": false }), "NotReady"),
            (json!({ "ready": false, "serving": true, "terminating": true }), "Terminating"),
            (json!({ "ready": false, "serving": false, "terminating": true }), "Terminating"),
            (json!({ "ready": true, "terminating": true }), "Terminating"), // publishNotReadyAddresses
        ] {
            let slices = [slice("IPv4", &http, &[pod("10.0.0.1", "zope-a", &conditions)])];
            let expected = format!("zope-a 10.0.0.1:8080 {standing}");
            assert_eq!(told(&slices, &Port::Only), Ok(vec![expected]), "{conditions}");
        }
    }

    #[test]
    fn every_pod_is_one_instance() {
        let (http, ready) = (json!([{ "name": "http", "port": 8080 }]), json!({ "ready": true }));
        let first = slice(
            "IPv4",
            &http,
            &[
                pod("10.0.0.1", "zope-a", &ready),
                pod("10.0.0.2", "zope-b", &json!({ "ready": false })),
                json!({ "addresses": ["10.0.0.3", "10.0.0.4"] }),
                json!({ "addresses": ["not an address"] }),
            ],
        );
        let again = slice("IPv4", &http, &[pod("10.0.0.2", "zope-b", &ready)]);
        let v6 = slice("IPv6", &http, &[pod("2001:db8::1", "zope-a", &ready)]);
        let name = slice("FQDN", &http, &[json!({ "addresses": ["zope.example"] })]);
        let both = [
            "zope-a 10.0.0.1:8080 Serving",
            "zope-b 10.0.0.2:8080 Serving",
            "10.0.0.3:8080 10.0.0.3:8080 Serving",
        ];
        let both = both.map(str::to_owned).to_vec();
        assert_eq!(told(&[first, again, v6.clone(), name.clone()], &Port::Only), Ok(both));
        let empty = slice("IPv4", &http, &[]);
        let only = vec!["zope-a [2001:db8::1]:8080 Serving".to_owned()];
        assert_eq!(told(&[empty, v6, name], &Port::Only), Ok(only));
        assert_eq!(told(&[], &Port::Only), Ok(vec![]), "scaled to nothing");
    }

    #[test]
    fn the_port_is_that_of_the_pods() {
        let ready = json!({ "ready": true });
        let with = |ports: Value| slice("IPv4", &ports, &[pod("10.0.0.1", "a", &ready)]);
        let two = || with(json!([{ "name": "http", "port": 8080 }, { "name": "admin", "port": 9000 }]));
        let named = |name: &str| Port::Named(name.to_owned());
        for (slice, port, expected) in [
            (with(json!([{ "name": "", "port": 80 }])), Port::Only, Ok("a 10.0.0.1:80 Serving")),
            (two(), named("admin"), Ok("a 10.0.0.1:9000 Serving")),
            (two(), Port::Number(7), Ok("a 10.0.0.1:7 Serving")),
            (with(json!(null)), Port::Number(7), Ok("a 10.0.0.1:7 Serving")),
            (two(), Port::Only, Err("http, admin")),
            (two(), named("https"), Err("http, admin")),
            (with(json!([{ "port": 80 }])), named("http"), Err("has 80:")),
            (with(json!(null)), Port::Only, Err("no ports")),
        ] {
            match (told(&[slice], &port), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, [expected], "{port:?}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{port:?}: {error}"),
                (found, expected) => panic!("{port:?}: {found:?} instead of {expected:?}"),
            }
        }
        let other = slice("IPv4", &json!([{ "name": "http", "port": 81 }]), &[pod("10.0.0.2", "b", &ready)]);
        let found = told(&[with(json!([{ "name": "x", "port": 80 }])), other], &named("http"));
        assert_eq!(found, Ok(vec!["b 10.0.0.2:81 Serving".to_owned()]), "slices may differ");
    }
}
