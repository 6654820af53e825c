//! Which connections are used again, and what is said of those that failed.

use http_body_util::BodyExt;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};

use super::*;

/// An instance that a test is, and what the relay has of it.
struct Site {
    listener: TcpListener,
    target: Target,
    upstreams: Rc<Upstreams>,
}

type Answered = Result<(Response<InstanceBody>, Lease), SendError>;

impl Site {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let upstreams = Upstreams::new(UpstreamLimits::default(), RelayMetrics::register(&Registry::new()));
        Self { listener, target: address.parse().expect("an address"), upstreams }
    }

    /// Sends a request in a task.
    fn send(&self, request: Request<ClientBody>, reuse: Reuse) -> JoinHandle<Answered> {
        let (upstreams, target) = (self.upstreams.clone(), self.target.clone());
        spawn_local(async move { upstreams.send(&target, request, reuse).await })
    }

    /// Until the kept connection has something to be read.
    async fn until_noticed(&self) {
        let kept = self.upstreams.kept_for(&self.target);
        while kept.0.borrow().iter().all(|connection| connection.io().is_quiet()) {
            yield_now().await;
        }
    }

    async fn accept(&self) -> TcpStream {
        self.listener.accept().await.expect("the relay connects").0
    }

    /// A request and its response, whole.
    async fn pass(&self, instance: &mut TcpStream, response: &str) -> String {
        let sent = self.send(get(), Reuse::Any);
        assert!(read_head(instance).await.starts_with("GET /a?b HTTP/1.1\r\n"));
        instance.write_all(response.as_bytes()).await.expect("open");
        finish(sent.await.expect("no panic")).await
    }
}

fn get() -> Request<ClientBody> {
    let mut request = Request::new(ClientBody::empty());
    *request.uri_mut() = "/a?b".parse().expect("a target");
    request
}

async fn read_head(instance: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(instance.read_u8().await.expect("more of the head"));
    }
    String::from_utf8(head).expect("text")
}

/// Reads a response to its end and gives its connection back.
async fn finish(answered: Answered) -> String {
    let (response, lease) = answered.expect("a response");
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        text.extend(frame.expect("a whole body").into_data().unwrap_or_default());
    }
    lease.give_back(body.into_reusable());
    String::from_utf8(text).expect("text")
}

async fn locally(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    locally(async {
        let site = Site::start().await;
        let first = site.send(get(), Reuse::Any);
        let mut instance = site.accept().await;
        read_head(&mut instance).await;
        instance.write_all(OK.as_bytes()).await.expect("open");
        assert_eq!(finish(first.await.expect("no panic")).await, "ok");
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        for response in [OK, chunked, OK] {
            assert_eq!(site.pass(&mut instance, response).await, "ok");
        }
    })
    .await;
}

/// Whatever an idle connection has to say, it is no response to the next request.
#[tokio::test]
async fn a_connection_that_is_out_of_step_is_not_used_again() {
    locally(async {
        for (case, response, afterwards) in [
            ("closed", OK, None),
            ("late bytes", OK, Some("HTTP/1.1 408 Request Timeout\r\n\r\n")),
            ("bytes after the body", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok!", Some("")),
            (
                "told to close",
                "HTTP/1.1 200 OK\r\nconnection: a, Close\r\ncontent-length: 2\r\n\r\nok",
                Some(""),
            ),
            ("HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", Some("")),
        ] {
            let site = Site::start().await;
            let first = site.send(get(), Reuse::Any);
            let mut instance = site.accept().await;
            read_head(&mut instance).await;
            instance.write_all(response.as_bytes()).await.expect("open");
            assert_eq!(finish(first.await.expect("no panic")).await, "ok", "{case}");
            let instance = match afterwards {
                Some(bytes) => {
                    // The relay may have closed it.
                    let _heard = instance.write_all(bytes.as_bytes()).await;
                    Some(instance)
                }
                None => None,
            };
            if afterwards != Some("") {
                site.until_noticed().await;
            }
            let second = site.send(get(), Reuse::Any);
            let mut fresh = site.accept().await;
            read_head(&mut fresh).await;
            fresh.write_all(OK.as_bytes()).await.expect("open");
            assert_eq!(finish(second.await.expect("no panic")).await, "ok", "{case}");
            drop(instance);
        }
    })
    .await;
}

#[tokio::test]
async fn who_answers_nothing_or_garbage_is_told_apart() {
    locally(async {
        for (answer, failure) in [
            ("", Failure::ClosedEarly),
            ("HTTP/1.1 2", Failure::ClosedEarly),
            ("220 mail\r\n", Failure::InvalidResponse),
        ] {
            let site = Site::start().await;
            let sent = site.send(get(), Reuse::Any);
            let mut instance = site.accept().await;
            read_head(&mut instance).await;
            instance.write_all(answer.as_bytes()).await.expect("open");
            drop(instance);
            let Err(error) = sent.await.expect("no panic") else { panic!("there is no response") };
            assert_eq!(
                (error.failure, error.unsent.is_none(), error.stale),
                (failure, true, false),
                "{answer:?}"
            );
        }
    })
    .await;
}
