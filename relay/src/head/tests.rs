use super::*;
use http::Request;
use std::time::{Duration, UNIX_EPOCH};

fn request(fields: &[(&str, &str)]) -> request::Parts {
    let mut builder =
        Request::builder().uri("/a?b=c").version(Version::HTTP_11).header("host", "site.example");
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("a valid request").into_parts().0
}

fn prepared_by(position: &Position, mut parts: request::Parts) -> request::Parts {
    let arrived = UNIX_EPOCH + Duration::from_micros(1_000_001);
    let origin = Origin { peer: [192, 0, 2, 7].into(), scheme: "http", arrived };
    prepare_request(&mut parts, position, origin, &mut fastrand::Rng::with_seed(1)).expect("accepted");
    parts
}

fn prepared(fields: &[(&str, &str)]) -> request::Parts {
    prepared_by(&Position::Edge { trusted: vec![] }, request(fields))
}

fn value<'a>(parts: &'a request::Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).map(|v| v.to_str().expect("ASCII"))
}

#[test]
fn a_stranger_cannot_speak_for_somebody_else() {
    let parts = prepared(&[
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "bank.example"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("x-request-start", "t=1"),
        ("x-sluice-class", "GET /cheap"),
        ("x-sluice-refused", "x"),
        ("x-sluice-probe", "alive"),
    ]);
    assert_eq!(value(&parts, "x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(value(&parts, "x-forwarded-proto"), Some("http"));
    assert_eq!(value(&parts, "x-forwarded-host"), Some("site.example"));
    assert_eq!(value(&parts, "x-request-start"), Some("t=1000001"));
    for gone in ["forwarded", "x-real-ip", "x-sluice-class", "x-sluice-refused", "x-sluice-probe"] {
        assert_eq!(value(&parts, gone), None, "{gone}");
    }
}

#[test]
fn nor_with_underscores() {
    let parts = prepared(&[
        ("x_forwarded_for", "10.0.0.1"),
        ("X_Forwarded-Proto", "https"),
        ("content_length", "9"),
        ("transfer_encoding", "chunked"),
        ("x-request_id", "1"),
        ("x_sluice_class", "GET /cheap"),
        ("my_field", "kept"),
    ]);
    let left: Vec<_> = parts.headers.keys().filter(|name| name.as_str().contains('_')).collect();
    assert_eq!(left, ["my_field"]);
}

#[test]
fn a_trusted_proxy_can() {
    let trusted = Position::Edge { trusted: vec!["192.0.2.0/24".parse().expect("a network")] };
    let parts = prepared_by(
        &trusted,
        request(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-request-start", "t=1"),
        ]),
    );
    assert_eq!(value(&parts, "x-forwarded-for"), Some("10.0.0.1, 10.0.0.2, 192.0.2.7"));
    assert_eq!(value(&parts, "x-forwarded-proto"), Some("https"));
    assert_eq!(value(&parts, "x-request-start"), Some("t=1"));
}

#[test]
fn an_inner_relay_adds_only_what_is_missing() {
    let parts = prepared_by(
        &Position::Inner,
        request(&[("x-forwarded-for", "10.0.0.1"), ("x-sluice-class", "GET /a")]),
    );
    assert_eq!(value(&parts, "x-forwarded-for"), Some("10.0.0.1"));
    assert_eq!(value(&parts, "x-sluice-class"), Some("GET /a"));
    assert_eq!(value(&prepared_by(&Position::Inner, request(&[])), "x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn fields_of_the_connection_stay_on_it_and_cannot_strip_what_sluice_adds() {
    let parts = prepared(&[
        ("connection", "close, X-Custom, X-Forwarded-For, Host"),
        ("x-custom", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
    ]);
    for gone in ["connection", "x-custom", "keep-alive", "proxy-authorization", "te", "upgrade", "expect"] {
        assert_eq!(value(&parts, gone), None, "{gone}");
    }
    assert_eq!(value(&parts, "x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(value(&parts, "host"), Some("site.example"));
    assert_eq!(value(&parts, "via"), Some("1.1 sluice"));
}

#[test]
fn upgrades_pass_but_not_to_an_unchecked_http() {
    for (protocol, passes) in [("websocket", true), ("h2c", false), ("H2C, websocket", false)] {
        let parts = prepared(&[("connection", "Upgrade"), ("upgrade", protocol)]);
        assert_eq!(value(&parts, "upgrade").is_some(), passes, "{protocol}");
        assert_eq!(value(&parts, "connection").is_some(), passes, "{protocol}");
    }
    assert_eq!(value(&prepared(&[("upgrade", "websocket")]), "upgrade"), None, "not asked for in Connection");
}

#[test]
fn a_request_without_a_host_gets_an_empty_one() {
    let mut parts = request(&[]);
    parts.headers.remove("host");
    parts.version = Version::HTTP_10;
    let parts = prepared_by(&Position::Inner, parts);
    assert_eq!((value(&parts, "host"), parts.version), (Some(""), Version::HTTP_11));
    assert_eq!(value(&parts, "x-forwarded-host"), None);
}

#[test]
fn an_absolute_target_overrides_host() {
    let mut parts = request(&[]);
    parts.uri = "http://other.example/x?y".parse().expect("a target");
    let parts = prepared_by(&Position::Inner, parts);
    assert_eq!((value(&parts, "host"), parts.uri.to_string().as_str()), (Some("other.example"), "/x?y"));
}

#[test]
fn a_request_of_http_2_becomes_one_of_http_1() {
    let mut parts = request(&[("cookie", "a=1"), ("accept", "x"), ("cookie", "b=2"), ("te", "trailers")]);
    parts.version = Version::HTTP_2;
    parts.uri = "https://site.example/x?y".parse().expect("a target");
    let parts = prepared_by(&Position::Inner, parts);
    assert_eq!(parts.headers.get_all("cookie").iter().count(), 1);
    assert_eq!(value(&parts, "cookie"), Some("a=1; b=2"));
    assert_eq!(value(&parts, "via"), Some("2.0 sluice"));
    assert_eq!((value(&parts, "host"), parts.version), (Some("site.example"), Version::HTTP_11));
    assert_eq!(parts.uri, "/x?y");
    assert_eq!((value(&parts, "te"), value(&parts, "connection")), (Some("trailers"), Some("te")));
}

#[test]
fn ids_and_trace_are_kept_or_made() {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let kept = prepared(&[("x-request-id", "abc-1"), ("traceparent", traceparent), ("tracestate", "a=b")]);
    assert_eq!(value(&kept, "x-request-id"), Some("abc-1"));
    assert_eq!(value(&kept, "traceparent"), Some(traceparent));
    assert_eq!(value(&kept, "tracestate"), Some("a=b"));
    let made = prepared(&[("x-request-id", "a b"), ("traceparent", "junk"), ("tracestate", "a=b")]);
    assert_ne!(value(&made, "x-request-id"), Some("a b"));
    assert!(trace::parent(&made.headers).is_some());
    assert_eq!(value(&made, "tracestate"), None);
}

#[test]
fn trailers_can_not_say_what_belongs_into_a_head() {
    let mut trailers = HeaderMap::new();
    let names = [
        "content-length",
        "host",
        "x-forwarded-for",
        "x_real_ip",
        "authorization",
        "x-sluice-class",
        "checksum",
    ];
    names.iter().for_each(|name| {
        trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
    });
    strip_from_trailers(&mut trailers);
    assert_eq!(trailers.keys().collect::<Vec<_>>(), ["checksum"]);
}

#[test]
fn responses_lose_what_is_between_us() {
    let (mut parts, ()) = http::Response::builder()
        .header("connection", "close, x-hop")
        .header("x-hop", "1")
        .header("transfer-encoding", "chunked")
        .header("x-sluice-refused", "full")
        .header("server", "zope")
        .body(())
        .expect("valid")
        .into_parts();
    prepare_response(&mut parts).expect("accepted");
    assert_eq!(parts.headers.len(), 1, "{:?}", parts.headers);

    parts.headers.insert("transfer-encoding", HeaderValue::from_static("xchunked"));
    assert!(prepare_response(&mut parts).is_err());
}

/// Sets of names are written out, as they are made before the program runs.
#[test]
fn sets_of_names_have_what_their_constants_say() {
    let internal: Vec<_> = INTERNAL.iter().map(HeaderName::as_str).collect();
    assert_eq!(internal, sluice_proto::headers::ALL);
    let vouched: Vec<_> = VOUCHED.iter().collect();
    for (place, name) in
        [(FOR, FORWARDED_FOR), (PROTO, FORWARDED_PROTO), (HOST, FORWARDED_HOST), (START, REQUEST_START)]
    {
        assert_eq!(*vouched[place], name);
    }
    assert!(HOP_BY_HOP.iter().all(|name| OF_CONNECTIONS.contains(name)));
}

#[test]
fn what_connection_names_is_taken_out_in_upper_and_lower_case() {
    let parts = prepared(&[
        ("connection", "Keep-Alive, X-Private,close , content-length"),
        ("keep-alive", "timeout=5"),
        ("x-private", "1"),
        ("x-public", "1"),
        ("content-length", "0"),
    ]);
    for (name, left) in [
        ("connection", None),
        ("keep-alive", None),
        ("x-private", None),
        ("x-public", Some("1")),
        ("content-length", Some("0")),
    ] {
        assert_eq!(value(&parts, name), left, "{name}");
    }
}
