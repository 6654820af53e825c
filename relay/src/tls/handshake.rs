//! One client's handshake.

use std::io;
use std::time::Duration;

use sluice_process::Watch;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::server::TlsStream;

use super::certificates::{Certificates, HTTP_2};
use super::metrics::HandshakeFailure;

/// A connection that is secure, by what is spoken on it.
pub(crate) enum Secured<I> {
    Http1(Box<TlsStream<I>>),
    Http2(Box<TlsStream<I>>),
}

/// Runs the handshake, for at most `limit`. What comes of it is counted; `None` if nothing did.
pub(crate) async fn secure<I: AsyncRead + AsyncWrite + Unpin>(
    certificates: &Certificates,
    io: I,
    limit: Duration,
    stop: &Watch,
) -> Option<Secured<I>> {
    let handshake = TlsAcceptor::from(certificates.config.clone()).accept(io);
    let result = tokio::select! {
        result = handshake => result.map_err(|error| failure_of(&error)),
        () = sleep(limit) => Err(HandshakeFailure::Timeout),
        () = stop.now() => Err(HandshakeFailure::Stopping),
    };
    match result {
        Ok(stream) => {
            certificates.metrics.handshakes.inc();
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
            // More than a kilobyte, which is moved often.
            let stream = Box::new(stream);
            Some(if is_http2 { Secured::Http2(stream) } else { Secured::Http1(stream) })
        }
        Err(failure) => {
            certificates.metrics.failed(failure);
            None
        }
    }
}

fn failure_of(error: &io::Error) -> HandshakeFailure {
    let cause = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
    match cause {
        None => HandshakeFailure::Closed,
        Some(TlsError::InvalidMessage(_)) => HandshakeFailure::NotTls,
        Some(TlsError::PeerIncompatible(_)) => HandshakeFailure::Incompatible,
        Some(TlsError::NoApplicationProtocol) => HandshakeFailure::Protocol,
        Some(TlsError::AlertReceived(_)) => HandshakeFailure::Refused,
        Some(_) => HandshakeFailure::Misbehaved,
    }
}
