//! Conversations of both protocols, request by request, and what is on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use sluice_proto::Role;

use crate::decide::lease::Knowledge;
use crate::decide::membership::Word;
use crate::xds::conversation::{Conversation, Excess, Heard, MOST_NAMES};
use crate::xds::delta::Delta;
use crate::xds::endpoint::{Standing, tell};
use crate::xds::follow::{State, Teller};
use crate::xds::messages::{
    ASSIGNMENT, Any, ClusterLoadAssignment, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
    DiscoveryResponse, HealthStatus, RpcStatus,
};
use crate::xds::resource::Assignment;
use crate::xds::sotw::StateOfTheWorld;
use crate::xds::table::{Found, Table};

fn standing(name: &str, workers: u32) -> Standing {
    Standing {
        name: name.to_owned(),
        address: SocketAddr::from(([10, 0, 0, 1], 8080)),
        version: Some("2.1".to_owned()),
        role: Role::General,
        workers,
        slowness: 1.0,
        operator: Word::Ready,
        agent: Some((sluice_proto::State::Ready, Knowledge::Fresh)),
        reachable: true,
        withheld: false,
    }
}

fn assignment(workers: u32) -> Option<Arc<Assignment>> {
    Some(Arc::new(Assignment::new(tell(&[standing("zope-1", workers)], 0.0, &[]))))
}

/// Services with that many workers on their one instance; 0: nothing is known yet.
fn table(services: &[(&str, u32)]) -> Table {
    let of = |workers| if workers > 0 { assignment(workers) } else { None };
    Table { services: services.iter().map(|(name, workers)| ((*name).to_owned(), of(*workers))).collect() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn refusal() -> Option<RpcStatus> {
    Some(RpcStatus { code: 13, message: "malformed IP\naddress".to_owned() })
}

/// The first request, or one with the nonce of a response.
fn ask(after: Option<&DiscoveryResponse>, resources: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: after.map(|said| said.version_info.clone()).unwrap_or_default(),
        resource_names: names(resources),
        type_url: ASSIGNMENT.to_owned(),
        response_nonce: after.map(|said| said.nonce.clone()).unwrap_or_default(),
        error_detail: None,
    }
}

fn cluster(resource: &Any) -> ClusterLoadAssignment {
    assert_eq!(resource.type_url, ASSIGNMENT);
    ClusterLoadAssignment::decode(resource.value.clone()).expect("an assignment")
}

#[test]
fn each_change_is_said_once_and_acknowledged() {
    let (mut stream, first) = (StateOfTheWorld::default(), table(&[("default", 4)]));
    assert_eq!(stream.say(&first), None, "nothing was asked for");
    assert_eq!(stream.hear(ask(None, &["sluice"])), Ok(Heard::Subscription));
    let said = stream.say(&first).expect("the first word");
    assert_eq!(cluster(&said.resources[0]).cluster_name, "sluice", "by the name that it was asked for");
    assert_eq!(stream.say(&table(&[("default", 5)])), None, "one response is under way at a time");
    assert_eq!(stream.hear(ask(Some(&said), &["sluice"])), Ok(Heard::Ack));
    assert_eq!(stream.say(&first), None, "nothing is new");
    let next = stream.say(&table(&[("default", 6)])).expect("what changed meanwhile, and since");
    assert_ne!((&said.nonce, &said.version_info), (&next.nonce, &next.version_info));
    let weight = cluster(&next.resources[0]).endpoints[0].lb_endpoints[0].load_balancing_weight;
    assert_eq!(weight.map(|weight| weight.value), Some(600));
}

#[test]
fn a_refused_response_is_not_said_again_until_something_changes() {
    let (mut stream, first) = (StateOfTheWorld::default(), table(&[("default", 4)]));
    stream.hear(ask(None, &["sluice"])).expect("taken in");
    let said = stream.say(&first).expect("the first word");
    let nack = DiscoveryRequest { error_detail: refusal(), ..ask(Some(&said), &["sluice"]) };
    assert_eq!(stream.hear(nack), Ok(Heard::Nack("malformed IP address".to_owned())));
    assert_eq!(stream.say(&first), None);
    assert!(stream.say(&table(&[("default", 5)])).is_some());
}

#[test]
fn late_answers_and_other_types_change_nothing() {
    let (mut stream, first) = (StateOfTheWorld::default(), table(&[("default", 4)]));
    stream.hear(ask(None, &["sluice"])).expect("taken in");
    let said = stream.say(&first).expect("the first word");
    stream.hear(ask(Some(&said), &["sluice"])).expect("taken in");
    let next = stream.say(&table(&[("default", 5)])).expect("the second word");
    assert_eq!(stream.hear(ask(Some(&said), &[])), Ok(Heard::Nothing), "an answer to the one before");
    let other = DiscoveryRequest { type_url: "type.googleapis.com/x.Cluster".to_owned(), ..ask(None, &[]) };
    assert_eq!(stream.hear(other), Ok(Heard::Nothing));
    assert_eq!(stream.hear(ask(Some(&next), &["sluice"])), Ok(Heard::Ack), "still subscribed");
}

#[test]
fn subscriptions_change_within_a_stream() {
    let (mut stream, both) = (StateOfTheWorld::default(), table(&[("default", 4), ("shop", 2)]));
    stream.hear(ask(None, &["shop"])).expect("taken in");
    let said = stream.say(&both).expect("one");
    assert_eq!(said.resources.len(), 1);
    stream.hear(ask(Some(&said), &["default", "shop", "nobody"])).expect("taken in");
    let said = stream.say(&both).expect("one more");
    assert_eq!(said.resources.len(), 2, "of a service that is not there nothing is said");
    stream.hear(ask(Some(&said), &["default"])).expect("taken in");
    assert_eq!(stream.say(&both), None, "who wants less has it");
    assert_eq!(stream.say(&table(&[("default", 4), ("shop", 9)])), None, "unsubscribed");
    stream.hear(ask(Some(&said), &["default", "shop"])).expect("taken in");
    assert!(stream.say(&both).is_some(), "wanted again, told again");
    stream.hear(ask(None, &[])).expect("taken in");
    assert_eq!(stream.say(&both), None, "no name is none, and not all");
}

fn delta(subscribe: &[&str], unsubscribe: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: ASSIGNMENT.to_owned(),
        resource_names_subscribe: names(subscribe),
        resource_names_unsubscribe: names(unsubscribe),
        ..DeltaDiscoveryRequest::default()
    }
}

fn answer(said: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { response_nonce: said.nonce.clone(), ..delta(&[], &[]) }
}

fn told(said: &DeltaDiscoveryResponse) -> Vec<&str> {
    said.resources.iter().map(|resource| resource.name.as_str()).collect()
}

#[test]
fn a_delta_has_what_is_new_and_what_is_gone() {
    let (mut stream, both) = (Delta::default(), table(&[("default", 4), ("shop", 2)]));
    assert_eq!(stream.hear(delta(&["default", "shop"], &[])), Ok(Heard::Subscription));
    let said = stream.say(&both).expect("both");
    assert_eq!(told(&said), ["default", "shop"]);
    assert_eq!(stream.say(&table(&[("default", 5), ("shop", 2)])), None, "one response is under way");
    assert_eq!(stream.hear(answer(&said)), Ok(Heard::Ack));
    let said = stream.say(&table(&[("default", 5), ("shop", 2)])).expect("one changed");
    assert_eq!(told(&said), ["default"]);
    let nack = DeltaDiscoveryRequest { error_detail: refusal(), ..answer(&said) };
    assert_eq!(stream.hear(nack), Ok(Heard::Nack("malformed IP address".to_owned())));
    assert_eq!(stream.say(&table(&[("default", 5), ("shop", 2)])), None, "refused, and not said again");
    let said = stream.say(&table(&[("default", 5), ("other", 1)])).expect("one is gone");
    assert_eq!((told(&said), said.removed_resources.clone()), (vec![], names(&["shop"])));
    assert_eq!(stream.hear(answer(&said)), Ok(Heard::Ack));
    assert_eq!(stream.say(&table(&[("default", 5), ("other", 1)])), None, "gone once");
}

#[test]
fn a_delta_stream_goes_on_where_another_ended() {
    let (mut stream, now) = (Delta::default(), table(&[("default", 4)]));
    let has = assignment(4).expect("known").version.clone();
    let initial_resource_versions = [("a".to_owned(), has), ("b".to_owned(), "old".to_owned())].into();
    let first = DeltaDiscoveryRequest { initial_resource_versions, ..delta(&["a", "b"], &[]) };
    stream.hear(first).expect("taken in");
    let said = stream.say(&now).expect("b is of another version");
    assert_eq!(told(&said), ["b"]);
    stream.hear(answer(&said)).expect("taken in");
    stream.hear(delta(&["a"], &["b"])).expect("taken in");
    let said = stream.say(&now).expect("who subscribes again is told again");
    assert_eq!(told(&said), ["a"]);
    stream.hear(answer(&said)).expect("taken in");
    assert_eq!(told(&stream.say(&table(&[("default", 9)])).expect("changed")), ["a"], "b is unsubscribed");
}

/// A client of deltas that does as its definition says, but for asking at random.
#[derive(Default)]
struct Client {
    subscribed: BTreeSet<String>,
    has: BTreeMap<String, String>,
    unanswered: Option<String>,
}

impl Client {
    fn take(&mut self, said: DeltaDiscoveryResponse, seed: u64) {
        assert_eq!(self.unanswered.replace(said.nonce), None, "seed {seed}: two responses under way");
        for resource in said.resources {
            self.has.insert(resource.name, resource.version);
        }
        said.removed_resources.iter().for_each(|name| drop(self.has.remove(name)));
    }

    fn ask(&mut self, name: &str) -> DeltaDiscoveryRequest {
        if self.subscribed.remove(name) {
            self.has.remove(name);
            return delta(&[], &[name]);
        }
        self.subscribed.insert(name.to_owned());
        delta(&[name], &[])
    }

    fn answer(&mut self) -> Option<DeltaDiscoveryRequest> {
        let response_nonce = self.unanswered.take()?;
        Some(DeltaDiscoveryRequest { response_nonce, ..delta(&[], &[]) })
    }
}

#[test]
fn whatever_is_asked_and_changed_a_client_ends_with_what_there_is() {
    for seed in 0..300 {
        let (mut rng, mut stream, mut client) =
            (fastrand::Rng::with_seed(seed), Delta::default(), Client::default());
        let mut now = Table::default();
        for _ in 0..60 {
            let request = match rng.u8(0..3) {
                0 => Some(client.ask(["a", "b", "c"][rng.usize(0..3)])),
                1 => client.answer(),
                _ => {
                    let some = [("a", rng.u32(1..3)), ("b", rng.u32(1..3)), ("c", 1)];
                    now = table(&some[..rng.usize(2..4)]);
                    None
                }
            };
            request.map(|request| stream.hear(request).expect("few names"));
            // Not always in time: what is said late says what is then.
            if rng.bool()
                && let Some(said) = stream.say(&now)
            {
                client.take(said, seed);
            }
        }
        while let Some(request) = client.answer() {
            stream.hear(request).expect("few names");
            stream.say(&now).into_iter().for_each(|said| client.take(said, seed));
        }
        stream.say(&now).into_iter().for_each(|said| client.take(said, seed));
        let there = |name: &String| match now.find(name) {
            Found::Assignment(found) => Some((name.clone(), found.version.clone())),
            Found::NotYet | Found::Nothing => None,
        };
        let wanted: BTreeMap<_, _> = client.subscribed.iter().filter_map(there).collect();
        assert_eq!(client.has, wanted, "seed {seed}");
    }
}

#[test]
fn nobody_is_told_that_there_is_nothing_while_nothing_is_known() {
    let unknown = table(&[("default", 0)]);
    let (mut world, mut deltas) = (StateOfTheWorld::default(), Delta::default());
    world.hear(ask(None, &["sluice"])).expect("taken in");
    deltas.hear(delta(&["sluice"], &[])).expect("taken in");
    assert_eq!(world.say(&unknown), None);
    assert_eq!(deltas.say(&unknown), None);
    let known = table(&[("default", 1)]);
    assert!(world.say(&known).is_some() && deltas.say(&known).is_some());
    deltas.hear(delta(&[], &["sluice"])).expect("taken in");
}

#[test]
fn what_a_client_may_ask_for_is_bounded() {
    let many: Vec<_> = (0..=MOST_NAMES).map(|n| n.to_string()).collect();
    let request = DiscoveryRequest { resource_names: many.clone(), ..ask(None, &[]) };
    assert_eq!(StateOfTheWorld::default().hear(request), Err(Excess));
    let request = DeltaDiscoveryRequest { resource_names_subscribe: many, ..delta(&[], &[]) };
    assert_eq!(Delta::default().hear(request), Err(Excess));
    let long = "x".repeat(257);
    assert_eq!(StateOfTheWorld::default().hear(ask(None, &[&long])), Err(Excess));
}

#[test]
fn with_several_services_a_name_must_be_one_of_theirs() {
    let found = |services: &[(&str, u32)], name: &str| table(services).find(name);
    assert!(matches!(found(&[("default", 1)], "anything"), Found::Assignment(_)));
    assert!(matches!(found(&[("default", 1), ("shop", 2)], "shop"), Found::Assignment(_)));
    assert_eq!(found(&[("default", 1), ("shop", 2)], "anything"), Found::Nothing);
    assert_eq!(found(&[("default", 0)], "anything"), Found::NotYet);
}

#[test]
fn an_endpoint_carries_what_subsets_are_chosen_by() {
    let any = assignment(4).expect("known").named("sluice");
    let cluster = cluster(&any);
    let endpoint = &cluster.endpoints[0].lb_endpoints[0];
    assert_eq!(endpoint.health_status(), HealthStatus::Healthy);
    let address = endpoint.endpoint.as_ref().and_then(|e| e.address.as_ref()?.socket_address.as_ref());
    let address = address.expect("an address");
    assert_eq!((address.address.as_str(), address.port_value), ("10.0.0.1", 8080));
    let metadata = &endpoint.metadata.as_ref().expect("metadata").filter_metadata["envoy.lb"].fields;
    let text = |key: &str| metadata[key].string_value.clone().unwrap_or_default();
    assert_eq!(
        [text("sluice.role"), text("sluice.instance"), text("sluice.version")],
        ["mixed", "zope-1", "2.1"]
    );
}

/// The bytes as the definitions of protocol buffers have them, by hand: field numbers are not to change by a slip.
#[test]
fn the_wire_is_that_of_the_published_definitions() {
    let request = DiscoveryRequest {
        version_info: "1".into(),
        resource_names: names(&["c"]),
        type_url: "t".into(),
        response_nonce: "n".into(),
        error_detail: Some(RpcStatus { code: 3, message: "m".into() }),
    };
    assert_eq!(request.encode_to_vec(), b"\x0a\x011\x1a\x01c\x22\x01t\x2a\x01n\x32\x05\x08\x03\x12\x01m");
    let mut standing = standing("i", 1);
    (standing.version, standing.address) = (None, SocketAddr::from(([1, 2, 3, 4], 80)));
    let any = Assignment::new(tell(&[standing], 0.0, &[])).named("c");
    let instance = b"\x0a\x16\x0a\x0fsluice.instance\x12\x03\x1a\x01i";
    let role = b"\x0a\x16\x0a\x0bsluice.role\x12\x07\x1a\x05mixed";
    let lb = [&b"\x0a\x3c\x0a\x08envoy.lb\x12\x30"[..], instance, role].concat();
    let socket = b"\x0a\x0f\x0a\x0d\x0a\x0b\x12\x071.2.3.4\x18\x50\x10\x01\x1a\x3e";
    let endpoint = [&socket[..], &lb, b"\x22\x02\x08\x64"].concat();
    let length = u8::try_from(endpoint.len()).expect("short");
    let whole = [&b"\x0a\x01c\x12"[..], &[length + 2], b"\x12", &[length], &endpoint].concat();
    assert_eq!(any.value, whole);
}

#[test]
fn nothing_is_told_before_all_agents_may_have_reported() {
    let start = Instant::now();
    let mut teller = Teller::new(start + Duration::from_secs(3));
    let state = |instances| BTreeMap::from([("default".to_owned(), State { large: 0.0, instances })]);
    let (one, none) = (|| state(vec![standing("zope-1", 4)]), || state(vec![]));
    assert_eq!(teller.look(one(), start).find("sluice"), Found::NotYet);
    let settled = start + Duration::from_secs(3);
    assert_eq!(teller.look(none(), settled).find("sluice"), Found::NotYet, "nobody is known");
    let first = teller.look(one(), settled);
    assert!(matches!(first.find("sluice"), Found::Assignment(_)));
    assert_eq!(teller.look(none(), settled), first, "all fell silent: the last ones are kept");
}
