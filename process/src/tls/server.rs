use std::{path::PathBuf, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        server::{
            NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
            danger::ClientCertVerifier,
        },
        sign::SingleCertAndKey,
        version,
    },
};

use super::{CertError, CertFiles, files::authorities, watched::Watched};

/// What an admin server needs for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsFiles {
    pub cert: CertFiles,
    /// Those who vouch for clients. `None`: clients are not asked for a certificate.
    pub client_ca: Option<PathBuf>,
}

impl ServerTlsFiles {
    /// Whether these can be used.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn check(&self) -> Result<(), CertError> {
        self.config(&[]).map(drop)
    }

    /// `protocols`: what is spoken over it, the most wanted first (ALPN).
    fn config(&self, protocols: &[&str]) -> Result<ServerConfig, CertError> {
        let key = self.cert.load()?.key;
        let clients = self.client_ca.as_ref().map(|file| Ok((file, authorities(file)?))).transpose()?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .expect("the provider has ciphers for both versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some((file, roots)) => {
                let unusable =
                    |source: VerifierBuilderError| CertError::Clients { file: file.clone(), source };
                builder.with_client_cert_verifier(optional(roots).map_err(unusable)?)
            }
        };
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(key));
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // Connections are few and last: nothing is resumed, so that a certificate that no longer counts does not count.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// Who has no certificate may read, as who has no token; who has one of another authority is refused.
fn optional(roots: RootCertStore) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build()
}

/// The server's side, read again when a file changes.
pub struct ServerTls(Watched<ServerConfig, CertError>);

impl ServerTls {
    /// For HTTP/1.1.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(files: &ServerTlsFiles) -> Result<Self, CertError> {
        Self::speaking(&["http/1.1"], files)
    }

    /// For other protocols, by their names in ALPN, the most wanted first.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn speaking(protocols: &'static [&str], files: &ServerTlsFiles) -> Result<Self, CertError> {
        let paths =
            [&files.cert.cert, &files.cert.key].into_iter().chain(&files.client_ca).cloned().collect();
        let files = files.clone();
        Watched::new(paths, move || files.config(protocols)).map(Self)
    }

    /// With the files as they are now.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current())
    }
}
