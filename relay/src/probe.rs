//! The question whether an agent runs, and its answer: of the balancer's control plane to the agent's data path, as it is
//! the latter that requests wait for.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use sluice_proto::{Target, headers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::body::{Observer, ReplyBody};
use crate::failure::Failure;
use crate::upstream;

/// RFC 9110, 9.3.7: `OPTIONS *` "applies to the server in general rather than to a specific resource", and is "only useful
/// as a "ping" or "no-op" type of method".
const QUESTION: &[u8] = b"OPTIONS * HTTP/1.1\r\nhost: \r\nx-sluice-probe: alive\r\nconnection: close\r\n\r\n";

/// Whether a process that runs listens at `target`. Whatever it does within that time shows it, be it an error or the end
/// of the connection: one that is stopped does nothing.
///
/// # Errors
/// Why not: no connection, or [`Failure::ResponseTimeout`].
pub async fn ask(target: &Target, within: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + within;
    let connection = upstream::open(target, within).await?;
    timeout_at(deadline, reaction(connection)).await.map_err(|_elapsed| Failure::ResponseTimeout)
}

async fn reaction(mut connection: TcpStream) {
    if connection.write_all(QUESTION).await.is_ok() {
        // A reset says as much as an answer.
        let _some_reaction = connection.read(&mut [0; 512]).await;
    }
}

/// Whether `request` is that question.
pub fn is_question<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.uri() == "*"
        && request.headers().contains_key(headers::PROBE)
}

/// The answer to it: nothing but that there is one.
pub fn answer<O: Observer>() -> Response<ReplyBody<O>> {
    let mut response = Response::new(ReplyBody::text(String::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Long enough for a machine that is busy with other tests.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn listening() -> (TcpListener, Target) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = listener.local_addr().expect("bound").into();
        (listener, target)
    }

    #[tokio::test]
    async fn whatever_is_done_shows_that_somebody_runs() {
        for bytes in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 503 Busy\r\n\r\n", "?", ""] {
            let (listener, target) = listening().await;
            let answering = async {
                let (mut connection, _) = listener.accept().await.expect("a connection");
                let mut asked = vec![0; QUESTION.len()];
                connection.read_exact(&mut asked).await.expect("the question");
                connection.write_all(bytes.as_bytes()).await.expect("it listens");
                asked
            };
            let (asked, found) = tokio::join!(answering, ask(&target, PATIENCE));
            assert_eq!((found, &*asked), (Ok(()), QUESTION), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_alone_does_not() {
        let (_accepts_by_its_kernel_only, target) = listening().await;
        assert_eq!(ask(&target, Duration::from_millis(100)).await, Err(Failure::ResponseTimeout));
    }

    #[tokio::test]
    async fn nor_does_an_address_where_nobody_listens() {
        let (listener, target) = listening().await;
        drop(listener);
        assert_eq!(ask(&target, PATIENCE).await, Err(Failure::ConnectFailed));
    }

    #[test]
    fn only_the_whole_of_it_is_the_question() {
        for (method, target, field, expected) in [
            ("OPTIONS", "*", "x-sluice-probe", true),
            ("GET", "*", "x-sluice-probe", false),
            ("OPTIONS", "/", "x-sluice-probe", false),
            ("OPTIONS", "*", "x-sluice-class", false),
        ] {
            let request = Request::builder().method(method).uri(target).header(field, "").body(());
            assert_eq!(is_question(&request.expect("valid")), expected, "{method} {target} {field}");
        }
    }
}
