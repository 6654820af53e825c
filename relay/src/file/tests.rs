//! Bodies from files: what arrives is what the file holds, or it is seen that it is not.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::future::poll_fn;
use std::io::{IoSlice, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Buf;
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::body::{BodyError, End, Observer};
use crate::splice::{Outlet, write};

const MIB: u64 = 1024 * 1024;

/// Written long ago, so that any later write shows.
fn file_with(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(content).expect("room");
    file.as_file().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).expect("its time is set");
    file
}

fn open(file: &NamedTempFile) -> OpenFile {
    let file = file.reopen().expect("it is there");
    let metadata = file.metadata().expect("metadata");
    OpenFile::new(file, &metadata).expect("times")
}

/// What an observer was told.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Vec<String>>>);

impl Told {
    fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

impl Observer for Told {
    fn first_byte(&mut self) {
        self.0.borrow_mut().push("first byte".into());
    }
    fn ended(&mut self, end: End, bytes: u64) {
        self.0.borrow_mut().push(format!("{end:?} {bytes}"));
    }
}

fn body(file: &NamedTempFile, segments: Vec<Segment>) -> (FileBody<Told>, Told) {
    let told = Told::default();
    (FileBody::new(open(file), segments, Duration::from_secs(60), told.clone()), told)
}

fn of_file(from: u64, length: u64) -> Segment {
    Segment::File { from, length }
}

fn content(length: u64) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

/// The next piece, without a way past the library.
async fn next(body: &mut FileBody<Told>) -> Option<Result<Vec<u8>, BodyError>> {
    let frame = poll_fn(|cx| body.poll_frame(cx, None)).await?;
    Some(frame.map(|frame| {
        let mut chunk = frame.into_data().expect("data");
        chunk.copy_to_bytes(chunk.remaining()).to_vec()
    }))
}

async fn rest(body: &mut FileBody<Told>) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(piece) = next(body).await {
        all.extend(piece?);
    }
    Ok(all)
}

#[tokio::test]
async fn pieces_of_a_file_and_what_stands_between_them_arrive_in_order() {
    let file = file_with(&content(MIB));
    let between = || Segment::Bytes("--".into());
    let segments =
        vec![between(), of_file(MIB - 3, 3), between(), of_file(5, 0), of_file(10, 400_000), between()];
    let (mut body, told) = body(&file, segments);
    assert_eq!(body.size_hint().exact(), Some(400_009));
    let all = content(MIB);
    let wanted = [b"--", &all[all.len() - 3..], b"--", &all[10..400_010], b"--"].concat();
    assert!(rest(&mut body).await.expect("it is all there") == wanted);
    assert!(body.is_end_stream());
    assert_eq!(told.all(), ["first byte", "Complete 400009"]);
}

#[tokio::test]
async fn nothing_is_over_at_once() {
    let file = file_with(b"");
    for segments in [vec![], vec![of_file(0, 0)]] {
        let (mut body, told) = body(&file, segments);
        assert!(body.is_end_stream());
        assert_eq!(told.all(), ["Complete 0"]);
        assert!(next(&mut body).await.is_none());
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_is_seen_to_be_cut_short() {
    let truncated = |file: File| file.set_len(MIB).expect("truncated");
    let truncated_far_ahead = |file: File| file.set_len(3 * MIB).expect("truncated");
    let replaced = |mut file: File| {
        file.set_len(0).expect("truncated");
        file.write_all(&vec![7; 4 * MIB as usize]).expect("written");
    };
    let written_over = |mut file: File| file.write_all(b"new").expect("written");
    for (what, change) in [
        ("truncated", &truncated as &dyn Fn(File)),
        ("truncated far ahead", &truncated_far_ahead),
        ("replaced", &replaced),
        ("written over", &written_over),
    ] {
        let file = file_with(&content(4 * MIB));
        let (mut body, told) = body(&file, vec![of_file(0, 4 * MIB)]);
        let first = next(&mut body).await.expect("there is more").expect("it is as it was");
        change(file.reopen().expect("it is there"));
        let end = rest(&mut body).await;
        assert!(matches!(end, Err(BodyError::File(_))), "{what}: {:?}", end.map(|all| all.len()));
        assert!(next(&mut body).await.is_none(), "{what}");
        assert_eq!(told.all(), ["first byte".to_owned(), format!("CutShort {}", first.len())], "{what}");
        assert_ne!(body.size_hint().exact(), Some(0), "{what}: as a library sees it");
    }
}

#[tokio::test]
async fn what_is_appended_or_renamed_away_does_no_harm() {
    let file = file_with(&content(MIB));
    let (mut body, _) = body(&file, vec![of_file(0, MIB)]);
    let mut all = next(&mut body).await.expect("there is more").expect("it is as it was");
    let mut appending = OpenOptions::new().append(true).open(file.path()).expect("it is there");
    appending.write_all(b"more").expect("written");
    all.extend(next(&mut body).await.expect("there is more").expect("it was only appended to"));
    fs::remove_file(file.path()).expect("removed");
    all.extend(rest(&mut body).await.expect("it is open"));
    assert!(all == content(MIB));
}

#[tokio::test]
async fn a_client_that_leaves_is_told_of_and_frees_everything() {
    let file = file_with(&content(MIB));
    let (mut body, told) = body(&file, vec![of_file(0, MIB)]);
    let first = next(&mut body).await.expect("there is more").expect("it is as it was");
    drop(body);
    assert_eq!(told.all(), ["first byte".to_owned(), format!("ClientGone {}", first.len())]);
}

/// Both ends of a connection.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("it listens"), far.expect("connected").0)
}

#[tokio::test]
async fn with_an_outlet_bytes_go_to_the_socket_and_through_no_buffer() {
    let file = file_with(&content(6 * MIB));
    let length = 6 * MIB - 100;
    let (mut body, told) = body(&file, vec![of_file(100, length)]);
    let ((near, mut far), outlet) = (connected().await, Arc::new(Outlet::default()));
    let sending = async {
        while let Some(frame) = poll_fn(|cx| body.poll_frame(cx, Some(&outlet))).await {
            let mut chunk = frame.expect("it is all there").into_data().expect("data");
            while chunk.has_remaining() {
                near.writable().await.expect("it is open");
                match write(&near, &outlet, &[IoSlice::new(chunk.chunk())]) {
                    Ok(n) => chunk.advance(n),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
        }
    };
    let mut arrived = vec![0; usize::try_from(length).expect("a length")];
    let (_, read) = tokio::join!(sending, far.read_exact(&mut arrived));
    read.expect("all of it");
    assert!(arrived == content(6 * MIB)[100..]);
    outlet.check().expect("none of it went astray");
    assert_eq!(told.all(), ["first byte".to_owned(), format!("Complete {length}")]);
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_nobody_but_who_waits_for_it() {
    let (hanging, hangs) = std::sync::mpsc::channel::<()>();
    let late = at_disk(Duration::from_millis(10), move || hangs.recv()).await;
    assert_eq!(late.expect_err("it hangs").kind(), io::ErrorKind::TimedOut);
    let file = file_with(&content(MIB));
    let (mut body, _) = body(&file, vec![of_file(0, MIB)]);
    assert!(rest(&mut body).await.expect("another disk works") == content(MIB));
    drop(hanging);
}
