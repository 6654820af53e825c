//! What comes out is what went in, whatever it is and however it comes.

use std::{
    io::Write,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use sluice_relay::{Chunk, body::BodyError};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use super::*;

type Piece = Result<Frame<Chunk>, BodyError>;

/// A body that a test feeds; dropped with its mark.
struct Fed {
    pieces: UnboundedReceiver<Piece>,
    length: Option<u64>,
    _mark: Rc<()>,
}

impl Body for Fed {
    type Data = Chunk;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.pieces.poll_recv(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn compressor(threads: u16) -> Compressor {
    let config =
        CompressConfig { encodings: Encoding::ALL.to_vec(), types: default_types(), min_size: 1024, threads };
    let started = Compressor::start(&config, &Registry::new()).expect("threads");
    started.expect("there are codings")
}

/// A body to be compressed, how to feed it, and the mark that tells when its source is dropped.
type Feeding = (Compressing<Fed>, UnboundedSender<Piece>, Rc<()>);

fn body(encoding: Encoding, length: Option<u64>) -> Feeding {
    body_of(&compressor(1), encoding, length)
}

fn body_of(compressor: &Compressor, encoding: Encoding, length: Option<u64>) -> Feeding {
    let (feed, pieces) = unbounded_channel();
    let mark = Rc::new(());
    let job = compressor.0.pool.admit(encoding).expect("an idle pool");
    let source = Fed { pieces, length, _mark: mark.clone() };
    (Compressing::new(source, job, compressor.clone()), feed, mark)
}

fn data(bytes: impl Into<Bytes>) -> Piece {
    Ok(Frame::data(Chunk::from(bytes.into())))
}

fn bytes_of(frame: Frame<Chunk>) -> Bytes {
    let mut data = frame.into_data().expect("data");
    data.copy_to_bytes(data.remaining())
}

/// Decodes as far as it can.
enum Decoder {
    Gzip(Box<flate2::write::GzDecoder<Vec<u8>>>),
    Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
}

impl Decoder {
    fn of(encoding: Encoding) -> Self {
        let out = Vec::new();
        match encoding {
            Encoding::Gzip => Self::Gzip(Box::new(flate2::write::GzDecoder::new(out))),
            Encoding::Brotli => Self::Brotli(Box::new(brotli::DecompressorWriter::new(out, 1 << 20))),
            Encoding::Zstd => {
                Self::Zstd(Box::new(zstd::stream::write::Decoder::new(out).expect("a decoder")))
            }
        }
    }

    /// All that is readable so far.
    fn decode(&mut self, bytes: &[u8]) -> &[u8] {
        let writer: &mut dyn Write = match self {
            Self::Gzip(decoder) => decoder.as_mut(),
            Self::Brotli(decoder) => decoder.as_mut(),
            Self::Zstd(decoder) => decoder.as_mut(),
        };
        writer.write_all(bytes).and_then(|()| writer.flush()).expect("well-formed");
        match self {
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Brotli(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }
}

/// Text of a few words, or noise, or nothing.
fn random_bytes(rng: &mut fastrand::Rng) -> Vec<u8> {
    let most = 1 << rng.u32(0..19);
    let length = rng.usize(..most);
    if rng.u8(..4) == 0 {
        return std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
    }
    let words: Vec<String> = (0..50).map(|_| format!("{:x} ", rng.u64(..))).collect();
    let mut text = String::new();
    while text.len() < length {
        text.push_str(&words[rng.usize(..words.len())]);
    }
    text.into_bytes()
}

#[tokio::test]
async fn what_comes_out_is_what_went_in() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for round in 0..60 {
        let encoding = Encoding::ALL[round % 3];
        let bytes = random_bytes(&mut rng);
        let length = rng.bool().then_some(bytes.len() as u64);
        let (compressing, feed, _mark) = body(encoding, length);
        let pieces = async {
            let mut rest = Bytes::from(bytes.clone());
            while !rest.is_empty() {
                let most = rest.len().min(1 << rng.u32(4..18));
                let piece = rest.split_to(rng.usize(1..=most));
                feed.send(data(piece)).expect("the body is read");
                if rng.bool() {
                    tokio::task::yield_now().await;
                }
            }
            drop(feed);
        };
        let ((), collected) = tokio::join!(pieces, compressing.collect());
        let compressed = collected.expect("no error").to_bytes();
        let mut decoder = Decoder::of(encoding);
        assert!(decoder.decode(&compressed) == bytes, "round {round}: {encoding:?} of {} bytes", bytes.len());
    }
}

#[tokio::test]
async fn a_pause_of_a_stream_is_passed_on() {
    for encoding in Encoding::ALL {
        let (compressing, feed, _mark) = body(encoding, None);
        let mut compressing = pin!(compressing);
        let mut decoder = Decoder::of(encoding);
        let mut sent = Vec::new();
        for part in ["<p>first</p>", "<p>second</p>", &"<p>long</p>".repeat(5000)] {
            sent.extend(part.bytes());
            feed.send(data(part.to_owned())).expect("the body is read");
            let arrives = async {
                while decoder.decode(&[]) != sent {
                    let frame = compressing.frame().await.expect("not the end").expect("no error");
                    decoder.decode(&bytes_of(frame));
                }
            };
            timeout(Duration::from_secs(10), arrives).await.expect("it arrives without anything following");
        }
    }
}

#[tokio::test]
async fn trailers_come_last() {
    let (compressing, feed, _mark) = body(Encoding::Gzip, None);
    let trailers = HeaderMap::from_iter([(header::SERVER, HeaderValue::from_static("zope"))]);
    feed.send(data("text")).expect("the body is read");
    feed.send(Ok(Frame::trailers(trailers.clone()))).expect("the body is read");
    drop(feed);
    let collected = compressing.collect().await.expect("no error");
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(Decoder::of(Encoding::Gzip).decode(&collected.to_bytes()), b"text");
}

#[tokio::test]
async fn what_came_before_a_break_is_passed_on() {
    for encoding in Encoding::ALL {
        let (compressing, feed, _mark) = body(encoding, Some(1_000_000));
        feed.send(data("the first of a million")).expect("the body is read");
        feed.send(Err(BodyError::Stalled(Duration::from_secs(1)))).expect("the body is read");
        let mut compressing = pin!(compressing);
        let mut decoder = Decoder::of(encoding);
        let error = loop {
            match compressing.frame().await.expect("not a regular end") {
                Ok(frame) => decoder.decode(&bytes_of(frame)),
                Err(error) => break error,
            };
        };
        assert!(matches!(error, BodyError::Stalled(_)), "{error}");
        assert_eq!(decoder.decode(&[]), b"the first of a million");
    }
}

#[tokio::test]
async fn the_instance_is_done_before_anything_is_compressed() {
    // No thread ever takes a step.
    let stuck = Compressor(Arc::new(Inner {
        pool: Pool::stuck().into(),
        config: compressor(1).0.config.clone(),
        metrics: CompressMetrics::register(&Registry::new()),
    }));
    let (feed, pieces) = unbounded_channel();
    let mark = Rc::new(());
    let source = Fed { pieces, length: Some(400_000), _mark: mark.clone() };
    let job = stuck.0.pool.admit(Encoding::Brotli).expect("room");
    let mut compressing = pin!(Compressing::new(source, job, stuck));
    for _ in 0..4 {
        feed.send(data(vec![b'x'; 100_000])).expect("the body is read");
    }
    drop(feed);
    let mut context = Context::from_waker(Waker::noop());
    assert!(compressing.as_mut().poll_frame(&mut context).is_pending());
    assert_eq!(Rc::strong_count(&mark), 1, "all was read, and the source is gone");
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_source_and_the_place() {
    let compressor = compressor(1);
    let (compressing, feed, mark) = body_of(&compressor, Encoding::Gzip, None);
    {
        let mut compressing = pin!(compressing);
        feed.send(data("text")).expect("the body is read");
        compressing.frame().await.expect("not the end").expect("no error");
    }
    assert_eq!(Rc::strong_count(&mark), 1);
    // The thread does one step after the other: once this one is done, so is what was before it.
    let job = compressor.0.pool.admit(Encoding::Gzip).expect("room");
    let step = compressor.0.pool.submit(job, Vec::new(), pool::Then::Finish);
    step.await.expect("a thread").expect("no error");
    assert_eq!(compressor.0.pool.jobs(), 0);
}

#[tokio::test]
async fn without_a_thread_to_spare_responses_pass_as_they_are() {
    let none = compressor(0);
    let request = Request::builder().header("accept-encoding", "gzip").body(()).expect("valid");
    let asked = none.ask(&request.into_parts().0);
    let response = Response::builder().header("content-type", "text/html").header("etag", "\"a\"");
    let response = response.body(ReplyBody::<()>::text("x".repeat(5000))).expect("valid");
    let (head, body) = asked.apply(response).into_parts();
    assert_eq!(head.headers["vary"], "Accept-Encoding");
    assert_eq!(head.headers["etag"], "\"a\"");
    assert!(!head.headers.contains_key("content-encoding"));
    let body = body.collect().await.expect("no error").to_bytes();
    assert_eq!(body, "x".repeat(5000));
}
