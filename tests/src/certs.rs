//! Certificates made for a test, and clients that believe them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, generate_simple_self_signed,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::soon;

/// A self-signed certificate and its key in two files.
pub struct Cert {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub der: CertificateDer<'static>,
}

impl Cert {
    /// Writes `NAME.pem` and `NAME.key` into `dir`, or replaces them.
    pub fn write(dir: &Path, name: &str, hosts: &[&str]) -> Self {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = generate_simple_self_signed(hosts).expect("a certificate");
        let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        fs::write(&cert, made.cert.pem()).expect("written");
        fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        Self { cert, key, der: made.cert.der().clone() }
    }

    /// As an option of a listener.
    pub fn option(&self) -> String {
        format!("tls={}:{}", self.cert.display(), self.key.display())
    }
}

/// An authority that vouches for others.
pub struct Authority {
    /// Its certificate.
    pub file: PathBuf,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Writes `NAME.pem` into `dir`.
    pub fn write(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        let file = dir.join(format!("{name}.pem"));
        fs::write(&file, made.pem()).expect("written");
        Self { file, der: made.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A certificate of its own for `hosts`: `NAME.pem` and `NAME.key` in `dir`, or replaces them.
    pub fn issue(&self, dir: &Path, name: &str, hosts: &[&str]) -> Cert {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let made = CertificateParams::new(hosts).expect("names").signed_by(&key, &self.issuer);
        let made = made.expect("a certificate");
        let (cert, file) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        fs::write(&file, key.serialize_pem()).expect("written");
        fs::write(&cert, made.pem()).expect("written");
        Cert { cert, key: file, der: made.der().clone() }
    }
}

/// A TLS client that believes some certificates.
#[derive(Clone)]
pub struct TlsClient {
    trusted: Vec<CertificateDer<'static>>,
    alpn: Vec<Vec<u8>>,
    versions: &'static [&'static SupportedProtocolVersion],
    /// What it shows of itself: certificate and key.
    shown: Option<(PathBuf, PathBuf)>,
}

impl TlsClient {
    pub fn trusting<'a>(certs: impl IntoIterator<Item = &'a Cert>) -> Self {
        Self::of(certs.into_iter().map(|cert| cert.der.clone()).collect())
    }

    /// Believes whom `authority` vouches for.
    pub fn believing(authority: &Authority) -> Self {
        Self::of(vec![authority.der.clone()])
    }

    fn of(trusted: Vec<CertificateDer<'static>>) -> Self {
        Self { trusted, alpn: Vec::new(), versions: ALL_VERSIONS, shown: None }
    }

    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub fn speaking(mut self, versions: &'static [&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions;
        self
    }

    /// With a certificate of its own, for servers that ask for one.
    pub fn showing(mut self, cert: &Cert) -> Self {
        self.shown = Some((cert.cert.clone(), cert.key.clone()));
        self
    }

    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        self.trusted.iter().for_each(|cert| roots.add(cert.clone()).expect("a certificate"));
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .expect("known versions")
            .with_root_certificates(roots);
        let mut config = match &self.shown {
            Some((cert, key)) => {
                let chain = vec![CertificateDer::from_pem_file(cert).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                config.with_client_auth_cert(chain, key).expect("they belong together")
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        TlsConnector::from(Arc::new(config))
    }

    /// # Errors
    /// Why there is no connection, as text.
    pub async fn try_connect(&self, address: SocketAddr, name: &str) -> Result<TlsStream<TcpStream>, String> {
        let tcp = soon("connect", TcpStream::connect(address)).await.map_err(|e| e.to_string())?;
        self.over(tcp, name).await
    }

    /// # Errors
    /// As [`try_connect`](Self::try_connect).
    pub async fn over(&self, tcp: TcpStream, name: &str) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        soon("handshake", self.connector().connect(name, tcp)).await.map_err(|e| e.to_string())
    }

    pub async fn connect(&self, address: SocketAddr, name: &str) -> TlsStream<TcpStream> {
        self.try_connect(address, name).await.expect("a secure connection")
    }
}

/// The certificate that the server gave.
pub fn certificate_of(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream.get_ref().1.peer_certificates().expect("after the handshake");
    chain[0].clone().into_owned()
}

/// Sends `request`, which asks to close, and returns all that comes.
pub async fn ask_over(mut io: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    soon("send", io.write_all(request.as_bytes())).await.expect("it is there");
    let mut answer = Vec::new();
    soon("read", io.read_to_end(&mut answer)).await.expect("a whole answer");
    String::from_utf8_lossy(&answer).into_owned()
}
