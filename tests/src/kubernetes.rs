//! As much of a Kubernetes API server as a watch of EndpointSlices needs: one namespace, TLS, a bearer token.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::server::TlsStream;

use crate::certs::Authority;

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const TOKEN: &str = "a-service-account";

/// Serves until dropped.
#[derive(Debug)]
pub struct Api {
    cluster: Arc<Cluster>,
    kubeconfig: PathBuf,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Cluster {
    state: Mutex<State>,
    /// Told of every change.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    slices: BTreeMap<String, Value>,
    /// What watches are told, by version.
    events: BTreeMap<u64, Value>,
    /// Events up to this version are forgotten.
    compacted: u64,
    down: bool,
}

impl Api {
    /// Writes certificate, token and `kubeconfig` into `dir`.
    pub async fn start(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let authority = Authority::write(dir, "cluster");
        let cert = authority.issue(dir, "api", &["127.0.0.1"]);
        let key = PrivateKeyDer::from_pem_file(&cert.key).expect("a key");
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der], key)
            .expect("a pair");
        let cluster = Arc::new(Cluster { state: Mutex::default(), changed: watch::Sender::default() });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), cluster.clone()));
        let kubeconfig = write_kubeconfig(dir, address, &authority.file);
        Self { cluster, kubeconfig, _serving: serving }
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on the service `zope` has this slice: one pod, at a port called `http`.
    pub fn set(&self, slice: &str, pod: &str, address: SocketAddr, conditions: &Value) {
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": slice, "namespace": "default", "labels": { "kubernetes.io/service-name": "zope" },
            },
            "ports": [{ "name": "http", "port": address.port(), "protocol": "TCP" }],
            "endpoints": [{
                "addresses": [address.ip()], "conditions": conditions,
                "targetRef": { "kind": "Pod", "namespace": "default", "name": pod },
            }],
        });
        self.cluster.change(slice, Some(object));
    }

    pub fn delete(&self, slice: &str) {
        self.cluster.change(slice, None);
    }

    /// While it is down, connections are closed. When it is back, it has forgotten what it told before.
    pub fn set_down(&self, down: bool) {
        let mut state = self.cluster.state();
        state.down = down;
        state.compacted = state.version;
        state.events.clear();
        drop(state);
        self.cluster.changed.send_replace(());
    }
}

fn write_kubeconfig(dir: &Path, address: SocketAddr, authority: &Path) -> PathBuf {
    let token = dir.join("token");
    std::fs::write(&token, TOKEN).expect("written");
    let cluster = json!({ "server": format!("https://{address}"), "certificate-authority": authority });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{ "name": "test", "cluster": cluster }],
        "users": [{ "name": "test", "user": { "tokenFile": token } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
    });
    let path = dir.join("kubeconfig");
    std::fs::write(&path, config.to_string()).expect("written");
    path
}

impl Cluster {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, name: &str, object: Option<Value>) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        let (kind, mut object) = match (object, state.slices.remove(name)) {
            (None, None) => panic!("there is no slice {name}"),
            (None, Some(object)) => ("DELETED", object),
            (Some(object), None) => ("ADDED", object),
            (Some(object), Some(_)) => ("MODIFIED", object),
        };
        object["metadata"]["resourceVersion"] = version.to_string().into();
        if kind != "DELETED" {
            state.slices.insert(name.to_owned(), object.clone());
        }
        state.events.insert(version, json!({ "type": kind, "object": object }));
        drop(state);
        self.changed.send_replace(());
    }
}

impl State {
    fn list(&self) -> Value {
        let items: Vec<_> = self.slices.values().collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList",
            "metadata": { "resourceVersion": self.version.to_string() }, "items": items,
        })
    }

    /// What happened after `version`, in lines.
    fn since(&self, version: u64) -> String {
        if version < self.compacted {
            let gone = status(410, "Expired");
            return format!("{}\n", json!({ "type": "ERROR", "object": gone }));
        }
        self.events.range(version + 1..).map(|(_, event)| format!("{event}\n")).collect()
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": reason, "metadata": {},
    })
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, cluster: Arc<Cluster>) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        if !cluster.state().down {
            connections.spawn(answer(tcp, tls.clone(), cluster.clone()));
        }
    }
}

/// One request per connection. Whoever asked may be gone at any time.
async fn answer(tcp: TcpStream, tls: TlsAcceptor, cluster: Arc<Cluster>) -> Option<()> {
    let mut stream = tls.accept(tcp).await.ok()?;
    let head = head(&mut stream).await?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let has = |parameter: &str| query.split('&').any(|one| one == parameter);
    let is_bearer = head.lines().any(|l| l.eq_ignore_ascii_case(&format!("authorization: Bearer {TOKEN}")));
    if !is_bearer {
        return reply(&mut stream, "401 Unauthorized", &status(401, "Unauthorized")).await;
    }
    let of_zope = ["kubernetes.io%2Fservice-name%3Dzope", "kubernetes.io/service-name%3Dzope"];
    if path != SLICES || !of_zope.iter().any(|label| has(&format!("labelSelector={label}"))) {
        return reply(&mut stream, "403 Forbidden", &status(403, "Forbidden")).await;
    }
    if !has("watch=true") {
        let list = cluster.state().list();
        return reply(&mut stream, "200 OK", &list).await;
    }
    let version = query.split('&').find_map(|one| one.strip_prefix("resourceVersion=")?.parse().ok())?;
    tell(&mut stream, &cluster, version).await
}

async fn head(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(bytes).ok()
}

async fn reply(stream: &mut TlsStream<TcpStream>, status: &str, body: &Value) -> Option<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

/// A watch: one line of JSON for each event, until the server is down.
async fn tell(stream: &mut TlsStream<TcpStream>, cluster: &Cluster, mut version: u64) -> Option<()> {
    let mut changed = cluster.changed.subscribe();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    loop {
        let (lines, now, down) = {
            let state = cluster.state();
            (state.since(version), state.version, state.down)
        };
        if down {
            return None;
        }
        if !lines.is_empty() {
            let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
            stream.write_all(chunk.as_bytes()).await.ok()?;
        }
        stream.flush().await.ok()?;
        version = now;
        changed.changed().await.ok()?;
    }
}
