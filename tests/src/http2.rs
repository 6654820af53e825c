//! An HTTP/2 client that keeps to the rules.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::soon;

/// One connection.
pub struct Http2 {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    pub head: response::Parts,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// `GET path`.
pub fn get(path: &str) -> Request<()> {
    request("GET", path).body(()).expect("a valid request")
}

/// To be completed.
pub fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://site.example{path}"))
}

impl Http2 {
    /// With prior knowledge, in the clear.
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(soon("connect", TcpStream::connect(address)).await.expect("accepted")).await
    }

    pub async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = soon("handshake", h2::client::handshake(io)).await.expect("HTTP/2");
        Self { sender, driver: tokio::spawn(connection) }
    }

    /// Sends a request; the stream is for its body, unless `ended`.
    pub async fn send(&mut self, request: Request<()>, ended: bool) -> (ResponseFuture, SendStream<Bytes>) {
        self.try_send(request, ended).await.expect("the connection takes requests")
    }

    /// # Errors
    /// If the connection takes no more requests.
    pub async fn try_send(
        &mut self,
        request: Request<()>,
        ended: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        std::future::poll_fn(|cx| self.sender.poll_ready(cx)).await?;
        self.sender.send_request(request, ended)
    }

    /// A request without a body and its response.
    pub async fn ask(&mut self, request: Request<()>) -> Answer {
        self.try_ask(request).await.expect("a response")
    }

    /// # Errors
    /// If the stream or the connection ended without a whole response.
    pub async fn try_ask(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let (response, _) = self.try_send(request, true).await?;
        collect(soon("a response", response).await?).await
    }

    /// How the connection ended.
    pub async fn ended(self) -> Result<(), h2::Error> {
        drop(self.sender);
        soon("the connection's end", self.driver).await.expect("no panic")
    }
}

/// Reads a response to its end.
///
/// # Errors
/// If it was cut.
pub async fn collect(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = soon("more of a body", stream.data()).await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend(chunk);
    }
    let trailers = soon("trailers", stream.trailers()).await?;
    Ok(Answer { head, body, trailers })
}
