//! A request on its way to an instance.

use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{future::poll_fn, mem};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::Body;
use tokio::task::{AbortHandle, spawn_local};

use super::request::{Coding, encode, encode_last_chunk};
use crate::body::BodyError;
use crate::instance_io::InstanceIo;
use crate::upload::ClientBody;

/// First size of the buffer, in bytes: a head, and afterwards the response's, fit as a rule.
const BUFFER: usize = 8 * 1024;

/// What follows a chunk, and what does so if it is the last with anything in it.
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";

/// A request, what of it is to be written next (`front`, `data`, `back`, in this order), and how the rest is coded.
pub(super) struct Sending {
    request: Request<ClientBody>,
    coding: Coding,
    /// The head, or the size of a chunk, or the end.
    front: Vec<u8>,
    /// Bytes of `front` that are written.
    written: usize,
    data: Bytes,
    back: &'static [u8],
    /// The whole body was taken from the client.
    taken: bool,
    /// The instance's host has some of it.
    seen: bool,
}

impl Sending {
    pub(super) fn new(request: Request<ClientBody>) -> Self {
        let mut front = Vec::with_capacity(BUFFER);
        let coding = encode(&request, &mut front);
        let taken = coding == Coding::None;
        Self { request, coding, front, written: 0, data: Bytes::new(), back: b"", taken, seen: false }
    }

    pub(super) fn request(&self) -> &Request<ClientBody> {
        &self.request
    }

    /// All of it is written.
    pub(super) fn is_over(&self) -> bool {
        self.taken && self.is_written()
    }

    /// Of all that was taken, nothing is left to be written.
    fn is_written(&self) -> bool {
        self.written == self.front.len() && self.data.is_empty() && self.back.is_empty()
    }

    /// The buffer, to be used for something else once [it is over](Self::is_over).
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = mem::take(&mut self.front);
        self.written = 0;
        buffer.clear();
        buffer
    }

    /// The request as it was, if the instance can have seen none of it.
    pub(super) fn into_unsent(self) -> Option<Request<ClientBody>> {
        let untouched = !self.seen && !self.request.body().progress().has_started();
        untouched.then_some(self.request)
    }

    /// Writes as much as there is and the socket takes. Ready once it is over.
    ///
    /// # Errors
    /// The client's body broke off.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, io: &InstanceIo) -> Poll<Result<(), BodyError>> {
        loop {
            if !self.taken && self.data.is_empty() && self.back.is_empty() {
                match self.poll_body(cx) {
                    Poll::Ready(result) => result?,
                    Poll::Pending if self.is_written() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            if self.is_over() {
                return Poll::Ready(Ok(()));
            }
            if !self.is_written() {
                let slices = [&self.front[self.written..], &self.data, self.back].map(IoSlice::new);
                let n = ready!(io.poll_write(cx, &slices));
                self.seen |= io.is_sound();
                self.advance(n);
            }
        }
    }

    fn advance(&mut self, mut n: usize) {
        let of_front = n.min(self.front.len() - self.written);
        self.written += of_front;
        n -= of_front;
        let of_data = n.min(self.data.len());
        self.data.advance(of_data);
        self.back = &self.back[n - of_data..];
        if self.written == self.front.len() {
            self.front.clear();
            self.written = 0;
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let frame = ready!(Pin::new(self.request.body_mut()).poll_frame(cx)).transpose()?;
        Poll::Ready(match frame.map(|frame| frame.into_data().map_err(|other| other.into_trailers())) {
            Some(Ok(data)) => self.push(data),
            Some(Err(trailers)) => self.finish(&trailers.unwrap_or_default()),
            None => self.finish(&HeaderMap::new()),
        })
    }

    fn push(&mut self, data: Bytes) -> Result<(), BodyError> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.coding {
            Coding::None => {}
            Coding::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(BodyError::WrongLength)?;
            }
            Coding::Chunked => {
                self.front.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.back = CHUNK_END;
            }
        }
        self.data = data;
        if self.request.body().is_end_stream() { self.finish(&HeaderMap::new()) } else { Ok(()) }
    }

    /// Nothing more comes of the body.
    fn finish(&mut self, trailers: &HeaderMap) -> Result<(), BodyError> {
        self.taken = true;
        match self.coding {
            Coding::None | Coding::Length(0) => {}
            Coding::Length(_) => return Err(BodyError::WrongLength),
            Coding::Chunked if self.back.is_empty() => {
                encode_last_chunk(self.request.headers(), trailers, &mut self.front);
            }
            Coding::Chunked => self.back = LAST_CHUNK_END,
        }
        Ok(())
    }
}

/// The rest of a request whose response is being passed on already. Dropped, it is given up.
pub(super) struct Rest(AbortHandle);

impl Rest {
    /// In a task, as the one who passes the response on may have to wait for a client that is still sending.
    pub(super) fn start(mut sending: Sending, io: Rc<InstanceIo>) -> Self {
        let rest = async move {
            if poll_fn(|cx| sending.poll(cx, &io)).await.is_err() {
                io.abandon();
            }
        };
        Self(spawn_local(rest).abort_handle())
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.abort();
    }
}
