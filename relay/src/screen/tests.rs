use super::head::HeadLimits;
use super::messages::{Messages, Verdict, Within};
use super::refusal::Refusal;

const LIMITS: HeadLimits = HeadLimits { line: 200, bytes: 1000, fields: 10 };

fn messages() -> Messages {
    Messages::new(LIMITS)
}

/// What became of bytes that arrived in pieces of `size`: how many passed, how many heads, and the refusal.
fn follow(bytes: &[u8], size: usize) -> (usize, u64, Option<(Refusal, Within)>) {
    let mut messages = messages();
    let (mut held, mut passed) = (Vec::new(), 0);
    for piece in bytes.chunks(size) {
        held.extend_from_slice(piece);
        match messages.follow(&held) {
            Verdict::Pass(n) => {
                held.drain(..n);
                passed += n;
            }
            Verdict::Refuse { passed: n, refusal, within } => {
                return (passed + n, messages.heads(), Some((refusal, within)));
            }
        }
    }
    (passed, messages.heads(), None)
}

/// `status`: 0 if it is accepted.
#[track_caller]
fn check(text: &str, status: u16) {
    let found = |size| follow(text.as_bytes(), size).2.map_or(0, |(refusal, _)| refusal.status().as_u16());
    assert_eq!(found(usize::MAX), status, "{text:?}");
    for size in [1, 2, 3, 7] {
        assert_eq!(found(size), status, "in pieces of {size}: {text:?}");
    }
}

#[test]
fn request_lines() {
    for (line, status) in [
        ("GET / HTTP/1.1", 0),
        ("GET /a/b;c=d?e=f&g=%20 HTTP/1.1", 0),
        ("GET //a HTTP/1.1", 0),
        ("GET /a|b[c]?q=[1]|{2}\\ HTTP/1.1", 0),
        ("GET /% HTTP/1.1", 0),
        ("GET http://a HTTP/1.1", 0),
        ("GET HTTP://A:80/b?c HTTP/1.1", 0),
        ("GET https://a:443?c HTTP/1.1", 0),
        ("OPTIONS * HTTP/1.1", 0),
        ("PROPFIND / HTTP/1.1", 0),
        ("M-SEARCH! / HTTP/1.1", 0),
        ("get / HTTP/1.1", 0),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET /", 400),
        ("GET / ", 400),
        ("GET", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1.1\u{b}", 400),
        ("GET / HTTP/11", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/0.9", 505),
        ("GET / HTTP/+1.1", 400),
        ("GET / XHTTP/1.1", 400),
        ("G(T / HTTP/1.1", 400),
        ("G\u{e9}T / HTTP/1.1", 400),
        ("GET: / HTTP/1.1", 400),
        ("AMETHODOFMORETHANTHIRTYTWOLETTERSINALL / HTTP/1.1", 501),
        ("GET /a#b HTTP/1.1", 400),
        ("GET /a\\b HTTP/1.1", 400),
        ("GET /a\u{0}b HTTP/1.1", 400),
        ("GET /a\u{7f} HTTP/1.1", 400),
        ("GET /\u{e9} HTTP/1.1", 400),
        ("GET /<a> HTTP/1.1", 400),
        ("GET /a?b#c HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("GET ?a HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET http:// HTTP/1.1", 400),
        ("GET http:///a HTTP/1.1", 400),
        ("GET http://u@a/ HTTP/1.1", 400),
        ("GET http://a:b/ HTTP/1.1", 400),
        ("GET ftp://a/ HTTP/1.1", 400),
        ("GET http://b/ HTTP/1.1", 400),
        ("GET http://a:81/ HTTP/1.1", 400),
        ("CONNECT a:443 HTTP/1.1", 501),
        ("CONNECT / HTTP/1.1", 501),
    ] {
        check(&format!("{line}\r\nHost: a\r\n\r\n"), status);
    }
}

#[test]
fn field_lines() {
    for (fields, status) in [
        ("Host: a\r\n", 0),
        ("host:a\r\n", 0),
        ("Host: \t a \t \r\n", 0),
        ("Host:\r\n", 0),
        ("Host: [::1]:80\r\n", 0),
        ("", 400),
        ("Host: a\r\nHost: a\r\n", 400),
        ("Host: a, b\r\n", 400),
        ("Host: a b\r\n", 400),
        ("Host: a/b\r\n", 400),
        ("Host: u@a\r\n", 400),
        ("Host: a:x\r\n", 400),
        ("Host: [::1\r\n", 400),
        ("Host: a\r\nX:\r\n", 0),
        ("Host: a\r\nX: \u{e9}\r\n", 0),
        ("Host: a\r\nX: a\tb\r\n", 0),
        ("Host: a\r\nX_Y: b\r\n", 0),
        ("Host: a\r\n!#$%&'*+-.^_`|~: b\r\n", 0),
        ("Host: a\r\nX : b\r\n", 400),
        ("Host: a\r\nX\t: b\r\n", 400),
        ("Host: a\r\n X: b\r\n", 400),
        ("Host: a\r\n\tX: b\r\n", 400),
        ("Host: a\r\nX: b\r\n c\r\n", 400),
        (" Host: a\r\n", 400),
        ("Host: a\r\nX\r\n", 400),
        ("Host: a\r\n: b\r\n", 400),
        ("Host: a\r\nX(: b\r\n", 400),
        ("Host: a\r\nX Y: b\r\n", 400),
        ("Host: a\r\n\u{e9}: b\r\n", 400),
        ("Host: a\r\nX: a\u{0}b\r\n", 400),
        ("Host: a\r\nX: a\u{b}b\r\n", 400),
        ("Host: a\r\nX: a\u{7f}b\r\n", 400),
        ("Host: a\r\nX: a\rb\r\n", 400),
        ("Host: a\r\nX: a\r\r\n", 400),
        ("Host: a\r\nX: a\n", 400),
        ("Host: a\nX: a\r\n", 400),
        ("Host: a\r\nExpect: 100-Continue\r\n", 0),
        ("Host: a\r\nExpect: 200-ok\r\n", 417),
        ("Host: a\r\nExpect: 100-continue, x\r\n", 417),
    ] {
        check(&format!("GET / HTTP/1.1\r\n{fields}\r\n"), status);
    }
    check("GET / HTTP/1.1\n\n", 400);
    check("GET / HTTP/1.0\r\n\r\n", 0);
    check("GET / HTTP/1.0\r\nExpect: x\r\n\r\n", 0);
    check("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    check("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    check("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

#[test]
fn framing() {
    for (fields, body, status) in [
        ("Content-Length: 0", "", 0),
        ("Content-Length: 3", "abc", 0),
        ("Content-Length: 003", "abc", 0),
        ("Content-Length:  3 ", "abc", 0),
        ("Content-Length: +3", "abc", 400),
        ("Content-Length: -3", "abc", 400),
        ("Content-Length: 3.0", "abc", 400),
        ("Content-Length: 0x3", "abc", 400),
        ("Content-Length: 3 3", "abc", 400),
        ("Content-Length: 3, 3", "abc", 400),
        ("Content-Length: 3;", "abc", 400),
        ("Content-Length:", "abc", 400),
        ("Content-Length: \u{663}", "abc", 400),
        ("Content-Length: 18446744073709551616", "", 400),
        ("Content-Length: 3\r\nContent-Length: 3", "abc", 400),
        ("Content-Length: 3\r\nContent-Length: 4", "abc", 400),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked", "0\r\n\r\n", 0),
        ("transfer-encoding:CHUNKED", "0\r\n\r\n", 0),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked, chunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n", 400),
        ("Transfer-Encoding: identity", "abc", 400),
        ("Transfer-Encoding: gzip", "abc", 400),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked;q=1", "0\r\n\r\n", 400),
        ("Transfer-Encoding: \"chunked\"", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked,", "0\r\n\r\n", 400),
        ("Transfer-Encoding:", "0\r\n\r\n", 400),
        ("Transfer-Encoding: \u{b}chunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding : chunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n", 501),
        ("Transfer-Encoding: a;b=c, chunked", "0\r\n\r\n", 501),
    ] {
        check(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}"), status);
    }
    check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
}

#[test]
fn chunks() {
    for (body, status) in [
        ("3\r\nabc\r\n0\r\n\r\n", 0),
        ("00000000000003\r\nabc\r\n000\r\n\r\n", 0),
        ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", 0),
        ("3;a\r\nabc\r\n0\r\n\r\n", 0),
        ("3;a=b;c=\"d;\\\"\r\n", 400),
        ("3;a=b;c=\"d;\\\"e\"\r\nabc\r\n0;x\r\n\r\n", 0),
        ("3 ; a = b \r\nabc\r\n0\r\n\r\n", 0),
        ("0\r\nX: y\r\n\r\n", 0),
        ("0\r\nX:\r\nY: z\r\n\r\n", 0),
        ("\r\nabc", 400),
        ("x\r\nabc\r\n0\r\n\r\n", 400),
        ("0x3\r\nabc\r\n0\r\n\r\n", 400),
        ("+3\r\nabc\r\n0\r\n\r\n", 400),
        ("-3\r\nabc\r\n0\r\n\r\n", 400),
        (" 3\r\nabc\r\n0\r\n\r\n", 400),
        ("3 \r\nabc\r\n0\r\n\r\n", 400),
        ("3_0\r\nabc\r\n0\r\n\r\n", 400),
        ("3\nabc\r\n0\r\n\r\n", 400),
        ("3\r\nabc\n0\r\n\r\n", 400),
        ("3\r\nabcd\r\n0\r\n\r\n", 400),
        ("3\r\nab\r\n0\r\n\r\n", 400),
        ("3\rabc\r\n0\r\n\r\n", 400),
        ("10000000000000000\r\nabc", 400),
        ("fffffffffffffffff\r\nabc", 400),
        ("3;\r\nabc\r\n0\r\n\r\n", 400),
        ("3;a=\r\nabc\r\n0\r\n\r\n", 400),
        ("3;a\nabc\r\n0\r\n\r\n", 400),
        ("3;a\u{0}\r\nabc\r\n0\r\n\r\n", 400),
        ("3;a=\"\u{0}\"\r\nabc\r\n0\r\n\r\n", 400),
        ("3;a=\"b\r\nabc\r\n0\r\n\r\n", 400),
        ("3;a b\r\nabc\r\n0\r\n\r\n", 400),
        ("3;=b\r\nabc\r\n0\r\n\r\n", 400),
        ("3 a\r\nabc\r\n0\r\n\r\n", 400),
        ("0\r\nX y: z\r\n\r\n", 400),
        ("0\r\nX : z\r\n\r\n", 400),
        ("0\r\n: z\r\n\r\n", 400),
        ("0\r\nX\r\n\r\n", 400),
        ("0\r\nX: y\r\n z\r\n\r\n", 400),
        ("0\r\nX: y\u{0}\r\n\r\n", 400),
        ("0\r\nX: y\n\r\n", 400),
        ("0\r\n\n", 400),
        ("0\n\n", 400),
    ] {
        check(&format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), status);
    }
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(2000));
    check(&format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{long}"), 400);
    let long = format!("0\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    check(&format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{long}"), 400);
}

#[test]
fn what_is_too_large_is_told_before_it_is_complete() {
    let of = |n: usize| "a".repeat(n);
    check(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", of(180)), 0);
    check(&format!("GET /{}", of(200)), 414);
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", of(900)), 0);
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", of(1000)), 431);
    let fields = |n: usize| "X: y\r\n".repeat(n);
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(9)), 0);
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(10)), 431);
}

#[test]
fn messages_follow_each_other_and_only_the_bad_one_is_refused() {
    let first = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let second = "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let third = "GET /c HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad = "GET /d HTTP/1.1\r\nHost : a\r\n\r\n";
    let text = format!("{first}{second}{third}{bad}{third}");
    let good = text.find(bad).expect("it is in there");
    for size in 1..=text.len() {
        let (passed, heads, refused) = follow(text.as_bytes(), size);
        let (_, within) = refused.expect("the fourth is refused");
        assert_eq!((passed, heads, within), (good, 3, Within::Head), "in pieces of {size}");
    }
}

#[test]
fn a_body_passes_as_far_as_it_is_good() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = format!("{head}3\r\nabc\r\nx");
    let (passed, heads, refused) = follow(text.as_bytes(), 1);
    assert_eq!((passed, heads), (text.len() - 1, 1));
    assert_eq!(refused.map(|(_, within)| within), Some(Within::Body));
}

#[test]
fn nothing_passes_after_a_wish_to_upgrade_until_it_is_decided() {
    let wish = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let text = format!("{wish}\0frames");
    assert_eq!(follow(text.as_bytes(), 5), (wish.len(), 1, None));

    let mut agreed = messages();
    assert_eq!(agreed.follow(text.as_bytes()), Verdict::Pass(wish.len()));
    agreed.agree();
    assert_eq!(agreed.follow(b"\0frames"), Verdict::Pass(7));

    let mut declined = messages();
    assert_eq!(declined.follow(text.as_bytes()), Verdict::Pass(wish.len()));
    declined.decline();
    assert!(matches!(declined.follow(b"\0frames\r\n\r\n"), Verdict::Refuse { passed: 0, .. }));

    for no_wish in [
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let text = format!("{no_wish}{no_wish}");
        assert_eq!(follow(text.as_bytes(), 9), (text.len(), 2, None), "{no_wish:?}");
    }
}

/// Whatever comes, in whatever pieces, the verdict is the same. (Of a bad body more passes the smaller they are.)
#[test]
fn pieces_make_no_difference() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let parts: [&[u8]; 18] = [
        b"GET ",
        b"POST ",
        b"/ ",
        b"/a?b ",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b"Host: a",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"5\r\n12345\r\n",
        b"0\r\n\r\n",
        b"X: y",
        b" ",
        b"\0",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    for _ in 0..3000 {
        let count = rng.usize(1..30);
        let bytes: Vec<u8> = (0..count).flat_map(|_| parts[rng.usize(..parts.len())]).copied().collect();
        let verdict = |size| {
            let (passed, heads, refused) = follow(&bytes, size);
            let in_body = refused.is_some_and(|(_, within)| within == Within::Body);
            ((!in_body).then_some(passed), heads, refused)
        };
        let size = rng.usize(1..20);
        assert_eq!(
            verdict(size),
            verdict(usize::MAX),
            "in pieces of {size}: {:?}",
            bytes.escape_ascii().to_string()
        );
    }
}
