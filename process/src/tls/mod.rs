//! TLS of the control plane: certificates from files, for the admin servers and for those who speak to them.
//!
//! ```text
//!  files ──► Watched ──► ServerTls ──► admin server ──► CertNames of the client, if it has a certificate
//!               └──────► HttpClient ──► agents' reports, `top`
//! ```
//!
//! The listeners for clients of the site read theirs by [`CertFiles`] too. Files are looked at again, at most once a
//! second, when something is about to be done with them: there is no task that could be forgotten.

mod client;
mod files;
mod names;
mod server;
#[cfg(test)]
mod tests;
mod watched;

pub use client::{ClientTls, HttpClient, HttpClientError, Trust, http_client};
pub use files::{CertError, CertFiles, Loaded, NotTwoFiles, Stamp};
pub use names::CertNames;
pub use server::{ServerTls, ServerTlsFiles};
