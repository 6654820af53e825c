//! Envoys are told of instances: endpoint discovery over gRPC in both protocols, and in JSON.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes};
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use prost::Message;
use serde_json::{Value, json};
use sluice_balancer::xds::messages::{
    ASSIGNMENT, ClusterLoadAssignment, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
    DiscoveryResponse, HealthStatus, LbEndpoint, RpcStatus,
};
use sluice_tests::certs::{Authority, Cert, TlsClient};
use sluice_tests::http2::{Http2, get, request};
use sluice_tests::lineage::Lineage;
use sluice_tests::process::free_addresses;
use sluice_tests::script::Answering;
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::{PATIENCE, admin, eventually, expect, soon};
use tokio::net::TcpStream;

const STREAM: &str = "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints";
const DELTA: &str = "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints";
const AGGREGATED: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// One stream of gRPC, as an Envoy opens it.
struct Stream {
    _connection: Http2,
    sending: SendStream<Bytes>,
    receiving: RecvStream,
    unread: Vec<u8>,
}

impl Stream {
    /// Opens it with its first message, as no response has to come before that.
    async fn open(xds: SocketAddr, path: &str, first: &impl Message) -> Self {
        Self::over(Http2::open(xds).await, path, first).await
    }

    async fn over(mut connection: Http2, path: &str, first: &impl Message) -> Self {
        let head = request("POST", path).header("content-type", "application/grpc").header("te", "trailers");
        let (response, mut sending) = connection.send(head.body(()).expect("valid"), false).await;
        sending.send_data(framed(first), false).expect("it is open");
        let response = soon("a response", response).await.expect("a head");
        assert_eq!(response.status(), 200);
        Self { _connection: connection, sending, receiving: response.into_body(), unread: Vec::new() }
    }

    fn send(&mut self, message: &impl Message) {
        self.sending.send_data(framed(message), false).expect("it is open");
    }

    /// The next message; `None` at the end.
    async fn next<M: Message + Default>(&mut self) -> Option<M> {
        loop {
            let mut unread = &self.unread[..];
            if unread.len() >= 5 {
                let (compressed, length) = (unread.get_u8(), unread.get_u32() as usize);
                assert_eq!(compressed, 0);
                if unread.len() >= length {
                    let message = M::decode(&unread[..length]).expect("a message");
                    self.unread.drain(..5 + length);
                    return Some(message);
                }
            }
            let chunk = soon("more of a stream", self.receiving.data()).await?.expect("not broken");
            self.receiving.flow_control().release_capacity(chunk.len()).expect("received");
            self.unread.extend_from_slice(&chunk);
        }
    }

    /// What the server ends the stream with.
    async fn status(&mut self) -> String {
        let trailers: Option<HeaderMap> =
            soon("trailers", self.receiving.trailers()).await.expect("not broken");
        let trailers = trailers.expect("gRPC ends with trailers");
        trailers["grpc-status"].to_str().expect("a number").to_owned()
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut frame = vec![0];
    frame.put_u32(u32::try_from(message.encoded_len()).expect("short"));
    message.encode(&mut frame).expect("there is room");
    frame.into()
}

fn ask(after: Option<&DiscoveryResponse>) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: after.map(|said| said.version_info.clone()).unwrap_or_default(),
        resource_names: vec!["sluice".to_owned()],
        type_url: ASSIGNMENT.to_owned(),
        response_nonce: after.map(|said| said.nonce.clone()).unwrap_or_default(),
        error_detail: None,
    }
}

fn endpoints(said: &DiscoveryResponse) -> Vec<LbEndpoint> {
    let cluster = ClusterLoadAssignment::decode(said.resources[0].value.clone()).expect("an assignment");
    assert_eq!(cluster.cluster_name, "sluice");
    cluster.endpoints.into_iter().flat_map(|locality| locality.lb_endpoints).collect()
}

fn key(endpoint: &LbEndpoint, key: &str) -> String {
    let metadata = &endpoint.metadata.as_ref().expect("metadata").filter_metadata["envoy.lb"];
    metadata.fields[key].string_value.clone().unwrap_or_default()
}

fn balancer(flags: &str) -> Balancer {
    Balancer::start(&format!("--xds 127.0.0.1:0 --startup-hold 1ms {flags}"))
}

fn xds(balancer: &Balancer) -> SocketAddr {
    balancer.xds.expect("it listens")
}

/// One instance behind its agent, known to the balancer.
async fn known(balancer: &Balancer) -> (Answering, Agent) {
    let instance = Answering::named("zope").await;
    let flags = "--name zope --workers 3 --version-label 2.1";
    let agent = Agent::start(balancer.admin, instance.address(), flags);
    admin::until_routed(balancer.admin, 1, PATIENCE).await;
    (instance, agent)
}

/// Answers, until a response is as wanted; changes may come in several.
async fn until(stream: &mut Stream, wanted: impl Fn(&[LbEndpoint]) -> bool) -> DiscoveryResponse {
    loop {
        let said: DiscoveryResponse = stream.next().await.expect("it goes on");
        if wanted(&endpoints(&said)) {
            return said;
        }
        stream.send(&ask(Some(&said)));
    }
}

fn is_healthy(all: &[LbEndpoint]) -> bool {
    all.len() == 1 && all[0].health_status() == HealthStatus::Healthy
}

#[tokio::test]
async fn an_envoy_is_told_of_an_instance_and_of_the_operator_s_word() {
    let balancer = balancer("");
    let (_instance, agent) = known(&balancer).await;
    let mut stream = Stream::open(xds(&balancer), STREAM, &ask(None)).await;
    let said = until(&mut stream, is_healthy).await;
    let endpoint = endpoints(&said).remove(0);
    let address = endpoint.endpoint.as_ref().and_then(|e| e.address.as_ref()?.socket_address.as_ref());
    assert_eq!(address.map(|a| a.port_value), Some(agent.address.port().into()));
    assert_eq!(endpoint.load_balancing_weight.map(|weight| weight.value), Some(300));
    let keys = ["sluice.role", "sluice.instance", "sluice.version"].map(|name| key(&endpoint, name));
    assert_eq!(keys, ["mixed", "zope", "2.1"]);
    stream.send(&ask(Some(&said)));
    admin::until_metric(balancer.admin, "sluice_xds_streams", &["protocol=\"sotw\""], 1.0).await;
    admin::post(balancer.admin, "/v1/instances/zope/drain", "", "").await;
    let drained = until(&mut stream, |all| all[0].health_status() == HealthStatus::Draining).await;
    assert_eq!(key(&endpoints(&drained)[0], "sluice.role"), "out");
    drop(stream);
    admin::until_metric(balancer.admin, "sluice_xds_streams", &["protocol=\"sotw\""], 0.0).await;
}

#[tokio::test]
async fn a_refusal_is_counted_and_the_next_change_is_told_all_the_same() {
    let balancer = balancer("");
    let (_instance, _agent) = known(&balancer).await;
    let mut stream = Stream::open(xds(&balancer), AGGREGATED, &ask(None)).await;
    let said = until(&mut stream, is_healthy).await;
    let refused = Some(RpcStatus { code: 13, message: "no".to_owned() });
    stream.send(&DiscoveryRequest { error_detail: refused, ..ask(Some(&said)) });
    let nacks = ["answer=\"nack\"", "protocol=\"sotw\""];
    admin::until_metric(balancer.admin, "sluice_xds_answers_total", &nacks, 1.0).await;
    admin::post(balancer.admin, "/v1/instances/zope/drain", "", "").await;
    until(&mut stream, |all| all[0].health_status() == HealthStatus::Draining).await;
}

#[tokio::test]
async fn a_stop_ends_streams_with_a_status_that_says_come_again() {
    let balancer = balancer("");
    let (_instance, _agent) = known(&balancer).await;
    let mut stream = Stream::open(xds(&balancer), STREAM, &ask(None)).await;
    until(&mut stream, is_healthy).await;
    balancer.stop();
    while stream.next::<DiscoveryResponse>().await.is_some() {}
    assert_eq!(stream.status().await, "14", "UNAVAILABLE");
    balancer.ended().await;
}

#[tokio::test]
async fn deltas_tell_what_is_new_and_what_there_is_not() {
    let balancer = balancer("");
    let (_instance, _agent) = known(&balancer).await;
    let subscribe = DeltaDiscoveryRequest {
        type_url: ASSIGNMENT.to_owned(),
        resource_names_subscribe: vec!["sluice".to_owned()],
        ..DeltaDiscoveryRequest::default()
    };
    let mut stream = Stream::open(xds(&balancer), DELTA, &subscribe).await;
    let said: DeltaDiscoveryResponse = stream.next().await.expect("the first word");
    assert_eq!(said.resources[0].name, "sluice");
    let ack =
        DeltaDiscoveryRequest { response_nonce: said.nonce.clone(), ..DeltaDiscoveryRequest::default() };
    stream.send(&ack);
    admin::post(balancer.admin, "/v1/instances/zope/drain", "", "").await;
    let next: DeltaDiscoveryResponse = stream.next().await.expect("the second word");
    assert_ne!(next.resources[0].version, said.resources[0].version);
    let acks = ["answer=\"ack\"", "protocol=\"delta\""];
    admin::until_metric(balancer.admin, "sluice_xds_answers_total", &acks, 1.0).await;
}

/// `POST /v3/discovery:endpoints`: status and JSON.
async fn fetch(xds: SocketAddr, asked: &Value) -> (u16, Value) {
    let mut connection = Http2::open(xds).await;
    let head = request("POST", "/v3/discovery:endpoints").header("content-type", "application/json");
    let (response, mut sending) = connection.send(head.body(()).expect("valid"), false).await;
    sending.send_data(asked.to_string().into(), true).expect("it is open");
    let response = soon("a response", response).await.expect("a head");
    let answer = sluice_tests::http2::collect(response).await.expect("a whole answer");
    (answer.status(), serde_json::from_slice(&answer.body).unwrap_or_default())
}

#[tokio::test]
async fn who_polls_gets_the_same_in_json() {
    let balancer = balancer("");
    let asked = json!({ "resource_names": ["sluice"] });
    assert_eq!(fetch(xds(&balancer), &asked).await.0, 404, "nobody is known yet");
    let (_instance, _agent) = known(&balancer).await;
    let endpoint = |told: &Value| told["resources"][0]["endpoints"][0]["lbEndpoints"][0].clone();
    let told = eventually("a healthy instance", PATIENCE, async || {
        let (_, told) = fetch(xds(&balancer), &asked).await;
        expect(told, |told| endpoint(told)["healthStatus"] == "HEALTHY")
    })
    .await;
    assert_eq!(told["resources"][0]["@type"], ASSIGNMENT);
    assert_eq!(endpoint(&told)["metadata"]["filterMetadata"]["envoy.lb"]["sluice.role"], "mixed");
    // An agent that is late by chance changes it in between.
    eventually("nothing new", PATIENCE, async || {
        let (_, told) = fetch(xds(&balancer), &asked).await;
        let again = json!({ "resourceNames": ["sluice"], "versionInfo": told["versionInfo"] });
        expect(fetch(xds(&balancer), &again).await.0, |status| *status == 304)
    })
    .await;
}

#[tokio::test]
async fn over_tls_only_those_with_a_certificate_are_told_if_that_is_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, clients) = (Cert::write(dir.path(), "lb", &["lb"]), Authority::write(dir.path(), "clients"));
    let others = Authority::write(dir.path(), "others");
    let open = cert.option();
    let asking = format!("{open},client-ca={}", clients.file.display());
    let nobody = TlsClient::trusting([&cert]).offering(&["h2"]);
    let known_one = nobody.clone().showing(&clients.issue(dir.path(), "envoy", &["envoy"]));
    let stranger = nobody.clone().showing(&others.issue(dir.path(), "stranger", &["envoy"]));
    for (options, envoy, is_told) in [
        (&open, &nobody, true),
        (&asking, &known_one, true),
        (&asking, &nobody, false),
        (&asking, &stranger, false),
    ] {
        let balancer = Balancer::start(&format!("--xds 127.0.0.1:0,{options} --startup-hold 1ms"));
        let (_instance, _agent) = known(&balancer).await;
        if is_told {
            let connection = Http2::over(envoy.connect(xds(&balancer), "lb").await).await;
            let mut stream = Stream::over(connection, STREAM, &ask(None)).await;
            until(&mut stream, is_healthy).await;
        } else {
            assert!(is_sent_away(envoy, xds(&balancer)).await);
        }
    }
}

/// Whether no request is answered, be it by a failed handshake or, as TLS 1.3 judges a client's certificate after it, by
/// a connection that ends.
async fn is_sent_away(envoy: &TlsClient, xds: SocketAddr) -> bool {
    match envoy.try_connect(xds, "lb").await {
        Err(_handshake) => true,
        Ok(connection) => Http2::over(connection).await.try_ask(get("/")).await.is_err(),
    }
}

/// The stream ends with a word that says come again, and who does is told of the same instance by the next process, at
/// once; the port is never closed meanwhile.
#[tokio::test]
async fn an_envoy_goes_over_to_the_next_process() {
    let [data, admin_address, xds] = free_addresses();
    let flags = format!("--listen {data} --admin {admin_address} --xds {xds} --threads 1 --startup-hold 1ms");
    let balancer = Lineage::start("sluice-balancer", &flags);
    eventually("the balancer", PATIENCE, async || {
        TcpStream::connect(data).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let instance = Answering::named("zope").await;
    let _agent = Agent::start(admin_address, instance.address(), "--name zope --workers 3");
    admin::until_routed(admin_address, 1, PATIENCE).await;
    let mut stream = Stream::open(xds, STREAM, &ask(None)).await;
    let told = until(&mut stream, is_healthy).await;
    stream.send(&ask(Some(&told)));
    for generation in [1, 2] {
        balancer.upgrade(admin_address, generation).await;
        while stream.next::<DiscoveryResponse>().await.is_some() {}
        assert_eq!(stream.status().await, "14", "UNAVAILABLE");
        stream = Stream::open(xds, STREAM, &ask(None)).await;
        let again: DiscoveryResponse = stream.next().await.expect("it is told at once");
        let known: Vec<_> = endpoints(&again).iter().map(|one| key(one, "sluice.instance")).collect();
        assert_eq!(known, ["zope"]);
        stream.send(&ask(Some(&again)));
    }
    // And it follows.
    admin::post(admin_address, "/v1/instances/zope/drain", "", "").await;
    until(&mut stream, |all| all[0].health_status() == HealthStatus::Draining).await;
    balancer.until_left(1).await;
}
