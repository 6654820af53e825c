//! Why a request was not answered by its instance: whose fault, which status, what to tell.

use std::fmt;

use http::{HeaderValue, Response, StatusCode, header};
use sluice_process::ByteSize;

use crate::body::{Observer, ReplyBody};
use crate::screen::Refusal;

/// Seconds after which a client may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryAfter(pub u8);

impl RetryAfter {
    /// Where nothing better is known.
    pub const SOON: Self = Self(2);
}

/// A reason for a response of the relay's own, or for none. One metric label each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The request cannot be read in one way only, or is not one for a relay.
    BadRequest(Refusal),
    /// The request's body is larger than so many bytes.
    BodyTooLarge(u64),
    /// The client stopped sending in the middle of its request.
    ClientStalled,
    /// The client went away: nobody is left to answer.
    ClientGone,
    /// The client sent less of its request than it must.
    ClientSlow,
    /// No instance is up.
    NoInstance,
    /// The queue for a worker is full.
    QueueFull(RetryAfter),
    /// The request would have waited too long for a worker: it was turned away when it came.
    Overload(RetryAfter),
    /// The request waited too long for a worker.
    QueueTimeout,
    /// This relay is shutting down.
    Stopping,
    /// The instance does not accept connections.
    ConnectFailed,
    /// The instance did not accept a connection in time.
    ConnectTimeout,
    /// The instance closed the connection before it answered.
    ClosedEarly,
    /// What the instance sent is no valid response.
    InvalidResponse,
    /// The instance did not answer in time.
    ResponseTimeout,
    /// This process may not open a connection to it: its limit of open files is reached.
    NoDescriptors,
}

impl Failure {
    /// All of them, for registering their labels.
    pub const ALL: [Self; 16] = [
        Self::BadRequest(Refusal::malformed("")),
        Self::BodyTooLarge(0),
        Self::ClientStalled,
        Self::ClientGone,
        Self::ClientSlow,
        Self::NoInstance,
        Self::QueueFull(RetryAfter::SOON),
        Self::Overload(RetryAfter::SOON),
        Self::QueueTimeout,
        Self::Stopping,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::ClosedEarly,
        Self::InvalidResponse,
        Self::ResponseTimeout,
        Self::NoDescriptors,
    ];

    /// The metric label and log field.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::ClientStalled => "client_stalled",
            Self::ClientGone => "client_gone",
            Self::ClientSlow => "client_slow",
            Self::NoInstance => "no_instance",
            Self::QueueFull(_) => "queue_full",
            Self::Overload(_) => "overload",
            Self::QueueTimeout => "queue_timeout",
            Self::Stopping => "stopping",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::ClosedEarly => "closed_early",
            Self::InvalidResponse => "invalid_response",
            Self::ResponseTimeout => "response_timeout",
            Self::NoDescriptors => "no_descriptors",
        }
    }

    /// Whether the client alone is at fault: no instance, and no Sluice, would do it better.
    pub fn is_clients(self) -> bool {
        use Failure::{BadRequest, BodyTooLarge, ClientGone, ClientSlow, ClientStalled};
        matches!(self, BadRequest(_) | BodyTooLarge(_) | ClientGone | ClientSlow | ClientStalled)
    }

    /// The failure of that [`label`](Self::label).
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.label() == label)
    }

    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(refusal) => refusal.status(),
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            // Never sent to the one that is gone; 408 is what a log shows.
            Self::ClientStalled | Self::ClientSlow | Self::ClientGone => StatusCode::REQUEST_TIMEOUT,
            Self::NoInstance
            | Self::QueueFull(_)
            | Self::Overload(_)
            | Self::QueueTimeout
            | Self::Stopping
            | Self::NoDescriptors => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectFailed | Self::ClosedEarly | Self::InvalidResponse => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Seconds after which a client may try again; only for what passes by itself.
    fn retry_after(self) -> Option<RetryAfter> {
        match self {
            Self::QueueFull(retry) | Self::Overload(retry) => Some(retry),
            Self::NoInstance | Self::QueueTimeout => Some(RetryAfter::SOON),
            Self::Stopping | Self::NoDescriptors => Some(RetryAfter(1)),
            _ => None,
        }
    }

    /// The response that the relay gives in the instance's stead: one line of text.
    pub fn response<O: Observer>(self) -> Response<ReplyBody<O>> {
        let mut response = Response::new(ReplyBody::text(format!("{self}\n")));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(RetryAfter(seconds)) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        if let Self::BadRequest(_) | Self::BodyTooLarge(_) | Self::Stopping = self {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequest(refusal) => return write!(f, "bad request: {refusal}"),
            Self::BodyTooLarge(most) => {
                return write!(f, "the request's body is larger than {}", ByteSize::bytes(*most));
            }
            Self::ClientStalled => "the request did not arrive in time",
            Self::ClientGone => "the client went away",
            Self::ClientSlow => "the request arrived too slowly",
            Self::NoInstance => "no application instance is available",
            Self::QueueFull(_) | Self::Overload(_) => "too many requests are waiting for the application",
            Self::QueueTimeout => "the application was busy for too long",
            Self::Stopping => "this server is shutting down",
            Self::ConnectFailed => "the application does not accept connections",
            Self::ConnectTimeout => "the application did not accept a connection in time",
            Self::ClosedEarly => "the application closed the connection without an answer",
            Self::InvalidResponse => "the application's answer is not valid HTTP",
            Self::ResponseTimeout => "the application did not answer in time",
            Self::NoDescriptors => "this server has too many files and connections open",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_is_502_slow_is_504_none_is_503() {
        for (failure, status) in [
            (Failure::ConnectFailed, 502),
            (Failure::ClosedEarly, 502),
            (Failure::InvalidResponse, 502),
            (Failure::ConnectTimeout, 504),
            (Failure::ResponseTimeout, 504),
            (Failure::NoInstance, 503),
            (Failure::QueueFull(RetryAfter(7)), 503),
            (Failure::Overload(RetryAfter(7)), 503),
            (Failure::QueueTimeout, 503),
        ] {
            let response = failure.response::<()>();
            assert_eq!(response.status(), status, "{failure:?}");
            let retry = response.headers().contains_key(header::RETRY_AFTER);
            assert_eq!(retry, status == 503, "{failure:?}");
        }
    }

    #[test]
    fn labels_are_distinct() {
        let labels: std::collections::HashSet<_> = Failure::ALL.iter().map(|f| f.label()).collect();
        assert_eq!(labels.len(), Failure::ALL.len());
    }
}
