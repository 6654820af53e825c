//! The services of gRPC: a task per stream, which listens to its client and to the table.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use prost::Message;
use sluice_process::Watch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::server::{Grpc, StreamingService};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use crate::xds::conversation::{Conversation, Heard};
use crate::xds::delta::Delta;
use crate::xds::metrics::XdsMetrics;
use crate::xds::rest;
use crate::xds::sotw::StateOfTheWorld;
use crate::xds::table::Table;

/// Streams at once: a fleet of Envoys with a few clusters each.
const MOST_STREAMS: usize = 8192;
/// The first request of an Envoy names all of its extensions, in some 120 KiB; it is read and forgotten.
const LARGEST_REQUEST: usize = 1024 * 1024;
/// For the last word to a client that takes its time.
const FAREWELL: Duration = Duration::from_secs(1);

/// What all streams have in common.
pub struct Shared {
    pub(super) tables: watch::Receiver<Arc<Table>>,
    metrics: XdsMetrics,
    places: Arc<Semaphore>,
    stop: Watch,
}

impl Shared {
    /// Streams end when `stop` is requested or a successor has taken over.
    pub fn new(tables: watch::Receiver<Arc<Table>>, metrics: XdsMetrics, stop: Watch) -> Arc<Self> {
        Arc::new(Self { tables, metrics, places: Arc::new(Semaphore::new(MOST_STREAMS)), stop })
    }
}

/// Everything that is answered.
pub fn router(shared: Arc<Shared>) -> Router {
    let endpoints = "/envoy.service.endpoint.v3.EndpointDiscoveryService";
    let aggregated = "/envoy.service.discovery.v3.AggregatedDiscoveryService";
    Router::new()
        .route(&format!("{endpoints}/StreamEndpoints"), post(state_of_the_world))
        .route(&format!("{endpoints}/DeltaEndpoints"), post(delta))
        .route(&format!("{aggregated}/StreamAggregatedResources"), post(state_of_the_world))
        .route(&format!("{aggregated}/DeltaAggregatedResources"), post(delta))
        .route("/v3/discovery:endpoints", post(rest::fetch))
        .with_state(shared)
}

async fn state_of_the_world(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    serve::<StateOfTheWorld>("sotw", shared, request).await
}

async fn delta(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    serve::<Delta>("delta", shared, request).await
}

async fn serve<C: Conversation>(protocol: &'static str, shared: Arc<Shared>, request: Request) -> Response
where
    C::Request: Message + Default,
    C::Response: Message,
{
    let codec = ProstCodec::<C::Response, C::Request>::default();
    let mut grpc = Grpc::new(codec).apply_max_message_size_config(Some(LARGEST_REQUEST), None);
    let talk = Talk { protocol, shared, conversation: C::default() };
    grpc.streaming(talk, request).await.map(Body::new)
}

/// One stream.
struct Talk<C> {
    protocol: &'static str,
    shared: Arc<Shared>,
    conversation: C,
}

type Told<T> = Result<T, Status>;

impl<C: Conversation> StreamingService<C::Request> for Talk<C> {
    type Response = C::Response;
    type ResponseStream = ReceiverStream<Told<C::Response>>;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Streaming<C::Request>>) -> Self::Future {
        let place = self.shared.places.clone().try_acquire_owned();
        let conversation = std::mem::take(&mut self.conversation);
        let talk = Talk { protocol: self.protocol, shared: self.shared.clone(), conversation };
        Box::pin(async move {
            let place = place.map_err(|_| Status::resource_exhausted("too many streams"))?;
            // One response is under way at a time, and is the only one here.
            let (tell, told) = mpsc::channel(1);
            tokio::task::spawn(talk.run(request.into_inner(), tell, place));
            Ok(tonic::Response::new(ReceiverStream::new(told)))
        })
    }
}

impl<C: Conversation> Talk<C> {
    async fn run(
        mut self,
        requests: Streaming<C::Request>,
        tell: mpsc::Sender<Told<C::Response>>,
        _place: OwnedSemaphorePermit,
    ) {
        let open = self.shared.metrics.streams.with_label_values(&[self.protocol]);
        open.inc();
        if let Err(status) = self.converse(requests, &tell).await
            && timeout(FAREWELL, tell.send(Err(status))).await.is_err()
        {
            tracing::debug!(protocol = self.protocol, "an Envoy took no last word");
        }
        open.dec();
    }

    /// Until the client leaves.
    ///
    /// # Errors
    /// Why the stream is ended by this side.
    async fn converse(
        &mut self,
        mut requests: Streaming<C::Request>,
        tell: &mpsc::Sender<Told<C::Response>>,
    ) -> Result<(), Status> {
        let (mut tables, stop) = (self.shared.tables.clone(), self.shared.stop.clone());
        loop {
            tokio::select! {
                request = requests.message() => match request? {
                    Some(request) => self.hear(request)?,
                    None => return Ok(()),
                },
                changed = tables.changed() => changed.map_err(|_| stopping())?,
                () = tell.closed() => return Ok(()),
                () = stop.leaving() => return Err(stopping()),
            }
            let said = self.conversation.say(&tables.borrow_and_update());
            if let Some(said) = said {
                self.shared.metrics.pushes.with_label_values(&[self.protocol]).inc();
                // Full only if the client answers before it is told.
                tell.try_send(Ok(said)).map_err(|_| Status::failed_precondition("an answer to nothing"))?;
            }
        }
    }

    fn hear(&mut self, request: C::Request) -> Result<(), Status> {
        let heard = self.conversation.hear(request);
        let answer = match heard.map_err(|excess| Status::invalid_argument(excess.to_string()))? {
            Heard::Ack => "ack",
            Heard::Nack(reason) => {
                tracing::warn!(protocol = self.protocol, "an Envoy can not use its endpoints: {reason}");
                "nack"
            }
            Heard::Subscription | Heard::Nothing => return Ok(()),
        };
        self.shared.metrics.answers.with_label_values(&[self.protocol, answer]).inc();
        Ok(())
    }
}

fn stopping() -> Status {
    Status::unavailable("this balancer stops: ask again")
}
