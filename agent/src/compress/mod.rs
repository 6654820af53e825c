//! Compression of responses on their way out: when the instance's worker is free already, and on threads of its own.
//!
//! ```text
//!  request ─► Asked: what the client takes                                 pool: --compress-threads
//!                │                                                           ▲            │
//!  instance ──► judge ──yes──► head rewritten ──► Compressing: reads ahead ──┘ a step  ◄──┘ ──► client
//!                └─no: passes as it is, counted by reason; `Vary` if another client would get it compressed
//! ```
//!
//! | module | what |
//! |---|---|
//! | `negotiate` | `Accept-Encoding` to a coding, pure |
//! | `media` | which types are worth it |
//! | `judge` | whether a response is compressed, and why not; pure |
//! | `head` | what that means for the header fields; pure |
//! | `pool` | threads, how much they take on, one step of one response |
//! | `body` | a response's body as it becomes compressed |
//!
//! When the threads have more to do than they get done, responses pass as they are. A data thread never waits for
//! a step, and never compresses itself.

mod body;
mod encoder;
mod encoding;
#[doc(hidden)] // for tests/fuzzing
pub mod fuzzing;
mod head;
mod judge;
mod media;
mod metrics;
mod negotiate;
mod pool;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

use http::{HeaderValue, Method, Response, StatusCode, header, request, response};
use http_body::Body as _;
use prometheus::Registry;
use sluice_relay::{Observer, ReplyBody};

pub use encoding::Encoding;
pub use media::{MediaPattern, MediaPatternError, default_types};

use crate::config::CompressConfig;
use body::Compressing;
use judge::{Skip, Verdict, Wish, judge};
use metrics::CompressMetrics;
use pool::Pool;

/// Compresses an agent's responses. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Compressor(Arc<Inner>);

struct Inner {
    config: CompressConfig,
    pool: Arc<Pool>,
    metrics: CompressMetrics,
}

/// What a request asked for, kept until there is a response.
pub struct Asked {
    compressor: Compressor,
    wish: Wish,
    if_none_match: Option<HeaderValue>,
}

impl Compressor {
    /// Starts the threads. `None` if nothing is to be compressed.
    ///
    /// # Errors
    /// If a thread can not be started.
    pub fn start(config: &CompressConfig, registry: &Registry) -> io::Result<Option<Self>> {
        if config.encodings.is_empty() {
            return Ok(None);
        }
        let pool = Arc::new(Pool::start(config.threads)?);
        let metrics = CompressMetrics::register(registry);
        Ok(Some(Self(Arc::new(Inner { config: config.clone(), pool, metrics }))))
    }

    /// The same threads, for other types, codings and sizes.
    #[must_use]
    pub fn with(&self, config: &CompressConfig) -> Self {
        let (pool, metrics) = (self.0.pool.clone(), self.0.metrics.clone());
        Self(Arc::new(Inner { config: config.clone(), pool, metrics }))
    }

    pub fn ask(&self, request: &request::Parts) -> Asked {
        let fields = request.headers.get_all(header::ACCEPT_ENCODING);
        let fields = fields.iter().filter_map(|value| value.to_str().ok());
        let wish = Wish {
            encoding: negotiate::negotiate(fields, &self.0.config.encodings),
            is_head: request.method == Method::HEAD,
            no_transform: judge::has_no_transform(&request.headers),
        };
        let if_none_match = request.headers.get(header::IF_NONE_MATCH).cloned();
        Asked { compressor: self.clone(), wish, if_none_match }
    }
}

impl Asked {
    /// The response as this client gets it.
    pub fn apply<O: Observer>(self, response: Response<ReplyBody<O>>) -> Response<ReplyBody<O>> {
        let (mut head, body) = response.into_parts();
        if head.status == StatusCode::NOT_MODIFIED {
            head::revalidated(&mut head.headers, self.if_none_match.as_ref());
        }
        let length = body.size_hint().exact();
        let body = match judge(&self.wish, &head, length, &self.compressor.0.config) {
            Verdict::Compress(encoding) => self.compress(encoding, &mut head, body),
            Verdict::Pass(skip) => self.pass(skip, body),
            Verdict::Vary(skip) => {
                head::add_vary(&mut head.headers);
                if skip == Skip::Head && self.wish.encoding.is_some() {
                    head::weaken_etag(&mut head.headers);
                }
                self.pass(skip, body)
            }
        };
        Response::from_parts(head, body)
    }

    fn compress<O: Observer>(
        &self,
        encoding: Encoding,
        head: &mut response::Parts,
        body: ReplyBody<O>,
    ) -> ReplyBody<O> {
        head::add_vary(&mut head.headers);
        let Some(job) = self.compressor.0.pool.admit(encoding) else { return self.pass(Skip::Busy, body) };
        head::encode(&mut head.headers, encoding);
        ReplyBody::made(Compressing::new(body, job, self.compressor.clone()))
    }

    fn pass<O: Observer>(&self, skip: Skip, body: ReplyBody<O>) -> ReplyBody<O> {
        self.compressor.0.metrics.skipped(skip);
        body
    }
}
