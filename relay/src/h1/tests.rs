//! Responses as instances may send them: what is read of them, and that it does not depend on how they arrive.

use http::Method;

use crate::fuzzing::{Reading, respond};

/// A response to a GET, what is expected of its head (a status, or the failure), its body, and whether that is whole and
/// what follows it.
type Case = (&'static str, &'static str, Result<u16, &'static str>, &'static str, Option<&'static str>);

const INVALID: Result<u16, &str> = Err("invalid_response");
const CLOSED: Result<u16, &str> = Err("closed_early");

const HEADS: &[Case] = &[
    ("length", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Ok(200), "ok", Some("")),
    ("no body", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Ok(200), "", Some("")),
    ("no reason", "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", Ok(200), "", Some("")),
    ("unusual status", "HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n", Ok(999), "", Some("")),
    ("bare line feeds", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok", Ok(200), "ok", Some("")),
    ("empty line first", "\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Ok(200), "", Some("")),
    ("until close", "HTTP/1.1 200 OK\r\n\r\nto the end", Ok(200), "to the end", Some("")),
    ("1.0", "HTTP/1.0 200 OK\r\n\r\nto the end", Ok(200), "to the end", Some("")),
    ("interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", Ok(204), "", Some("")),
    (
        "two interim ones",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\nok",
        Ok(200),
        "ok",
        Some(""),
    ),
    ("change of protocol", "HTTP/1.1 101 Now\r\nupgrade: x\r\n\r\nbytes", Ok(101), "", Some("bytes")),
    ("204 with a length", "HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok", Ok(204), "", Some("ok")),
    ("304 with a length", "HTTP/1.1 304 Same\r\ncontent-length: 2\r\n\r\n", Ok(304), "", Some("")),
    ("more than its length", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok!", Ok(200), "ok", Some("!")),
    ("less than its length", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", Ok(200), "ok", None),
    (
        "one length twice",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nok",
        Ok(200),
        "ok",
        Some(""),
    ),
    ("nothing", "", CLOSED, "", None),
    ("an interim one alone", "HTTP/1.1 100 Continue\r\n\r\n", CLOSED, "", None),
    ("half a head", "HTTP/1.1 200 OK\r\ncontent-le", CLOSED, "", None),
    ("another protocol", "SSH-2.0-OpenSSH_9.9\r\n\r\n", INVALID, "", None),
    ("no status line", "content-length: 0\r\n\r\n", INVALID, "", None),
    ("HTTP/0.9", "<html>hello</html>", INVALID, "", None),
    ("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", INVALID, "", None),
    ("status with two digits", "HTTP/1.1 20 OK\r\n\r\n", INVALID, "", None),
    ("status 000", "HTTP/1.1 000 OK\r\n\r\n", INVALID, "", None),
    ("folded", "HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 0\r\n\r\n", INVALID, "", None),
    ("space before the colon", "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n", INVALID, "", None),
    ("no colon", "HTTP/1.1 200 OK\r\ncontent-length\r\n\r\n", INVALID, "", None),
    ("NUL in a value", "HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n", INVALID, "", None),
    ("bare CR in a value", "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n", INVALID, "", None),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!",
        INVALID,
        "",
        None,
    ),
    ("signed length", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", INVALID, "", None),
    ("empty length", "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nok", INVALID, "", None),
    ("hexadecimal length", "HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok", INVALID, "", None),
    (
        "length beyond 63 bits",
        "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775808\r\n\r\n",
        INVALID,
        "",
        None,
    ),
    (
        "two framings",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        INVALID,
        "",
        None,
    ),
    ("chunks in 1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", INVALID, "", None),
    (
        "another coding",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        INVALID,
        "",
        None,
    ),
    (
        "chunked twice",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        INVALID,
        "",
        None,
    ),
];

/// Bodies after a head that says they are chunked.
type Chunks = (&'static str, &'static str, &'static str, Option<&'static str>);

const CHUNKED: &[Chunks] = &[
    ("none", "0\r\n\r\n", "", Some("")),
    ("two", "3\r\none\r\n4\r\n two\r\n0\r\n\r\n", "one two", Some("")),
    ("hexadecimal", "0000A\r\n0123456789\r\n0\r\n\r\n", "0123456789", Some("")),
    ("extensions", "2;a;b=c;d=\"e \\\" f\"\r\nok\r\n0;end\r\n\r\n", "ok", Some("")),
    ("padded size", "2   \r\nok\r\n0 \r\n\r\n", "ok", Some("")),
    ("trailers", "2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n", "ok", Some("")),
    ("more than its end", "2\r\nok\r\n0\r\n\r\nHTTP", "ok", Some("HTTP")),
    ("no end", "2\r\nok\r\n", "ok", None),
    ("end without its empty line", "2\r\nok\r\n0\r\n", "ok", None),
    ("cut in a chunk", "4\r\nok", "ok", None),
    ("no size", "\r\nok\r\n0\r\n\r\n", "", None),
    ("sign", "+2\r\nok\r\n0\r\n\r\n", "", None),
    ("prefix", "0x2\r\nok\r\n0\r\n\r\n", "", None),
    ("negative", "-2\r\nok\r\n0\r\n\r\n", "", None),
    ("beyond 64 bits", "10000000000000002\r\nok\r\n0\r\n\r\n", "", None),
    ("bare line feed after the size", "2\nok\r\n0\r\n\r\n", "", None),
    ("bare line feed after the chunk", "2\r\nok\n0\r\n\r\n", "ok", None),
    ("longer than its size", "2\r\nok!\r\n0\r\n\r\n", "ok", None),
    ("control in an extension", "2;a=\x01\r\nok\r\n0\r\n\r\n", "", None),
    ("trailer without a name", "0\r\n: a\r\n\r\n", "", None),
    ("folded trailer", "0\r\na: b\r\n c\r\n\r\n", "", None),
];

fn check(case: &str, read: &Reading, status: Result<u16, &str>, body: &str, end: Option<&str>) {
    assert_eq!(read.head.as_ref().map(|(status, _)| *status), status.as_ref().map(|s| *s), "{case}");
    assert_eq!(read.body.escape_ascii().to_string(), body, "{case}");
    assert_eq!(read.end.as_deref(), end.map(str::as_bytes), "{case}: its end, and what follows");
}

#[test]
fn responses_are_read_or_refused() {
    for (case, bytes, status, body, end) in HEADS {
        check(case, &respond(bytes.as_bytes(), &[], &Method::GET), *status, body, *end);
    }
    for (case, bytes, body, end) in CHUNKED {
        let bytes = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{bytes}");
        check(case, &respond(bytes.as_bytes(), &[], &Method::GET), Ok(200), body, *end);
    }
}

#[test]
fn the_response_to_a_head_request_has_no_body() {
    for framing in ["content-length: 5", "transfer-encoding: chunked", "server: x"] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
        check(framing, &respond(bytes.as_bytes(), &[], &Method::HEAD), Ok(200), "", Some(""));
    }
}

/// Cut in two at each place, in pieces of one byte, and as the seed says.
#[test]
fn a_response_is_the_same_however_it_arrives() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let chunked =
        CHUNKED.iter().map(|case| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", case.1));
    for response in HEADS.iter().map(|case| case.1.to_owned()).chain(chunked) {
        let (bytes, whole) = (response.as_bytes(), respond(response.as_bytes(), &[], &Method::GET));
        let mut ways: Vec<Vec<usize>> = (0..=bytes.len()).map(|at| vec![at]).collect();
        ways.push((0..bytes.len()).collect());
        ways.extend((0..20).map(|_| {
            let mut cuts: Vec<_> = (0..5).map(|_| rng.usize(0..=bytes.len())).collect();
            cuts.sort_unstable();
            cuts
        }));
        for cuts in ways {
            assert_eq!(
                respond(bytes, &cuts, &Method::GET),
                whole,
                "{response:?} cut at {cuts:?}, seed {seed}"
            );
        }
    }
}

#[test]
fn fields_and_trailers_are_kept_as_they_were() {
    let bytes =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=1\r\nset-cookie:  b=\xfc \r\n\r\n\
        0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n";
    let read = respond(bytes, &[], &Method::GET);
    let (_, fields) = read.head.expect("a response");
    let cookies: Vec<_> = fields.get_all("set-cookie").iter().map(|value| value.as_bytes()).collect();
    assert_eq!(cookies, [b"a=1".as_slice(), b"b=\xfc"]);
    let trailers = read.trailers.expect("there were some");
    assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["1", "2"]);
}

/// Just within a limit, and beyond it.
#[test]
fn heads_and_trailers_have_their_limits() {
    let fields = |n: usize| "a: b\r\n".repeat(n);
    let of_heads = |n| format!("HTTP/1.1 204 No\r\n{}\r\n", fields(n));
    let of_trailers =
        |n| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{}\r\n", fields(n));
    let long = |n: usize| format!("HTTP/1.1 204 No\r\na: {}\r\n\r\n", "b".repeat(n - 24));
    let limit = 8 * 1024 + 100 * 4096;
    for (case, bytes, status, end) in [
        ("100 fields", of_heads(100), Ok(204), Some("")),
        ("101 fields", of_heads(101), INVALID, None),
        ("100 trailers", of_trailers(100), Ok(200), Some("")),
        ("101 trailers", of_trailers(101), Ok(200), None),
        ("as long as may be", long(limit), Ok(204), Some("")),
        ("longer", long(limit + 1), INVALID, None),
        ("without an end", format!("HTTP/1.1 204 No\r\na: {}", "b".repeat(limit)), INVALID, None),
    ] {
        for cuts in [vec![], vec![bytes.len() / 2], (0..bytes.len()).step_by(4096).collect()] {
            check(case, &respond(bytes.as_bytes(), &cuts, &Method::GET), status, "", end);
        }
    }
}
