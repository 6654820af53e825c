//! One request at an emulated instance: queue, worker, cache, answer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;

use super::Release;
use super::body::WorkBody;
use super::cache::Lru;
use super::ledger::{InFlight, Ledger};
use super::workers::Workers;
use crate::pattern::PatternBody;
use crate::work::{self, Cost};

pub(super) type Reply = Response<Either<Full<Bytes>, WorkBody>>;

/// What all connections of one instance share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: HeaderValue,
    pub(super) release: Release,
    pub(super) write_chunk: usize,
    pub(super) workers: Workers,
    pub(super) cache: Option<Mutex<Lru>>,
    pub(super) ledger: Arc<Ledger>,
}

#[derive(Clone, Copy)]
enum Lookup {
    Hit,
    Miss,
    /// No object asked for, or no cache here.
    Unneeded,
}

impl Server {
    /// Answers one request. The error is the client's: its body broke off.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Reply, hyper::Error> {
        if request.method() == Method::GET && request.uri().path() == "/health" {
            return Ok(self.text(StatusCode::OK, "ok\n".to_owned()));
        }
        let cost = match Cost::from_headers(request.headers()) {
            Ok(cost) => cost,
            Err(error) => {
                self.ledger.update(|s| s.refused += 1);
                return Ok(self.text(StatusCode::BAD_REQUEST, format!("{error}\n")));
            }
        };
        let method = request.method().clone();
        // Before a worker is asked for: few-worker servers (waitress, Zope) buffer the body first.
        let received = self.receive(request.into_body()).await?;
        let mut flight = InFlight::queued(Arc::clone(&self.ledger));
        flight.start(self.workers.acquire().await);
        let lookup = self.work(&cost).await;
        flight.stream(self.release);
        Ok(self.reply(&method, &cost, lookup, received, flight))
    }

    async fn receive(&self, mut body: Incoming) -> Result<u64, hyper::Error> {
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        self.ledger.update(|s| s.request_bytes += received);
        Ok(received)
    }

    /// Holds the worker for as long as `cost` says, given what is in the cache.
    async fn work(&self, cost: &Cost) -> Lookup {
        let (Some(cache), Some(object)) = (&self.cache, &cost.object) else {
            self.workers.perform(cost.work).await;
            return Lookup::Unneeded;
        };
        let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = lock().hit(object);
        if hit {
            self.ledger.update(|s| s.cache_hits += 1);
            self.workers.perform(cost.work).await;
            return Lookup::Hit;
        }
        self.ledger.update(|s| s.cache_misses += 1);
        self.workers.perform(cost.work + cost.miss).await;
        lock().insert(object); // only now: a request that was cancelled loaded nothing
        Lookup::Miss
    }

    fn reply(&self, method: &Method, cost: &Cost, lookup: Lookup, received: u64, flight: InFlight) -> Reply {
        let sent = if method == Method::HEAD { 0 } else { cost.bytes };
        let pattern = PatternBody::new(sent, self.write_chunk);
        let mut reply = Response::new(Either::Right(WorkBody::new(pattern, flight)));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_LENGTH, cost.bytes.into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(work::INSTANCE, self.name.clone());
        headers.insert(work::RECEIVED, received.into());
        match lookup {
            Lookup::Hit => drop(headers.insert(work::CACHE, HeaderValue::from_static("hit"))),
            Lookup::Miss => drop(headers.insert(work::CACHE, HeaderValue::from_static("miss"))),
            Lookup::Unneeded => {}
        }
        reply
    }

    fn text(&self, status: StatusCode, line: String) -> Reply {
        let mut reply = Response::new(Either::Left(Full::from(line)));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(work::INSTANCE, self.name.clone());
        reply
    }
}
