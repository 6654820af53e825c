//! Server and client over a socket, with certificates that are made here.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Router, extract::Extension, routing::get};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::time::Instant;

use super::{watched::Watched, *};
use crate::{
    Shutdown,
    admin::{AdminServer, Caller},
    metrics::registry,
};

struct Authority {
    file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let file = dir.join(format!("{name}.pem"));
        fs::write(&file, params.self_signed(&key).expect("a certificate").pem()).expect("written");
        Self { file, issuer: Issuer::new(params, key) }
    }

    /// For `names`, or if there are none with a common name alone.
    fn issue(&self, dir: &Path, file: &str, names: &[&str]) -> CertFiles {
        let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        let params = params.as_mut().expect("names");
        params.distinguished_name.push(DnType::CommonName, "Common-Name");
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = CertFiles { cert: dir.join(format!("{file}.pem")), key: dir.join(format!("{file}.key")) };
        fs::write(&files.cert, cert.pem()).expect("written");
        fs::write(&files.key, key.serialize_pem()).expect("written");
        files
    }
}

/// Answers with the names that a client has shown.
fn serve(cert: CertFiles, client_ca: Option<PathBuf>) -> (SocketAddr, Shutdown) {
    let who = async |Extension(caller): Extension<Caller>| match caller.certificate {
        Some(names) => format!("{:?}", names.as_slice()),
        None => "nobody".to_owned(),
    };
    let files = ServerTlsFiles { cert, client_ca };
    let server = AdminServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &registry("test", "0"));
    let server = server.expect("a free port").over_tls(Some(&files)).expect("usable files");
    let (addr, shutdown) = (server.local_addr(), Shutdown::new());
    let watch = shutdown.watch();
    let router = Router::new().route("/", get(who));
    tokio::spawn(server.serve(router, async move { watch.requested().await }));
    (addr, shutdown)
}

fn client(ca: &Path, cert: Option<CertFiles>) -> HttpClient {
    let tls = ClientTls { trust: Trust::File(ca.to_owned()), cert };
    HttpClient::open(Some(tls), |builder| builder).expect("usable files")
}

async fn ask(client: &HttpClient, addr: SocketAddr) -> Result<String, reqwest::Error> {
    client.current().get(format!("https://localhost:{}/", addr.port())).send().await?.text().await
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_and_strangers_are_not_let_in() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    let (own, other) = (Authority::new(path, "own"), Authority::new(path, "other"));
    let server = own.issue(path, "server", &["localhost"]);
    let (addr, _running) = serve(server, Some(own.file.clone()));
    let named = own.issue(path, "named", &["Zope-1", "*.app.example", "10.0.0.7", "::1"]);
    let unnamed = own.issue(path, "unnamed", &[]);
    let stranger = other.issue(path, "stranger", &["zope-1"]);
    for (cert, answer) in [
        (Some(named), r#"["zope-1", "*.app.example", "10.0.0.7", "::1"]"#),
        (Some(unnamed), r#"["common-name"]"#),
        (None, "nobody"),
    ] {
        assert_eq!(ask(&client(&own.file, cert), addr).await.expect("answered"), answer);
    }
    let refused = ask(&client(&own.file, Some(stranger)), addr).await;
    assert!(refused.is_err(), "a certificate of another authority: {refused:?}");
    let refused = ask(&client(&other.file, None), addr).await;
    assert!(refused.is_err(), "a server that nobody known vouches for: {refused:?}");
    let plain = http_client().build().expect("a client").get(format!("http://{addr}/")).send().await;
    assert!(plain.is_err(), "plain HTTP: {plain:?}");
}

#[tokio::test]
async fn clients_are_not_asked_where_nobody_vouches_for_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let own = Authority::new(dir.path(), "own");
    let (addr, _running) = serve(own.issue(dir.path(), "server", &["localhost"]), None);
    let shown = own.issue(dir.path(), "client", &["a"]);
    assert_eq!(ask(&client(&own.file, Some(shown)), addr).await.expect("answered"), "nobody");
}

#[test]
fn files_that_can_not_be_used_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let own = Authority::new(dir.path(), "own");
    let cert = own.issue(dir.path(), "server", &["localhost"]);
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "").expect("written");
    let files = ServerTlsFiles { cert: cert.clone(), client_ca: Some(empty.clone()) };
    let text = files.check().expect_err("no authority").to_string();
    assert!(text.contains("empty.pem") && text.contains("no certificate"), "{text}");
    let tls = ClientTls { trust: Trust::File(empty), cert: Some(cert) };
    assert!(tls.check().expect_err("no authority").to_string().contains("empty.pem"));
}

#[test]
fn what_changes_is_made_again_and_what_can_not_be_made_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "1").expect("written");
    let read = {
        let file = file.clone();
        move || fs::read_to_string(&file).expect("there").parse::<u32>()
    };
    let watched = Watched::new(vec![file.clone()], read).expect("a number");
    let start = Instant::now();
    let at = |ms| *watched.current_at(start + Duration::from_millis(ms));
    for (written, looked_at, value) in [
        ("22", 10, 1), // not yet looked at
        ("22", 2_000, 22),
        ("bad", 4_000, 22),
        ("4444", 6_000, 4444),
    ] {
        fs::write(&file, written).expect("written");
        assert_eq!(at(looked_at), value, "{written} at {looked_at} ms");
    }
}
