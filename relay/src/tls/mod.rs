//! TLS towards clients: certificates from files, chosen by name, read again when they change.
//!
//! ```text
//!  CERT, KEY ──(process::tls)──► Loaded: chain, key, names, end
//!                          │ refresh (control thread, when a file has changed)
//!                       Certificates ── table by name ──► handshake (data threads)
//! ```
//!
//! TLS 1.2 and 1.3 with the library's own choice of ciphers: all of them authenticated encryption with forward
//! secrecy. There is nothing older to switch on, hence no option for it. Sessions are resumed by tickets alone, whose
//! keys change every six hours and never leave the process.

mod certificates;
mod handshake;
mod metrics;

pub use certificates::Certificates;
pub(crate) use handshake::{Secured, secure};
pub use metrics::{HandshakeFailure, TlsMetrics};
pub use sluice_process::tls::{CertError, CertFiles};
