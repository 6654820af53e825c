//! Load reports out of band, as Envoy and gRPC ask for them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Request, Response};

use crate::http2::{Http2, request};
use crate::{PATIENCE, soon};

pub const METHOD: &str = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics";

/// A stream of reports.
#[derive(Debug)]
pub struct Subscription {
    stream: RecvStream,
    /// Come, and not yet read.
    buffer: BytesMut,
}

/// What a test looks at of an `OrcaLoadReport`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub cpu_utilization: f64,
    pub application_utilization: f64,
    pub rps_fractional: f64,
    pub named_metrics: BTreeMap<String, f64>,
}

/// A call of `method` with `body`, to be answered.
pub async fn call(connection: &mut Http2, method: &str, body: &[u8]) -> Response<RecvStream> {
    let head = request("POST", method).header("content-type", "application/grpc").header("te", "trailers");
    let head: Request<()> = head.body(()).expect("a valid request");
    let (response, mut upload) = connection.send(head, false).await;
    upload.send_data(Bytes::copy_from_slice(body), true).expect("an open stream");
    soon("a response", response).await.expect("a head")
}

/// The one message of a request: `report_interval`, in milliseconds.
pub fn wanting(interval: Duration) -> Vec<u8> {
    let mut duration = vec![0x08];
    varint(&mut duration, interval.as_secs());
    duration.push(0x10);
    varint(&mut duration, interval.subsec_nanos().into());
    let mut message = vec![0x0a];
    varint(&mut message, duration.len() as u64);
    message.extend(duration);
    [&[0, 0, 0, 0, message.len() as u8], &message[..]].concat()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Subscription {
    /// Asks for a report each `interval`.
    pub async fn open(connection: &mut Http2, interval: Duration) -> Self {
        let response = call(connection, METHOD, &wanting(interval)).await;
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.headers().get("grpc-status"), None, "{response:?}");
        Self { stream: response.into_body(), buffer: BytesMut::new() }
    }

    /// The next report; `None` at the end.
    ///
    /// # Errors
    /// If the stream was cut.
    pub async fn next(&mut self) -> Result<Option<Report>, h2::Error> {
        loop {
            if let Some(message) = self.message() {
                return Ok(Some(Report::read(message)));
            }
            let Some(data) = soon("a report", self.stream.data()).await else { return Ok(None) };
            let data = data?;
            self.stream.flow_control().release_capacity(data.len())?;
            self.buffer.extend(data);
        }
    }

    /// The first report that is as wanted. Figures are smoothed over seconds: it is waited for longer than for an event.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let report = self.next().await.expect("the stream is not cut").expect("a report");
            if wanted(&report) {
                return report;
            }
            assert!(Instant::now() < deadline, "{what}: {report:?}");
        }
    }

    /// How the call ended, once all reports are read.
    ///
    /// # Errors
    /// If the stream was cut.
    pub async fn trailers(&mut self) -> Result<Option<HeaderMap>, h2::Error> {
        soon("trailers", self.stream.trailers()).await
    }

    /// Takes a whole message out of what came.
    fn message(&mut self) -> Option<Bytes> {
        let (prefix, rest) = self.buffer.split_at_checked(5)?;
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        assert_eq!(prefix[0], 0, "not compressed");
        (rest.len() >= length).then(|| {
            self.buffer.advance(5);
            self.buffer.split_to(length).freeze()
        })
    }
}

impl Report {
    /// Reads the wire format; what it can not read is a finding.
    fn read(mut message: Bytes) -> Self {
        let mut report = Self::default();
        while message.has_remaining() {
            match message.get_u8() {
                0x09 => report.cpu_utilization = message.get_f64_le(),
                0x31 => report.rps_fractional = message.get_f64_le(),
                0x49 => report.application_utilization = message.get_f64_le(),
                0x11 | 0x39 => drop(message.get_f64_le()),
                0x42 => {
                    let length = message.get_u8().into();
                    let (name, value) = entry(message.split_to(length));
                    report.named_metrics.insert(name, value);
                }
                tag => panic!("{tag:#x} in a report"),
            }
        }
        report
    }
}

/// Of a map from names to numbers.
fn entry(mut bytes: Bytes) -> (String, f64) {
    assert_eq!(bytes.get_u8(), 0x0a, "a name");
    let length = bytes.get_u8().into();
    let name = String::from_utf8(bytes.split_to(length).to_vec()).expect("UTF-8");
    assert_eq!(bytes.get_u8(), 0x11, "a number");
    (name, bytes.get_f64_le())
}
