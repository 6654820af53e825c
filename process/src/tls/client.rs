use std::{path::PathBuf, sync::Arc};

use reqwest::{Client, ClientBuilder, redirect::Policy};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, client::ResolvesClientCert, crypto::ring, sign::SingleCertAndKey, version,
};

use super::{CertError, CertFiles, files::authorities, watched::Watched};

/// Whom a client believes that a server is who it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that this system has.
    #[default]
    System,
    /// Those in this PEM file, and no others.
    File(PathBuf),
}

/// The client's side of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    pub trust: Trust,
    /// Shown to servers that ask for one.
    pub cert: Option<CertFiles>,
}

impl ClientTls {
    /// Whether these files can be used.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn check(&self) -> Result<(), CertError> {
        self.config().map(drop)
    }

    fn config(&self) -> Result<ClientConfig, CertError> {
        let roots = match &self.trust {
            Trust::System => system_authorities()?,
            Trust::File(file) => authorities(file)?,
        };
        let cert = self.cert.as_ref().map(CertFiles::load).transpose()?;
        Ok(config(roots, cert.map(|loaded| Arc::new(SingleCertAndKey::from(loaded.key)) as _)))
    }

    fn files(&self) -> Vec<PathBuf> {
        let ca = match &self.trust {
            Trust::System => None,
            Trust::File(file) => Some(file),
        };
        let cert = self.cert.iter().flat_map(|files| [&files.cert, &files.key]);
        ca.into_iter().chain(cert).cloned().collect()
    }
}

fn system_authorities() -> Result<RootCertStore, CertError> {
    let mut roots = RootCertStore::empty();
    // Some of a system's certificates are always too odd for somebody; the rest is enough.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(CertError::NoSystemAuthorities) } else { Ok(roots) }
}

fn config(roots: RootCertStore, cert: Option<Arc<dyn ResolvesClientCert>>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .expect("the provider has ciphers for both versions")
        .with_root_certificates(roots);
    match cert {
        Some(cert) => builder.with_client_cert_resolver(cert),
        None => builder.with_no_client_auth(),
    }
}

/// How every client of these programs begins: it goes straight to where it is sent, without a proxy that the
/// environment names and without following redirects, and speaks plain HTTP, as it believes no certificate.
///
/// The HTTP library has no cryptography of its own here, and panics when it is asked to build a client without any.
pub fn http_client() -> ClientBuilder {
    over(config(RootCertStore::empty(), None))
}

fn over(tls: ClientConfig) -> ClientBuilder {
    Client::builder().no_proxy().redirect(Policy::none()).tls_backend_preconfigured(tls)
}

/// A client that speaks HTTPS too. Files that change are read again; connections that were made with the old ones
/// are not used any more then.
pub struct HttpClient(Watched<Client, HttpClientError>);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    #[error(transparent)]
    Cert(#[from] CertError),
    #[error("no HTTP client can be made: {0}")]
    Client(#[from] reqwest::Error),
}

impl HttpClient {
    /// `tls`: `None` speaks plain HTTP alone. `finish` sets what else there is to set.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(
        tls: Option<ClientTls>,
        finish: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, HttpClientError> {
        let files = tls.as_ref().map(ClientTls::files).unwrap_or_default();
        let make = move || {
            let begun = match &tls {
                Some(tls) => over(tls.config()?),
                None => http_client(),
            };
            Ok(finish(begun).build()?)
        };
        Watched::new(files, make).map(Self)
    }

    pub fn current(&self) -> Arc<Client> {
        self.0.current()
    }
}
