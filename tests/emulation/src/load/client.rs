//! The client side of one request: connection, exchange, reading at the client's rate.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::outcome::{Failure, Outcome};
use super::{Arrival, RunOptions, slow};
use crate::pattern::{MAX_CHUNK, PatternBody};

/// An idle connection older than this is not used again: servers close theirs at 5 s and more, and
/// a request sent into a closing connection would look like a fault of the target.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// How long a connection may take after a response to be ready for the next request.
const MAX_SETTLE: Duration = Duration::from_secs(1);

/// What a slow client buffers, in bytes: hyper's smallest.
const SLOW_BUFFER: usize = 8 * 1024;

type Sender = SendRequest<PatternBody>;

/// All connections of one run to its target.
pub(super) struct Client {
    target: SocketAddr,
    host: HeaderValue,
    options: RunOptions,
    /// Last in, first out, so that surplus connections grow old and are dropped.
    idle: Mutex<Vec<(Sender, Instant)>>,
}

/// What was seen of a response so far; kept when the request times out.
#[derive(Default)]
struct Seen {
    ttfb: Option<Duration>,
    bytes: u64,
}

impl Client {
    /// A `host` that can not be a header value falls back to the target's address.
    pub(super) fn new(target: SocketAddr, options: RunOptions) -> Self {
        let named = options.host.as_deref().and_then(|h| HeaderValue::from_str(h).ok());
        let host = named.unwrap_or_else(|| {
            HeaderValue::from_str(&target.to_string()).expect("an address is visible ASCII")
        });
        Self { target, host, options, idle: Mutex::default() }
    }

    /// Sends one request that was due at `due`, and reads the whole answer.
    pub(super) async fn exchange(&self, arrival: &Arrival, due: Instant) -> Outcome {
        let mut seen = Seen::default();
        let deadline = due + self.options.timeout;
        let fetched = timeout_at(deadline, self.fetch(arrival, due, &mut seen)).await;
        let total = due.elapsed();
        let (result, reusable) = match fetched {
            Ok(Ok((result, sender))) => (result, sender),
            Ok(Err(failure)) => (Err(failure), None),
            Err(_) => (Err(Failure::Timeout), None),
        };
        if let Some(sender) = reusable {
            self.keep(sender).await;
        }
        Outcome { class: arrival.class, at: arrival.at, ttfb: seen.ttfb, total, bytes: seen.bytes, result }
    }

    /// The outer error: no complete response. The sender: if its connection may be used again.
    async fn fetch(
        &self,
        arrival: &Arrival,
        due: Instant,
        seen: &mut Seen,
    ) -> Result<(Result<(), Failure>, Option<Sender>), Failure> {
        let request = self.request(arrival);
        let (response, sender) = match arrival.client_rate {
            None => self.send(request).await?,
            Some(_) => send_on(self.connect_slow().await?, request).await?,
        };
        seen.ttfb = Some(due.elapsed());
        let status = response.status().as_u16();
        read_whole(response, arrival.client_rate, seen).await?;
        let result = if status < 400 { Ok(()) } else { Err(Failure::Status(status)) };
        Ok((result, arrival.client_rate.is_none().then_some(sender)))
    }

    fn request(&self, arrival: &Arrival) -> Request<PatternBody> {
        let mut request = Request::new(PatternBody::new(arrival.request_bytes, MAX_CHUNK));
        *request.method_mut() = arrival.method.clone();
        // Only an unchecked workload has a path that is none; it asks for the root instead.
        *request.uri_mut() = Uri::try_from(&arrival.path).unwrap_or_default();
        request.headers_mut().insert(HOST, self.host.clone());
        arrival.cost.write_to(request.headers_mut());
        request
    }

    /// Sends on an idle connection, or on a new one if none is left.
    ///
    /// A request is only sent again if hyper gives it back, so that none of it was written. One
    /// that was written and not answered counts as reset even on a used connection: to retry it,
    /// as browsers do, would hide a target that drops requests.
    async fn send(&self, mut request: Request<PatternBody>) -> Result<(Response<Incoming>, Sender), Failure> {
        while let Some(mut sender) = self.take_idle() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::before_head(refused.error())),
                },
            }
        }
        send_on(self.connect().await?, request).await
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((sender, since)) = idle.pop() {
            if since.elapsed() > MAX_IDLE {
                idle.clear(); // those below are older still
            } else if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    async fn keep(&self, mut sender: Sender) {
        // Not ready: the server said `Connection: close`, or has not read the request to its end.
        if let Ok(Ok(())) = timeout(MAX_SETTLE, sender.ready()).await {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((sender, Instant::now()));
        }
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let stream = connected(TcpStream::connect(self.target).await)?;
        start(stream, &http1::Builder::new()).await
    }

    async fn connect_slow(&self) -> Result<Sender, Failure> {
        let stream = connected(slow::connect(self.target, &self.options).await)?;
        start(stream, http1::Builder::new().read_buf_exact_size(Some(SLOW_BUFFER))).await
    }
}

fn connected(stream: io::Result<TcpStream>) -> Result<TcpStream, Failure> {
    let stream = stream.map_err(|_| Failure::Connect)?;
    drop(stream.set_nodelay(true)); // failing costs only time
    Ok(stream)
}

/// Starts the task that drives the connection; it ends when sender and response are dropped.
async fn start(stream: TcpStream, builder: &http1::Builder) -> Result<Sender, Failure> {
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|_| Failure::Connect)?;
    tokio::spawn(async move { drop(connection.await) }); // the request is told of its error
    Ok(sender)
}

async fn send_on(
    mut sender: Sender,
    request: Request<PatternBody>,
) -> Result<(Response<Incoming>, Sender), Failure> {
    match sender.try_send_request(request).await {
        Ok(response) => Ok((response, sender)),
        Err(refused) => Err(Failure::before_head(refused.error())),
    }
}

/// Reads to the end, at most `rate` bytes per second.
async fn read_whole(response: Response<Incoming>, rate: Option<u64>, seen: &mut Seen) -> Result<(), Failure> {
    let mut body = response.into_body();
    let start = Instant::now();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Failure::within_body(&e))?;
        seen.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if let Some(rate) = rate {
            sleep_until(start + slow::time_to_read(seen.bytes, rate)).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::{Instance, InstanceConfig};
    use crate::load::{ClassLoad, Schedule, Workload};

    fn arrival(change: impl FnOnce(&mut ClassLoad)) -> Arrival {
        let mut class = ClassLoad::new("page", 1000.0);
        change(&mut class);
        let duration = Duration::from_secs(1);
        let workload = Workload { name: "test".into(), seed: 1, duration, classes: vec![class] };
        Schedule::new(&workload).next().expect("1000 arrivals are expected")
    }

    async fn instance() -> Instance {
        Instance::start(InstanceConfig::default()).await.expect("a free port")
    }

    #[tokio::test]
    async fn latency_counts_from_when_the_request_was_due() {
        let instance = instance().await;
        let client = Client::new(instance.addr(), RunOptions::default());
        let late = Duration::from_secs(5);
        let due = Instant::now() - late; // as if the generator had been stalled for 5 s
        let outcome = client.exchange(&arrival(|_| {}), due).await;
        assert_eq!(outcome.result, Ok(()));
        assert!(outcome.total >= late && outcome.ttfb >= Some(late), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_kept_connection_is_used_again_and_a_slow_client_has_its_own() {
        let instance = instance().await;
        let client = Client::new(instance.addr(), RunOptions::default());
        let idle = || client.idle.lock().expect("no panic in another thread").len();
        for (rate, kept) in [(Some(1 << 20), 0), (None, 1), (None, 1), (Some(1 << 20), 1)] {
            let arrival = arrival(|class| class.client_rate = rate);
            assert_eq!(client.exchange(&arrival, Instant::now()).await.result, Ok(()));
            assert_eq!(idle(), kept, "after a client of rate {rate:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_client_takes_its_time() {
        let instance = instance().await;
        let client = Client::new(instance.addr(), RunOptions::default());
        let arrival = arrival(|class| {
            class.bytes = crate::dist::Dist::Constant(100_000.0);
            class.client_rate = Some(500_000);
        });
        let outcome = client.exchange(&arrival, Instant::now()).await;
        assert_eq!((outcome.result, outcome.bytes), (Ok(()), 100_000));
        assert!(outcome.total >= Duration::from_millis(200), "{:?}", outcome.total);
    }
}
