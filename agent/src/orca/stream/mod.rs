//! ORCA out of band: load reports on a gRPC stream, which peers open beside their requests, and as often as they like.
//!
//! ```text
//!  Envoy ──► POST /xds.service.orca.v3.OpenRcaService/StreamCoreMetrics ──► request: how often
//!        ◄── current report, current report, ... ◄── reports ◄────────────────┘
//!        ◄── grpc-status: 14, when the agent leaves
//! ```
//!
//! One method of four fields needs no gRPC library: HTTP/2 is the relay's, with its limits and its watch over clients, and
//! what gRPC adds to it is in `grpc`.

mod grpc;
mod metrics;
mod reports;
mod request;
mod serve;

use std::{sync::Arc, time::Duration};

use http::{Method, Request, Response, Version};
use http_body_util::BodyExt;
use sluice_process::Watch;
use sluice_relay::{ClientBody, Observer, ReplyBody};

pub(super) use metrics::StreamMetrics;
pub(crate) use serve::{bind, start};

use self::{grpc::Refusal, reports::Reports};
use crate::shared::Shared;

/// Service and method of `xds/service/orca/v3/orca.proto`.
const METHOD: &str = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics";

/// Of a request: a duration, and names of costs that nobody knows here.
const LONGEST_REQUEST: u64 = 4096;

/// Answers requests for streams.
pub(crate) struct LoadStreams {
    shared: Arc<Shared>,
    /// Ends them.
    stop: Watch,
}

impl LoadStreams {
    pub(crate) fn new(shared: Arc<Shared>, stop: Watch) -> Self {
        Self { shared, stop }
    }

    /// A stream of reports, or why there is none. Nothing of it is for the instance.
    pub(crate) async fn answer<O: Observer>(&self, request: Request<ClientBody>) -> Response<ReplyBody<O>> {
        match self.subscribe(request).await {
            Ok(reports) => grpc::streams(ReplyBody::made(reports)),
            Err(refusal) => {
                self.shared.orca.streams.refused(refusal);
                refusal.response()
            }
        }
    }

    async fn subscribe(&self, request: Request<ClientBody>) -> Result<Reports, Refusal> {
        is_for_us(&request)?;
        let mut body = request.into_body();
        body.limit(LONGEST_REQUEST).map_err(|_too_large| Refusal::Malformed)?;
        let bytes = body.collect().await.map_err(|_broke_off| Refusal::Malformed)?.to_bytes();
        let every = granted(&bytes, self.shared.config.languages.orca_min_interval)?;
        let open = self.shared.orca.streams.open().ok_or(Refusal::Exhausted)?;
        Ok(Reports::new(self.shared.clone(), every, &self.stop, open))
    }
}

/// How often who asks with `body` is told.
fn granted(body: &[u8], least: Duration) -> Result<Duration, Refusal> {
    Ok(request::granted(request::interval(grpc::message(body)?)?, least))
}

/// The same for fuzzers.
pub(super) fn interval(body: &[u8], least: Duration) -> Option<Duration> {
    granted(body, least).ok()
}

fn is_for_us<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.version() != Version::HTTP_2 {
        return Err(Refusal::Http1);
    }
    if request.method() != Method::POST || !grpc::is_grpc(request.headers()) {
        return Err(Refusal::NotGrpc);
    }
    if request.uri().path() == METHOD { Ok(()) } else { Err(Refusal::Unimplemented) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_method_is_ours() {
        let orca = |method: &str, path: &str, version, kind: &str| {
            let request =
                Request::builder().method(method).uri(format!("http://zope{path}")).version(version);
            is_for_us(&request.header("content-type", kind).body(()).expect("valid"))
        };
        let h2 = Version::HTTP_2;
        for (method, path, version, kind, expected) in [
            ("POST", METHOD, h2, "application/grpc", Ok(())),
            ("POST", METHOD, h2, "application/grpc+proto", Ok(())),
            ("POST", METHOD, Version::HTTP_11, "application/grpc", Err(Refusal::Http1)),
            ("GET", METHOD, h2, "application/grpc", Err(Refusal::NotGrpc)),
            ("POST", METHOD, h2, "application/json", Err(Refusal::NotGrpc)),
            ("POST", "/grpc.health.v1.Health/Check", h2, "application/grpc", Err(Refusal::Unimplemented)),
            ("POST", "/", h2, "application/grpc", Err(Refusal::Unimplemented)),
        ] {
            assert_eq!(orca(method, path, version, kind), expected, "{method} {path} {version:?} {kind}");
        }
    }
}
