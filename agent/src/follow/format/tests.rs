//! Lines as servers write them, and as clients would like them to be.

use super::*;

fn format(text: &str) -> Format {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Method, path, status, bytes, microseconds.
type Told<'a> = (&'a str, &'a str, u16, Option<u64>, Option<u128>);

fn told<'a>(entry: &'a Entry<'_>) -> Told<'a> {
    (&entry.method, &entry.path, entry.status, entry.bytes, entry.took.map(|took| took.as_micros()))
}

#[track_caller]
fn check(format_text: &str, line: &str, wanted: Option<Told<'_>>) {
    let format = format(format_text);
    let entry = format.read(line);
    assert_eq!(entry.as_ref().map(told), wanted, "{format_text}\n{line}");
}

/// gunicorn 23, nginx 1.22, paste.translogger 3.10 (what Zope's WSGI logs are written by), ZServer's Z2.log, uvicorn.
#[test]
fn lines_of_common_servers_are_read() {
    for (format, line, wanted) in [
        (
            "combined",
            r#"127.0.0.1 - - [24/Nov/2026:08:41:53 +0000] "GET /news/7?page=2 HTTP/1.1" 200 4942 "-" "curl/7.88""#,
            ("GET", "/news/7?page=2", 200, Some(4942), None),
        ),
        (
            "gunicorn", // on a Unix socket there is no address
            r#" - - [24/Nov/2026:08:41:53 +0000] "POST /form HTTP/1.0" 302 0 "http://a/" "x""#,
            ("POST", "/form", 302, Some(0), None),
        ),
        (
            "combined-us",
            r#"::1 - - [24/Nov/2026:08:41:53 +0000] "GET /a HTTP/1.1" 304 - "-" "Mozilla/5.0 (X11)" 10342"#,
            ("GET", "/a", 304, None, Some(10_342)),
        ),
        (
            "combined-s",
            r#"2001:db8::7 - jo [24/Nov/2026:08:41:53 +0000] "GET /a HTTP/2.0" 200 15 "-" "Mo \x22 z" 1.250"#,
            ("GET", "/a", 200, Some(15), Some(1_250_000)),
        ),
        (
            "combined-ms",
            r#"10.0.0.1 - - [24/Nov/2026:08:41:53 +0000] "HEAD / HTTP/1.1" 200 0 "-" "-" 7"#,
            ("HEAD", "/", 200, Some(0), Some(7_000)),
        ),
        (
            "zope",
            r#"10.0.0.1 - admin [24/Nov/2026:08:41:53 +0200] "GET /Plone/@@search?q=%22 HTTP/1.1" 200 - "" "Mozilla""#,
            ("GET", "/Plone/@@search?q=%22", 200, None, None),
        ),
        (
            r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(L)s"#,
            r#"127.0.0.1 - - [24/Nov/2026:08:41:53 +0000] "GET /x HTTP/1.1" 500 141 "-" "a \"b\" c" 0.012345"#,
            ("GET", "/x", 500, Some(141), Some(12_345)),
        ),
        (
            r#"%(m)s %(U)s%(q)s -> %(s)s %(B)s %(M)sms %({x-real-ip}i)s"#,
            "GET /x/y -> 200 5 17ms 10.0.0.1",
            ("GET", "/x/y", 200, Some(5), Some(17_000)),
        ),
        (
            r#"%(REMOTE_ADDR)s - %(REMOTE_USER)s [%(time)s] "%(REQUEST_METHOD)s %(REQUEST_URI)s %(HTTP_VERSION)s" %(status)s %(bytes)s"#,
            r#"1.2.3.4 - - [24/Nov/2026:08:41:53 +0000] "GET /Plone HTTP/1.1" 200 1234"#,
            ("GET", "/Plone", 200, Some(1234), None),
        ),
        (
            r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" rt=$request_time uct="$upstream_connect_time" uht="$upstream_header_time" urt="$upstream_response_time""#,
            r#"1.2.3.4 - - [24/Nov/2026:08:41:53 +0000] "GET /a HTTP/1.1" 200 9 "-" "-" rt=3.000 uct="0.000, 0.001" uht="0.5" urt="0.000, 0.750""#,
            ("GET", "/a", 200, Some(9), Some(750_000)),
        ),
        (
            "$status $request_time $upstream_response_time $request_method $request_uri $bytes_sent",
            "200 3.000 0.010, 0.020 : 0.030 GET /b 900",
            ("GET", "/b", 200, Some(900), Some(30_000)),
        ),
        (
            "$request_method $uri $status $request_time",
            "GET /b 204 0.5",
            ("GET", "/b", 204, None, Some(500_000)),
        ),
        (
            "uvicorn",
            r#"INFO:     127.0.0.1:53210 - "GET /items/5?q=a HTTP/1.1" 200 OK"#,
            ("GET", "/items/5?q=a", 200, None, None),
        ),
        ("common", r#"h - - [t] "OPTIONS * HTTP/1.1" 200 0"#, ("OPTIONS", "*", 200, Some(0), None)),
        (
            "common",
            r#"h - - [t] "GET http://site.example/a HTTP/1.1" 200 9"#,
            ("GET", "/a", 200, Some(9), None),
        ),
        ("common", r#"h - - [t] "GET /a b HTTP/1.1" 200 9"#, ("GET", "/a b", 200, Some(9), None)),
    ] {
        check(format, line, Some(wanted));
    }
}

#[test]
fn what_is_not_of_the_format_says_nothing() {
    for line in [
        "",
        "-",
        r#"h - - [t] "GET /a HTTP/1.1" 200"#,
        r#"h - - [t] "GET /a HTTP/1.1" 200 0 trailing"#,
        r#"h - - [t] "GET /a HTTP/1.1" 99 0"#,
        r#"h - - [t] "GET /a HTTP/1.1" 600 0"#,
        r#"h - - [t] "GET /a HTTP/1.1" 000 0"#,
        r#"h - - [t] "GET /a HTTP/1.1" 2e2 0"#,
        r#"h - - [t] "GET /a HTTP/1.1" 200 -1"#,
        r#"h - - [t] "GET /a HTTP/1.1" 200 99999999999999999"#,
        r#"h - - [t] "GET /a HTTP/1.1" 200 99999999999999999999999"#,
        r#"h - - [t] "GET /a HTTP/1.1 200 0"#,
        r#"h - - [t] "-" 400 0"#,
        r#"h - - [t] "\x16\x03\x01" 400 166"#,
        r#"h - - [t] "GET" 400 0"#,
        r#"h - - [t] "GET a HTTP/1.1" 200 0"#,
        r#"h - - [t] "" 400 0"#,
        "[2026-11-24 08:41:53 +0000] [7] [INFO] Handling signal: usr1",
    ] {
        check("common", line, None);
    }
    for time in ["", "x", "-1", "1e3", "NaN", "inf", "1.", ".", "86400001", "999999999999999999", "1.5 "] {
        let line = format!(r#"h - - [t] "GET /a HTTP/1.1" 200 0 "-" "-" {time}"#);
        check("combined-s", &line, None);
    }
    for (time, took) in [("-", None), ("0", Some(0)), ("86400", Some(86_400_000_000)), ("0.0000009", Some(0))]
    {
        let line = format!(r#"h - - [t] "GET /a HTTP/1.1" 200 8 "-" "-" {time}"#);
        check("combined-s", &line, Some(("GET", "/a", 200, Some(8), took)));
    }
}

#[test]
fn bytes_are_those_of_a_body() {
    let format = r#""%(r)s" %(s)s %(b)s %({Content-Length}o)s"#;
    for (method, status, written, declared, bytes) in [
        ("GET", 200, "5", "-", Some(5)),
        ("GET", 200, "-", "-", None),
        ("GET", 200, "0", "-", None), // gunicorn, of a file that the kernel sends
        ("GET", 206, "0", "9", Some(9)),
        ("GET", 304, "0", "9", Some(0)),
        ("HEAD", 200, "0", "9", Some(0)),
        ("POST", 200, "0", "-", Some(0)),
        ("GET", 404, "0", "-", Some(0)),
        ("GET", 200, "7", "9", Some(9)),
    ] {
        let line = format!(r#""{method} /a HTTP/1.1" {status} {written} {declared}"#);
        check(format, &line, Some((method, "/a", status, bytes, None)));
    }
}

/// Whatever a client puts where servers log it, it does not change the figures that follow.
#[test]
fn clients_can_not_make_up_figures() {
    for said in [
        r#"x" 99 "#,
        r#"x\" 99"#,
        r#"x\\" 99"#,
        r#"\"#,
        r#"""#,
        r#"" "" 1"#,
        r#"x" 500 7 "-" "y" 1"#,
        "\\x22 99",
        "é\u{fffd}\\",
        "",
    ] {
        for line in [
            format!(r#"h - - [t] "GET /a HTTP/1.1" 200 5 "{said}" "-" 10"#),
            format!(r#"h - - [t] "GET /a HTTP/1.1" 200 5 "-" "{said}" 10"#),
        ] {
            check("combined-us", &line, Some(("GET", "/a", 200, Some(5), Some(10))));
        }
    }
}

#[test]
fn paths_are_read_as_they_were_asked_for() {
    for (logged, path) in [
        (r"/a\x22b", "/a\"b"),
        (r#"/a\"b"#, "/a\"b"),
        (r"/a\\b", r"/a\b"),
        (r"/caf\xc3\xa9", "/caf\u{e9}"),
        (r"/\xff", "/\u{fffd}"),
        (r"/a\x2", r"/a\x2"),
        (r"/a\xzz\n", r"/a\xzz\n"),
        ("/a\"b", "/a\"b"),
    ] {
        let line = format!(r#"h - - [t] "GET {logged} HTTP/1.1" 200 0 "-" "-""#);
        let format = format("combined");
        let entry = format.read(&line).expect(logged);
        assert_eq!(entry.path, path, "{logged}");
    }
}

#[test]
fn header_fields_and_hosts_are_told_where_the_format_has_them() {
    let nginx = format(
        r#"$host "$request" $status "$http_range" "$http_if_none_match" "$http_user_agent" $request_time"#,
    );
    let line = r#"site.example "GET /a HTTP/1.1" 206 "bytes=0-9" "-" "x" 0.001"#;
    let entry = nginx.read(line).expect("of the format");
    assert_eq!(entry.host.as_deref(), Some("site.example"));
    assert_eq!(entry.headers, [("range", "bytes=0-9".into())]);
    assert!(nginx.tells("range") && nginx.tells("if-none-match"));
    assert!(!nginx.tells("user-agent") && !nginx.tells("cookie"), "nothing depends on the first");
    let apache = format(r#"%v "%r" %>s %b %{Range}i %({if-none-match}i)s %(HTTP_X_BATCH)s"#);
    let entry = apache.read(r#"site.example:80 "GET /a HTTP/1.1" 200 0 - "x" yes"#).expect("of the format");
    assert_eq!(entry.headers, [("if-none-match", "\"x\"".into()), ("x-batch", "yes".into())]);
}

#[test]
fn a_format_says_what_it_measures() {
    use Quality::{Estimated, Measured, Unmeasured};
    for (text, held, ttfb, bytes) in [
        ("combined", Unmeasured, Unmeasured, Measured),
        ("combined-us", Estimated, Unmeasured, Measured),
        ("uvicorn", Unmeasured, Unmeasured, Unmeasured),
        (r#""%r" %>s %O"#, Unmeasured, Unmeasured, Estimated),
        ("$request|$status|$upstream_header_time|$upstream_response_time", Estimated, Measured, Unmeasured),
    ] {
        let said = format(text).measured();
        assert_eq!((said.held_us, said.ttfb_us, said.response_bytes), (held, ttfb, bytes), "{text}");
        assert_eq!(
            (said.errors, said.in_flight, said.by),
            (Measured, Unmeasured, vec![Source::AccessLog]),
            "{text}"
        );
    }
}

#[test]
fn formats_that_can_not_be_used_say_why() {
    for (text, part) in [
        ("apache", "combined-us"),
        ("", "combined-us"),
        ("%>s %b", "no request"),
        ("%r %b", "no status"),
        ("%m %>s", "no request"),
        ("%r%>s", "between two"),
        ("$request$status", "between two"),
        ("%r %>s %", "\"%\""),
        ("%r %>s %!", "\"%!\""),
        ("%r %>s %(s", "\"%(s\""),
        ("%r %>s %(s)d", "\"%(s)d\""),
        ("$ $request $status", "\"$\""),
        ("%r %>s %{Range", "\"%{Range\""),
    ] {
        let error = text.parse::<Format>().expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    for name in Format::presets() {
        let format = format(name);
        assert_eq!(format.to_string(), name);
    }
    assert_eq!(
        format("100%% $request_method $uri $status").read("100% GET /a 200").map(|entry| entry.status),
        Some(200)
    );
}

/// Bytes from anywhere, and good lines damaged in places.
#[test]
fn nothing_that_is_read_can_harm() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let custom = r#"$host "$request" $status $upstream_response_time "$http_range" "$http_user_agent" $upstream_header_time $request_time"#;
    let formats: Vec<_> = Format::presets().chain([custom]).map(format).collect();
    let good = r#"h - - [t] "GET /a\x22 HTTP/1.1" 200 5 "a \"b\"" "-" 0.010, 0.020 : 0.030 - 12"#;
    let alphabet: Vec<char> = r#"\"x2, :-.0/ é%$[]"#.chars().collect();
    for _ in 0..20_000 {
        let mut line: Vec<char> = good.chars().collect();
        for _ in 0..rng.usize(0..8) {
            let at = rng.usize(..line.len());
            match rng.u8(..3) {
                0 => line[at] = alphabet[rng.usize(..alphabet.len())],
                1 => line.insert(at, alphabet[rng.usize(..alphabet.len())]),
                _ => line.truncate(at.max(1)),
            }
        }
        let line: String = line.into_iter().collect();
        for format in &formats {
            if let Some(entry) = format.read(&line) {
                assert!((100..600).contains(&entry.status) && !entry.path.is_empty(), "{line}");
            }
        }
    }
}
