//! What happens to one request.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, response};
use hyper::{body::Body, upgrade::OnUpgrade};
use sluice_process::Watch;
use sluice_proto::headers;
use sluice_relay::{
    Client, ClientBody, Failure, Handler, InstanceBody, ReplyBody, SendError, Upstreams, discard,
    head::{Origin, Position, prepare_request, prepare_response, strip_internal},
    is_upgrade,
    metrics::RelayMetrics,
    probe, splice_upgrade,
    upstream::{Lease, Reuse, spare},
};

use super::{
    buffering,
    classes::{Class, ClassTable},
    exchange::Exchange,
};
use crate::{
    files::{Asked, Offload, Reply as FileReply, offload},
    gate::{Permit, Refusal},
    metrics::Outcome,
    orca::{self, stream::LoadStreams},
    shared::Shared,
};

/// What an instance sends besides the name of a file, at most: no framework's placeholder comes near it. One that sends
/// more is sending the file, and its connection is closed.
const PLACEHOLDER_BYTES: u64 = 64 * 1024;

/// It comes with the head, as a rule.
const PLACEHOLDER_PATIENCE: Duration = Duration::from_secs(5);

/// One per data thread.
pub(super) struct AgentHandler {
    shared: Arc<Shared>,
    upstreams: Rc<Upstreams>,
    relay: RelayMetrics,
    classes: ClassTable,
    streams: LoadStreams,
    rng: RefCell<fastrand::Rng>,
}

type Reply = Response<ReplyBody<Exchange>>;

impl AgentHandler {
    pub(super) fn new(
        shared: Arc<Shared>,
        upstreams: Rc<Upstreams>,
        relay: RelayMetrics,
        stop: &Watch,
    ) -> Self {
        let classes = ClassTable::new(shared.clone());
        let streams = LoadStreams::new(shared.clone(), stop.clone());
        Self { shared, upstreams, relay, classes, streams, rng: RefCell::new(fastrand::Rng::new()) }
    }
}

impl Handler for AgentHandler {
    type Observer = Exchange;

    async fn handle(self: Rc<Self>, request: Request<ClientBody>, client: Client) -> Reply {
        // Taken only with `--orca-on-listen`, and for nothing else.
        if request.version() == Version::HTTP_2 {
            return self.streams.answer(request).await;
        }
        // Before anything that could wait, or count it among what is asked of the instance.
        if probe::is_question(&request) {
            return probe::answer();
        }
        let presence = self.shared.activity.arrive();
        let (mut parts, mut body) = request.into_parts();
        let class = self.classes.of(&parts);
        let origin = Origin { peer: client.address.ip(), scheme: client.scheme, arrived: SystemTime::now() };
        // The balancer has said who asks.
        let prepared = prepare_request(&mut parts, &Position::Inner, origin, &mut self.rng.borrow_mut());
        if let Err(problem) = prepared {
            return self.turn_away(&class, Failure::BadRequest(problem));
        }
        if let Err(failure) = body.limit(self.shared.config.limits.client.body) {
            return self.turn_away(&class, failure);
        }
        strip_internal(&mut parts.headers);
        let form = self.shared.compressor.load().as_ref().map(|compressor| compressor.ask(&parts));
        offload::hide_from_instance(&mut parts.headers);
        let asked_of_file = Asked::of(&parts);
        let mut request = Request::from_parts(parts, body);
        if buffering::is_to_be_taken_in(&class, &request) {
            request = match buffering::take_in(&self.shared, request).await {
                Ok(request) => request,
                Err(failure) => return self.turn_away(&class, failure),
            };
        }
        let entered = match self.shared.gate.try_enter() {
            Ok(None) => self.wait(&class, is_safe_to_let_in(&request)).await,
            Ok(Some(permit)) => Ok(permit),
            Err(refusal) => Err(refusal),
        };
        let permit = match entered {
            Ok(permit) => permit,
            Err(refusal) => return self.turn_away(&class, refusal.into()),
        };
        self.shared.metrics.queued.observe(permit.waited().as_secs_f64());
        let url = request.uri().path_and_query().cloned();
        let exchange = Exchange::begin(self.shared.clone(), class, url, permit, presence);
        let reply = self.forward(request, asked_of_file, exchange).await;
        let mut reply = match form {
            Some(form) => form.apply(reply),
            None => reply,
        };
        // Each of these steps has read it.
        buffering::NOT_FOR_CLIENTS.remove_from(reply.headers_mut());
        orca::pass(&self.shared, reply.headers_mut());
        reply
    }
}

impl AgentHandler {
    /// For a worker, of which none is free.
    async fn wait(&self, class: &Class, may_be_let_in: bool) -> Result<Permit, Refusal> {
        let Shared { gate, releases, .. } = &*self.shared;
        gate.enter(releases.granted(&class.name, may_be_let_in, || self.shared.takes_requests())).await
    }

    async fn forward(&self, mut request: Request<ClientBody>, asked: Asked, exchange: Exchange) -> Reply {
        let upgrade = is_upgrade(&request).then(|| hyper::upgrade::on(&mut request));
        let progress = request.body().progress();
        let (response, lease) = match self.send(request).await {
            Ok(answered) => answered,
            Err(error) => return self.give_up(error.failure, Seen::unless(error.unsent.is_some()), exchange),
        };
        let mut exchange = exchange;
        exchange.answered(response.status(), response.body().size_hint().exact());
        let (mut parts, body) = response.into_parts();
        if prepare_response(&mut parts).is_err() {
            return self.give_up(Failure::InvalidResponse, Seen::Yes, exchange);
        }
        if let Some(named) = Offload::take(&mut parts) {
            discard(body, lease, progress, PLACEHOLDER_BYTES, PLACEHOLDER_PATIENCE).await;
            return self.send_file(named, &asked, parts, exchange).await;
        }
        match (parts.status, upgrade) {
            (StatusCode::SWITCHING_PROTOCOLS, Some(client)) => {
                self.tunnel(client, Response::from_parts(parts, body), lease, exchange)
            }
            (StatusCode::SWITCHING_PROTOCOLS, None) => {
                self.give_up(Failure::InvalidResponse, Seen::Yes, exchange)
            }
            _ => {
                let stall = self.upstreams.limits().body_stall;
                let class = exchange.class().clone();
                let body = ReplyBody::relayed(body, lease, progress, stall, exchange);
                let body = buffering::drain(&self.shared, &class, &mut parts, body);
                Response::from_parts(parts, body)
            }
        }
    }

    /// Once, or twice if a kept connection turns out to be at its end and the request may be repeated: servers close
    /// idle connections when they like, and that one did is nobody's failure.
    async fn send(&self, request: Request<ClientBody>) -> Result<(Response<InstanceBody>, Lease), SendError> {
        let instance = &self.shared.config.instance;
        let Some(again) = spare(&request).filter(may_be_repeated) else {
            return self.upstreams.send(instance, request, Reuse::Fresh).await;
        };
        match self.upstreams.send(instance, request, Reuse::Any).await {
            Err(SendError { failure: Failure::ClosedEarly, stale: true, .. }) => {
                self.upstreams.send(instance, again, Reuse::No).await
            }
            result => result,
        }
    }

    /// The file that the instance named, in its stead.
    async fn send_file(
        &self,
        named: Offload,
        asked: &Asked,
        head: response::Parts,
        mut exchange: Exchange,
    ) -> Reply {
        exchange.instance_is_done();
        let files = &self.shared.files;
        let mut response = match files.open(&named).await {
            Ok((file, facts)) => {
                let FileReply { head, segments, .. } =
                    files.reply(head, asked, &facts, &mut self.rng.borrow_mut());
                exchange.sends_file(head.status);
                let patience = self.upstreams.limits().body_stall;
                Response::from_parts(head, ReplyBody::file(file, segments, patience, exchange))
            }
            Err(refusal) => {
                exchange.refused_with(refusal.status());
                refusal.response()
            }
        };
        response.headers_mut().insert(headers::RELEASE, HeaderValue::from_static(headers::FIRST_BYTE));
        response
    }

    fn tunnel(
        &self,
        client: OnUpgrade,
        response: Response<InstanceBody>,
        lease: Lease,
        exchange: Exchange,
    ) -> Reply {
        let idle = self.upstreams.limits().tunnel_idle;
        splice_upgrade(client, lease, idle, exchange, &self.relay);
        response.map(|_empty| ReplyBody::text(String::new()))
    }

    /// The instance was asked, or was to be asked, and there is no response of its own to pass on.
    fn give_up(&self, failure: Failure, seen: Seen, exchange: Exchange) -> Reply {
        exchange.failed(match (seen, failure) {
            (Seen::No, _) => Outcome::Refused,
            (Seen::Yes, failure) if failure.is_clients() => Outcome::ClientGone,
            (Seen::Yes, _) => Outcome::NoAnswer,
        });
        if failure == Failure::ConnectFailed && self.shared.state.is_up() {
            self.shared.connection_refused.notify_one();
        }
        self.answer(failure, seen)
    }

    /// Without having asked the instance.
    fn turn_away(&self, class: &Class, failure: Failure) -> Reply {
        class.metrics.ended(Outcome::Refused);
        self.answer(failure, Seen::No)
    }

    /// Says who speaks, and whether the balancer may send the request elsewhere. What is the client's fault is so
    /// everywhere.
    fn answer(&self, failure: Failure, seen: Seen) -> Reply {
        self.shared.metrics.failed(failure);
        let mut response = failure.response();
        if !failure.is_clients() {
            let word = if seen == Seen::No { headers::REFUSED } else { headers::FAILED };
            response.headers_mut().insert(word, HeaderValue::from_static(failure.label()));
        }
        response
    }
}

/// Whether the instance may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Yes,
    No,
}

impl Seen {
    fn unless(unsent: bool) -> Self {
        if unsent { Self::No } else { Self::Yes }
    }
}

/// Whether it does no harm that it is answered a little earlier or later than those before it.
fn is_safe_to_let_in(request: &Request<ClientBody>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && request.body().is_end_stream()
        && !is_upgrade(request)
}

/// RFC 9110, 9.2.2: a proxy may repeat what is idempotent; without a body there is nothing that is gone already.
fn may_be_repeated(request: &Request<ClientBody>) -> bool {
    request.method().is_idempotent() && !is_upgrade(request)
}
