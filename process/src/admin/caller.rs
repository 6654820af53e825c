use std::{net::SocketAddr, sync::Arc};

use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::tls::CertNames;

/// Who sends a request, as far as its connection tells: an extension of every request.
#[derive(Clone, Debug)]
pub struct Caller {
    pub peer: SocketAddr,
    /// The names in its certificate, if it has shown one of an authority in `client-ca`.
    pub certificate: Option<Arc<CertNames>>,
}

impl Caller {
    pub(super) fn in_the_clear(peer: SocketAddr) -> Self {
        Self { peer, certificate: None }
    }

    /// `chain` is what was verified; no chain: the client has no certificate.
    pub(super) fn over_tls(peer: SocketAddr, chain: Option<&[CertificateDer<'_>]>) -> Self {
        let certificate = chain.and_then(<[_]>::first).map(|leaf| Arc::new(CertNames::of(leaf)));
        Self { peer, certificate }
    }
}
