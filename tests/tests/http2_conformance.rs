//! What RFC 9113 (HTTP/2) and RFC 7541 (HPACK) ask of a server, a case a line, frame by frame: what is right is served,
//! what is wrong ends its stream or its connection with the code that the standard names.

use sluice_tests::conformance::{
    COMPRESSION_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, STREAM_CLOSED,
    Wanted::{ConnectionError, Error, GoesOn, Served, StreamError},
    check,
};
use sluice_tests::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PADDED,
    PING, PRIORITY, PRIORITY_FIELDS, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
    pseudo,
};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Chain, Settings, Site};

const WHOLE: u8 = END_HEADERS | END_STREAM;

fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(fields))
}

/// `POST /` whose body is to come.
fn post(stream: u32) -> Vec<u8> {
    headers(END_HEADERS, stream, &pseudo("POST", "/"))
}

fn post_of(length: &'static str) -> Vec<u8> {
    let fields: Vec<_> = pseudo("POST", "/").into_iter().chain([("content-length", length)]).collect();
    headers(END_HEADERS, 1, &fields)
}

fn get_with(more: &[(&'static str, &'static str)]) -> Vec<u8> {
    let fields: Vec<_> = pseudo("GET", "/").into_iter().chain(more.iter().copied()).collect();
    headers(WHOLE, 1, &fields)
}

/// A GET whose header block ends with these bytes of HPACK.
fn get_and(hpack: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &[&block(&pseudo("GET", "/")), hpack].concat())
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn padded(kind: u8, flags: u8, payload: &[u8], padding: u8) -> Vec<u8> {
    let padded = [&[padding], payload, &vec![0; usize::from(padding)]].concat();
    frame(kind, flags | PADDED, 1, &padded)
}

fn then(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

#[tokio::test]
async fn what_is_right_is_served() {
    let whole = block(&pseudo("GET", "/"));
    let (first, rest) = whole.split_at(10);
    let weight = [&[0, 0, 0, 0, 255], &whole[..]].concat();
    let pieces = [
        frame(HEADERS, END_STREAM, 1, first),
        frame(CONTINUATION, 0, 1, &rest[..5]),
        frame(CONTINUATION, 0, 1, &[]),
        frame(CONTINUATION, END_HEADERS, 1, &rest[5..]),
    ];
    check(vec![
        ("a GET", get(1), Served),
        ("4.2: DATA of 16 KiB", then(&[post(1), frame(DATA, END_STREAM, 1, &[b'x'; 16_384])]), Served),
        (
            "5.1: DATA in pieces",
            then(&[post(1), frame(DATA, 0, 1, b"a"), frame(DATA, END_STREAM, 1, b"b")]),
            Served,
        ),
        ("6.1: an empty DATA that ends", then(&[post(1), frame(DATA, END_STREAM, 1, &[])]), Served),
        ("6.1: padded DATA", then(&[post(1), padded(DATA, END_STREAM, b"abc", 7)]), Served),
        ("6.1: nothing but padding", then(&[post(1), padded(DATA, END_STREAM, b"", 255)]), Served),
        ("6.2: padded HEADERS", padded(HEADERS, WHOLE, &whole, 9), Served),
        ("6.2: HEADERS with a priority", frame(HEADERS, WHOLE | PRIORITY_FIELDS, 1, &weight), Served),
        (
            "6.3: PRIORITY before the request",
            then(&[frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]), get(1)]),
            Served,
        ),
        ("6.3: PRIORITY of another stream", then(&[frame(PRIORITY, 0, 7, &[0, 0, 0, 0, 9]), get(1)]), Served),
        ("6.10: a header block in pieces", then(&pieces), Served),
        ("8.1: trailers", then(&[post(1), headers(WHOLE, 1, &[("x-sum", "1")])]), Served),
        (
            "8.1: trailers after a body",
            then(&[post(1), frame(DATA, 0, 1, b"a"), headers(WHOLE, 1, &[("x-sum", "1")])]),
            Served,
        ),
        ("8.1.1: a length that is kept", then(&[post_of("2"), frame(DATA, END_STREAM, 1, b"ab")]), Served),
        ("8.2.2: te: trailers", get_with(&[("te", "trailers")]), Served),
        ("8.2.3: cookies in crumbs", get_with(&[("cookie", "a=1"), ("cookie", "b=2")]), Served),
        ("8.3.1: OPTIONS *", headers(WHOLE, 1, &pseudo("OPTIONS", "*")), Served),
        ("8.3.1: HEAD", headers(WHOLE, 1, &pseudo("HEAD", "/")), Served),
        ("8.3.1: a query", headers(WHOLE, 1, &pseudo("GET", "/a?b=c")), Served),
        (
            "8.3.1: Host instead of :authority",
            headers(
                WHOLE,
                1,
                &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "site.example")],
            ),
            Served,
        ),
        // RFC 7541 from here. Indexed: GET, http, /; a literal whose name is indexed: :authority.
        ("6.1: indexed fields", frame(HEADERS, WHOLE, 1, &[0x82, 0x86, 0x84, 0x01, 1, b'a']), Served),
        ("6.2.1: a literal to be indexed", get_and(&[0x40, 1, b'a', 1, b'b']), Served),
        ("6.2.1: taken from the table", get_and(&[0x40, 1, b'a', 1, b'b', 0xbe]), Served),
        ("6.2.3: a literal never to be indexed", get_and(&[0x10, 1, b'a', 1, b'b']), Served),
        ("5.2: Huffman's code", get_and(&[0x00, 1, b'a', 0x81, 0x1f]), Served),
        ("6.3: a smaller table first", frame(HEADERS, WHOLE, 1, &[&[0x20], &whole[..]].concat()), Served),
    ])
    .await;
}

#[tokio::test]
async fn what_serves_no_request_is_passed_over() {
    check(vec![
        ("4.1: an unknown frame", frame(0x16, 0, 0, b"whatever"), GoesOn),
        ("4.1: an unknown frame on a stream", then(&[post(1), frame(0x16, 0xff, 1, b"what")]), GoesOn),
        ("4.1: unknown flags", frame(PING, 0x16 & !ACK, 0, &[0; 8]), GoesOn),
        ("4.1: the reserved bit", frame(PING, 0, 1 << 31, &[0; 8]), GoesOn),
        (
            "5.1: WINDOW_UPDATE of a stream half closed",
            then(&[get(1), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9])]),
            GoesOn,
        ),
        (
            "5.1: PRIORITY of a stream half closed",
            then(&[get(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])]),
            GoesOn,
        ),
        ("5.1: PRIORITY of a stream to come", frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 1]), GoesOn),
        (
            "5.1: WINDOW_UPDATE after RST_STREAM",
            then(&[
                post(1),
                frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
                frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]),
            ]),
            GoesOn,
        ),
        (
            "5.1: RST_STREAM twice",
            then(&[post(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])]),
            GoesOn,
        ),
        ("6.5: empty SETTINGS", frame(SETTINGS, 0, 0, &[]), GoesOn),
        ("6.5.2: an unknown setting", setting(0xff, 1), GoesOn),
        ("6.5.2: the largest window", setting(INITIAL_WINDOW_SIZE, 0x7fff_ffff), GoesOn),
        ("6.5.2: the largest frame", setting(5, 0x00ff_ffff), GoesOn),
        ("6.5.2: no push", setting(2, 0), GoesOn),
        ("6.7: an answer to no PING", frame(PING, ACK, 0, b"unasked?"), GoesOn),
        ("6.9: WINDOW_UPDATE of the connection", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]), GoesOn),
        (
            "7: RST_STREAM with an unknown code",
            then(&[post(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff])]),
            GoesOn,
        ),
    ])
    .await;
}

#[tokio::test]
async fn broken_frames_end_the_connection() {
    let many = [b'x'; 16_385];
    check(vec![
        ("4.2: DATA too long", then(&[post(1), frame(DATA, 0, 1, &many)]), StreamError(FRAME_SIZE_ERROR)),
        ("4.2: DATA too long on an idle stream", frame(DATA, 0, 1, &many), ConnectionError(FRAME_SIZE_ERROR)),
        ("4.2: HEADERS too long", frame(HEADERS, WHOLE, 1, &many), ConnectionError(FRAME_SIZE_ERROR)),
        ("6.1: DATA on stream 0", frame(DATA, 0, 0, b"x"), ConnectionError(PROTOCOL_ERROR)),
        (
            "6.1: padding longer than DATA",
            then(&[post(1), frame(DATA, PADDED, 1, &[9, 0, 0])]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.1: padding without its length",
            then(&[post(1), frame(DATA, PADDED, 1, &[])]),
            ConnectionError(FRAME_SIZE_ERROR),
        ),
        ("6.2: HEADERS on stream 0", headers(WHOLE, 0, &pseudo("GET", "/")), ConnectionError(PROTOCOL_ERROR)),
        (
            "6.2: padding longer than HEADERS",
            frame(HEADERS, WHOLE | PADDED, 1, &[9, 0x82]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.3: PRIORITY on stream 0",
            frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 1]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        ("6.3: PRIORITY of 4 bytes", frame(PRIORITY, 0, 1, &[0; 4]), StreamError(FRAME_SIZE_ERROR)),
        ("6.4: RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), ConnectionError(PROTOCOL_ERROR)),
        (
            "6.4: RST_STREAM of an idle stream",
            frame(RST_STREAM, 0, 1, &[0; 4]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.4: RST_STREAM of 3 bytes",
            then(&[post(1), frame(RST_STREAM, 0, 1, &[0; 3])]),
            ConnectionError(FRAME_SIZE_ERROR),
        ),
        ("6.5: SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), ConnectionError(PROTOCOL_ERROR)),
        (
            "6.5: an acknowledgement with settings",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            ConnectionError(FRAME_SIZE_ERROR),
        ),
        ("6.5: SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5]), ConnectionError(FRAME_SIZE_ERROR)),
        ("6.5.2: push by 2", setting(2, 2), ConnectionError(PROTOCOL_ERROR)),
        (
            "6.5.2: a window beyond what there is",
            setting(INITIAL_WINDOW_SIZE, 1 << 31),
            ConnectionError(FLOW_CONTROL_ERROR),
        ),
        ("6.5.2: frames shorter than 16 KiB", setting(5, 16_383), ConnectionError(PROTOCOL_ERROR)),
        ("6.5.2: frames longer than 16 MiB", setting(5, 1 << 24), ConnectionError(PROTOCOL_ERROR)),
        (
            "6.6: PUSH_PROMISE of a client",
            then(&[
                post(1),
                frame(
                    PUSH_PROMISE,
                    END_HEADERS,
                    1,
                    &[&[0, 0, 0, 2], &block(&pseudo("GET", "/"))[..]].concat(),
                ),
            ]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        ("6.7: PING on a stream", frame(PING, 0, 1, &[0; 8]), ConnectionError(PROTOCOL_ERROR)),
        ("6.7: PING of 7 bytes", frame(PING, 0, 0, &[0; 7]), ConnectionError(FRAME_SIZE_ERROR)),
        ("6.8: GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), ConnectionError(PROTOCOL_ERROR)),
        (
            "6.9: an increment of nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.9: of a stream",
            then(&[post(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])]),
            StreamError(PROTOCOL_ERROR),
        ),
        (
            "6.9: WINDOW_UPDATE of 3 bytes",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            ConnectionError(FRAME_SIZE_ERROR),
        ),
        (
            "6.9.1: a connection's window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            ConnectionError(FLOW_CONTROL_ERROR),
        ),
        (
            "6.9.1: a stream's window that overflows",
            then(&[post(1), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])]),
            StreamError(FLOW_CONTROL_ERROR),
        ),
        (
            "6.9.2: a setting that makes it overflow",
            then(&[
                post(1),
                frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0, 0, 0]),
                setting(INITIAL_WINDOW_SIZE, 0x7fff_ffff),
            ]),
            ConnectionError(FLOW_CONTROL_ERROR),
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_a_streams_state_forbids_is_an_error() {
    let reset = then(&[post(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])]);
    let open_block = frame(HEADERS, END_STREAM, 1, &block(&pseudo("GET", "/")));
    check(vec![
        ("5.1: DATA on an idle stream", frame(DATA, 0, 1, b"x"), ConnectionError(STREAM_CLOSED)),
        (
            "5.1: WINDOW_UPDATE of an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "5.1: CONTINUATION on an idle stream",
            frame(CONTINUATION, END_HEADERS, 1, &[]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "5.1: DATA on a stream half closed",
            then(&[get(1), frame(DATA, END_STREAM, 1, b"x")]),
            Error(STREAM_CLOSED),
        ),
        ("5.1: HEADERS on a stream half closed", then(&[get(1), get(1)]), Error(STREAM_CLOSED)),
        (
            "5.1: CONTINUATION on a stream half closed",
            then(&[get(1), frame(CONTINUATION, END_HEADERS, 1, &[])]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "5.1: CONTINUATION after RST_STREAM",
            then(&[reset, frame(CONTINUATION, END_HEADERS, 1, &[])]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        ("5.1.1: an even stream", headers(WHOLE, 2, &pseudo("GET", "/")), ConnectionError(PROTOCOL_ERROR)),
        ("5.1.1: a stream before the last", then(&[get(5), get(3)]), Error(STREAM_CLOSED)),
        (
            "5.5: an unknown frame within a header block",
            then(&[open_block.clone(), frame(0x16, 0, 0, b"x")]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.2: PRIORITY within a header block",
            then(&[open_block.clone(), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.2: PING within a header block",
            then(&[open_block.clone(), frame(PING, 0, 0, &[0; 8])]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.2: HEADERS of another stream within a header block",
            then(&[open_block.clone(), get(3)]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.10: CONTINUATION of another stream",
            then(&[open_block.clone(), frame(CONTINUATION, END_HEADERS, 3, &[])]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.10: CONTINUATION on stream 0",
            then(&[open_block.clone(), frame(CONTINUATION, END_HEADERS, 0, &[])]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.10: DATA after a CONTINUATION",
            then(&[open_block, frame(CONTINUATION, 0, 1, &[]), frame(DATA, END_STREAM, 1, b"x")]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.10: CONTINUATION after its end",
            then(&[get(1), frame(CONTINUATION, END_HEADERS, 1, &[])]),
            ConnectionError(PROTOCOL_ERROR),
        ),
        (
            "6.10: CONTINUATION after DATA",
            then(&[post(1), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, &[])]),
            ConnectionError(PROTOCOL_ERROR),
        ),
    ])
    .await;
}

#[tokio::test]
async fn malformed_requests_end_their_stream() {
    let malformed = |case, bytes| (case, bytes, StreamError(PROTOCOL_ERROR));
    let fields = |fields: &[(&'static str, &'static str)]| headers(WHOLE, 1, fields);
    let all = pseudo("GET", "/");
    let without = |n: usize| {
        let mut fields = pseudo("GET", "/");
        fields.remove(n);
        headers(WHOLE, 1, &fields)
    };
    check(vec![
        malformed(
            "8.1: a second HEADERS that ends nothing",
            then(&[post(1), headers(END_HEADERS, 1, &[("x", "1")]), frame(DATA, END_STREAM, 1, b"x")]),
        ),
        malformed("8.1: upper case in trailers", then(&[post(1), headers(WHOLE, 1, &[("X-Sum", "1")])])),
        malformed("8.1.1: less than announced", then(&[post_of("2"), frame(DATA, END_STREAM, 1, b"a")])),
        malformed("8.1.1: more than announced", then(&[post_of("2"), frame(DATA, END_STREAM, 1, b"abc")])),
        malformed(
            "8.1.1: more, in pieces",
            then(&[post_of("2"), frame(DATA, 0, 1, b"ab"), frame(DATA, END_STREAM, 1, b"c")]),
        ),
        malformed("8.1.1: a length and no body", get_with(&[("content-length", "2")])),
        malformed("8.2: upper case", get_with(&[("X-Upper", "1")])),
        malformed("8.2.1: a space in a name", get_with(&[("x y", "1")])),
        malformed("8.2.1: a colon in a name", get_with(&[("x:y", "1")])),
        malformed("8.2.1: an empty name", get_with(&[("", "1")])),
        malformed("8.2.1: a byte beyond ASCII in a name", get_with(&[("x\u{e9}", "1")])),
        malformed("8.2.1: a line break in a value", get_with(&[("x", "a\r\nb: c")])),
        malformed("8.2.1: a line feed in a value", get_with(&[("x", "a\nb")])),
        malformed("8.2.1: a zero byte in a value", get_with(&[("x", "a\0b")])),
        malformed("8.2.2: connection", get_with(&[("connection", "close")])),
        malformed("8.2.2: transfer-encoding", get_with(&[("transfer-encoding", "chunked")])),
        malformed("8.2.2: upgrade", get_with(&[("upgrade", "h2c")])),
        malformed("8.2.2: keep-alive", get_with(&[("keep-alive", "timeout=5")])),
        malformed("8.2.2: proxy-connection", get_with(&[("proxy-connection", "close")])),
        malformed("8.2.2: te other than trailers", get_with(&[("te", "gzip")])),
        malformed("8.3: an unknown pseudo-field", get_with(&[(":what", "1")])),
        malformed("8.3: a pseudo-field of responses", get_with(&[(":status", "200")])),
        malformed("8.3: a pseudo-field after others", fields(&[&[("x", "1")], &all[..]].concat())),
        malformed(
            "8.3: a pseudo-field between others",
            fields(&[&all[..3], &[("x", "1")], &all[3..]].concat()),
        ),
        malformed("8.3.1: no method", without(0)),
        malformed("8.3.1: no scheme", without(1)),
        malformed("8.3.1: no path", without(3)),
        malformed("8.3.1: an empty path", headers(WHOLE, 1, &pseudo("GET", ""))),
        malformed("8.3.1: two methods", fields(&[&all[..], &[(":method", "POST")]].concat())),
        malformed("8.3.1: two schemes", fields(&[&all[..], &[(":scheme", "https")]].concat())),
        malformed("8.3.1: two paths", fields(&[&all[..], &[(":path", "/other")]].concat())),
        malformed("8.3.1: two authorities", fields(&[&all[..], &[(":authority", "other.example")]].concat())),
        malformed(
            "RFC 8441: WebSocket, which is not offered",
            fields(&[&pseudo("CONNECT", "/")[..], &[(":protocol", "websocket")]].concat()),
        ),
    ])
    .await;
}

/// Ought to end the stream, too (8.1): the library drops the field before anybody sees it, so that it can do no harm.
#[tokio::test]
async fn a_pseudo_field_in_trailers_is_not_passed_on() {
    let mut instance = RawInstance::start().await;
    let settings = Settings { balancer: "--listen 127.0.0.1:0,h2c", ..Settings::default() };
    let site = Site::start(Chain::Balancer, instance.address(), settings).await;
    let mut client = Frames::open(site.address(), &[]).await;
    client.send(then(&[post(1), headers(WHOLE, 1, &[(":path", "/other"), ("x-sum", "1")])])).await;
    let mut upstream = instance.accept().await;
    let request = upstream.request().await;
    assert_eq!(request.head.start, "POST / HTTP/1.1");
    assert!(request.trailers.iter().all(|(name, _)| name == "x-sum"), "{request:?}");
}

/// RFC 7541.
#[tokio::test]
async fn broken_header_compression_ends_the_connection() {
    let broken = |case, bytes| (case, bytes, ConnectionError(COMPRESSION_ERROR));
    check(vec![
        broken("2.3.3: an index beyond the table", get_and(&[0xff, 0x00])),
        broken("2.3.3: a name's index beyond the table", get_and(&[0x7f, 0x20, 1, b'b'])),
        broken("4.2: a table's size after the first field", get_and(&[0x20])),
        broken(
            "5.1: an integer that never ends",
            get_and(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ),
        broken("5.2: a string longer than the block", get_and(&[0x00, 1, b'a', 9, b'b'])),
        broken("5.2: Huffman's padding longer than 7 bits", get_and(&[0x00, 1, b'a', 0x82, 0x1f, 0xff])),
        broken("5.2: Huffman's padding of zeros", get_and(&[0x00, 1, b'a', 0x81, 0x18])),
        broken("5.2: Huffman's end of string", get_and(&[0x00, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff])),
        broken("6.1: index 0", get_and(&[0x80])),
        broken("6.3: a table larger than allowed", frame(HEADERS, WHOLE, 1, &[0x3f, 0xff, 0xff, 0x7f])),
        broken("a block cut off", frame(HEADERS, WHOLE, 1, &[0x82, 0x40])),
    ])
    .await;
}

/// 3.4: what does not begin as HTTP/2 does is no HTTP/2.
#[tokio::test]
async fn a_connection_begins_with_the_preface() {
    let instance = Answering::named("fine").await;
    let settings = Settings { balancer: "--listen 127.0.0.1:0,h2c", ..Settings::default() };
    let site = Site::start(Chain::Balancer, instance.address(), settings).await;
    let mut client = Frames::raw(site.address()).await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").await;
    while let Some(frame) = client.next().await {
        assert_ne!(frame.kind, HEADERS, "answered");
    }
    assert_eq!(instance.served(), 0);
}

/// 6.5.3, 6.9.1, 6.9.2: a window is kept to, may become negative, and what it held back comes when it opens.
#[tokio::test]
async fn windows_hold_responses_back() {
    let instance = Answering::named("12345").await;
    let settings = Settings { balancer: "--listen 127.0.0.1:0,h2c", ..Settings::default() };
    let site = Site::start(Chain::Balancer, instance.address(), settings).await;
    let mut client = Frames::open(site.address(), &[]).await;
    // Of two values the last counts.
    let twice = [[0, 4, 0, 0, 0, 4], [0, 4, 0, 0, 0, 2]].concat();
    client.send(frame(SETTINGS, 0, 0, &twice)).await;
    client.send(get(1)).await;
    assert_eq!(client.next_of(DATA).await.expect("what fits").payload, b"12");
    // Two bytes are beyond the new window of one: it is at minus one.
    client.send(setting(INITIAL_WINDOW_SIZE, 1)).await;
    client.send(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2])).await;
    assert_eq!(client.next_of(DATA).await.expect("one byte").payload, b"3");
    client.send(setting(INITIAL_WINDOW_SIZE, 100)).await;
    assert_eq!(client.next_of(DATA).await.expect("the rest").payload, b"45");
}
