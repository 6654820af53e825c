//! The admin server that both programs have: HTTP/1.1 on a port of its own, for agents, operators and scrapers.
//!
//! ```text
//!  accept ─► bounds, TLS (server) ─► headers, cross-site, certificate, token, 413 (protect) ─► common_routes + the program's own
//! ```
//!
//! ```
//! # use std::{net::SocketAddr, sync::Arc};
//! # use axum::{Router, routing::post};
//! # use sluice_process::{admin::{self, AdminServer}, metrics, Readiness, Watch};
//! # async fn drain() {}
//! # async fn example(addr: SocketAddr, watch: Watch) -> Result<(), admin::AdminError> {
//! let registry = metrics::registry("sluice-agent", "0.1.0");
//! let readiness = Arc::new(Readiness::new());
//! let router = admin::common_routes(registry.clone(), readiness).route("/v1/drain", post(drain));
//! let router = admin::list_paths(router, &["GET /metrics", "GET /healthz", "GET /readyz", "POST /v1/drain"]);
//! let access = admin::Access::register(&registry, None, false);
//! let server = AdminServer::bind(addr, &registry)?;
//! server.serve(admin::protect(router, access), async move { watch.requested().await }).await
//! # }
//! ```

mod access;
mod body;
mod caller;
mod protect;
mod routes;
mod server;
pub mod shares;
#[cfg(test)]
mod tests;

pub use access::Access;
pub use body::{DEFAULT_BODY_LIMIT, limit_body};
pub use caller::Caller;
pub use protect::{TurnedAway, harden, protect};
pub use routes::{common_routes, list_paths, not_there};
pub use server::{AdminError, AdminServer, Ending, connections_within};
pub use shares::Shares;
