"""Requests and responses, byte by byte, with what a relay owes to each: RFC 9110 and 9112 by section.

A request to be refused can be read in two ways, or is no HTTP/1.1: no instance may see it as a whole. A request to be
served is valid, whatever it looks like: the instance must see it once, with its body, and the client its answer.
`{id}` in a request is replaced by the case's own path, so that the recorder knows what it sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

REFUSED = "refused"
SERVED = "served"


@dataclass(frozen=True)
class Request:
    """`raw`: what the client sends. `bodies`: of the requests that the instance must see, in their order."""

    section: str
    name: str
    raw: bytes
    verdict: str
    bodies: tuple[bytes, ...] = field(default=(b"",))


@dataclass(frozen=True)
class Response:
    """`raw`: what the instance sends. `body`: what the client must get with a 200; None: an error of the relay's own,
    or a connection that ends in a way that nobody takes for a whole response."""

    section: str
    name: str
    raw: bytes
    body: bytes | None
    method: str = "GET"


def refused(section: str, *cases: tuple[str, str | bytes]) -> Iterator[Request]:
    for name, raw in cases:
        yield Request(section, name, raw if isinstance(raw, bytes) else raw.encode("latin-1"), REFUSED)


def served(section: str, *cases: tuple[str, str | bytes] | tuple[str, str | bytes, tuple[bytes, ...]]) -> Iterator[Request]:
    for name, raw, *bodies in cases:
        encoded = raw if isinstance(raw, bytes) else raw.encode("latin-1")
        yield Request(section, name, encoded, SERVED, bodies[0] if bodies else (b"",))


def get(line: str = "GET {id} HTTP/1.1", host: str = "Host: a\r\n") -> str:
    return f"{line}\r\n{host}\r\n"


def with_field(text: str) -> str:
    return f"GET {{id}} HTTP/1.1\r\nHost: a\r\n{text}\r\n"


def post(fields: str, body: str) -> str:
    return f"POST {{id}} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}"


def chunks(body: str) -> str:
    return post("Transfer-Encoding: chunked", body)


# A request inside another one's body, for readers that end the body too early.
HIDDEN = "GET {id}/hidden HTTP/1.1\r\nHost: a\r\n\r\n"


def request_lines() -> Iterator[Request]:
    yield from served(
        "9112-3",
        ("a plain request", get()),
        ("an unknown method", get("BREW {id} HTTP/1.1")),
        ("a method in small letters is another method", get("purge {id} HTTP/1.1")),
        ("a method with token characters", get("M-SEARCH {id} HTTP/1.1")),
        ("a WebDAV method", get("PROPFIND {id} HTTP/1.1")),
        ("DELETE without a body", get("DELETE {id} HTTP/1.1")),
        ("OPTIONS of a path", get("OPTIONS {id} HTTP/1.1")),
        ("a query", get("GET {id}?a=b&c=%20d HTTP/1.1")),
        ("an empty query", get("GET {id}? HTTP/1.1")),
        ("a question mark in the query", get("GET {id}?a?b/c HTTP/1.1")),
        ("all unreserved and sub-delims", get("GET {id}/-._~!$&'()*+,;=:@ HTTP/1.1")),
        ("percent-encoded bytes", get("GET {id}/%2F%00%C3%A9%25 HTTP/1.1")),
        ("empty segments", get("GET {id}//a///b HTTP/1.1")),
        ("dot segments are the server's business", get("GET {id}/a/../b/./c HTTP/1.1")),
        ("path parameters", get("GET {id};v=1/a;b HTTP/1.1")),
        ("a target of 4000 bytes", get("GET {id}/" + "a" * 4000 + " HTTP/1.1")),
    )
    yield from served(
        "9112-3.2.2",
        ("absolute form", get("GET http://a{id} HTTP/1.1")),
        ("absolute form, scheme and host in capitals", get("GET HTTP://A{id} HTTP/1.1")),
        ("absolute form with the default port", get("GET http://a:80{id} HTTP/1.1")),
        ("absolute form with a query", get("GET http://a{id}?b HTTP/1.1")),
    )
    yield from served(
        "9112-2.2",
        ("an empty line before the request", "\r\n" + get()),
    )
    yield from served(
        "9112-2.5",
        ("HTTP/1.0 without Host", "GET {id} HTTP/1.0\r\n\r\n"),
        ("HTTP/1.0 with Host", get("GET {id} HTTP/1.0")),
        ("HTTP/1.0 that wants to keep the connection", get("GET {id} HTTP/1.0", "Host: a\r\nConnection: keep-alive\r\n")),
    )
    yield from refused(
        "9112-3",
        ("two spaces after the method", get("GET  {id} HTTP/1.1")),
        ("two spaces before the version", get("GET {id}  HTTP/1.1")),
        ("a tab after the method", get("GET\t{id} HTTP/1.1")),
        ("a tab before the version", get("GET {id}\tHTTP/1.1")),
        ("a space before the method", " " + get()),
        ("a space after the version", get("GET {id} HTTP/1.1 ")),
        ("a space in the target", get("GET {id}/a b HTTP/1.1")),
        ("a vertical tab as space", get("GET\x0b{id} HTTP/1.1")),
        ("a form feed as space", get("GET {id}\x0cHTTP/1.1")),
        ("a CR as space", get("GET\r{id} HTTP/1.1")),
        ("no target", get("GET  HTTP/1.1")),
        ("no method", get(" {id} HTTP/1.1")),
        ("a method that is no token", get("G(T {id} HTTP/1.1")),
        ("a method with a colon", get("GET: {id} HTTP/1.1")),
        ("a method in quotes", get('"GET" {id} HTTP/1.1')),
        ("a method beyond ASCII", get("G\xc9T {id} HTTP/1.1")),
        ("NUL in the method", get("G\x00T {id} HTTP/1.1")),
        ("a method of 100 kB", get("G" * 100_000 + " {id} HTTP/1.1")),
        ("three parts before the version", get("GET {id} {id} HTTP/1.1")),
        ("a field instead of a request line", "Host: a\r\n\r\n"),
    )
    yield from refused(
        "9112-2.3",
        ("no version", "GET {id}\r\nHost: a\r\n\r\n"),
        ("a version in small letters", get("GET {id} http/1.1")),
        ("HTTP/2.0 in text", get("GET {id} HTTP/2.0")),
        ("HTTP/0.9 in text", get("GET {id} HTTP/0.9")),
        ("a version of three parts", get("GET {id} HTTP/1.1.1")),
        ("a version of two digits", get("GET {id} HTTP/1.10")),
        ("a leading zero", get("GET {id} HTTP/01.1")),
        ("a sign", get("GET {id} HTTP/+1.1")),
        ("a version without a point", get("GET {id} HTTP/11")),
        ("a version with a comma", get("GET {id} HTTP/1,1")),
        ("a letter for the minor version", get("GET {id} HTTP/1.x")),
        ("another protocol", get("GET {id} ICAP/1.0")),
        ("letters before the version", get("GET {id} XHTTP/1.1")),
        ("letters after the version", get("GET {id} HTTP/1.1x")),
        ("space within the version", get("GET {id} HTTP /1.1")),
    )
    yield from refused(
        "9112-3.2",
        ("a fragment", get("GET {id}#a HTTP/1.1")),
        ("a fragment after a query", get("GET {id}?b#a HTTP/1.1")),
        ("NUL in the target", get("GET {id}\x00a HTTP/1.1")),
        ("a control character in the target", get("GET {id}\x01 HTTP/1.1")),
        ("DEL in the target", get("GET {id}\x7f HTTP/1.1")),
        ("a byte beyond ASCII in the target", get("GET {id}\xe9 HTTP/1.1")),
        ("a byte beyond ASCII in the query", get("GET {id}?\xe9 HTTP/1.1")),
        ("a backslash in the path", get("GET {id}\\..\\a HTTP/1.1")),
        ("a path that does not begin with a slash", get("GET a{id} HTTP/1.1")),
        ("a query without a path", get("GET ?{id} HTTP/1.1")),
        ("* for another method than OPTIONS", get("GET * HTTP/1.1")),
        ("* and more", get("OPTIONS *{id} HTTP/1.1")),
        ("an authority for another method than CONNECT", get("GET a:80 HTTP/1.1")),
        ("a target of 100 kB", get("GET {id}/" + "a" * 100_000 + " HTTP/1.1")),
    )
    yield from refused(
        "9112-3.2.2",
        ("absolute form with another Host", get("GET http://b{id} HTTP/1.1")),
        ("absolute form with another port", get("GET http://a:81{id} HTTP/1.1")),
        ("absolute form without Host", get("GET http://a{id} HTTP/1.1", "")),
        ("absolute form without an authority", get("GET http://{id} HTTP/1.1", "Host:\r\n")),
        ("absolute form with a user", get("GET http://u@a{id} HTTP/1.1")),
        ("absolute form with user and password", get("GET http://u:p@a{id} HTTP/1.1")),
        ("absolute form of another scheme", get("GET ftp://a{id} HTTP/1.1")),
        ("absolute form with a backslash", get("GET http://a\\@b{id} HTTP/1.1")),
        ("absolute form with one slash", get("GET http:/a{id} HTTP/1.1")),
        ("absolute form with a port beyond 65535", get("GET http://a:99999{id} HTTP/1.1", "Host: a:99999\r\n")),
    )
    yield from refused(
        "9110-9.3.6",
        ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        ("CONNECT of a path", get("CONNECT {id} HTTP/1.1")),
    )
    yield from refused(
        "9112-2.2",
        ("LF alone after the request line", "GET {id} HTTP/1.1\nHost: a\r\n\r\n"),
        ("LF alone after a field", "GET {id} HTTP/1.1\r\nHost: a\n\r\n"),
        ("LF alone at the end", "GET {id} HTTP/1.1\r\nHost: a\r\n\n"),
        ("LF alone everywhere", "GET {id} HTTP/1.1\nHost: a\n\n"),
        ("CR alone after the request line", "GET {id} HTTP/1.1\rHost: a\r\n\r\n"),
        ("CR alone after a field", "GET {id} HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
        ("CR CR LF", "GET {id} HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        ("LF CR", "GET {id} HTTP/1.1\n\rHost: a\n\r\n\r"),
        ("space before the first field", "GET {id} HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("LF alone before the request", "\n" + get()),
        ("NUL bytes before the request", "\x00\x00" + get()),
        ("a byte order mark before the request", b"\xef\xbb\xbf" + get().encode()),
    )


def hosts() -> Iterator[Request]:
    yield from served(
        "9112-3.2",
        ("a name", get(host="Host: www.example.org\r\n")),
        ("a name in capitals", get(host="HOST: WWW.EXAMPLE.ORG\r\n")),
        ("a port", get(host="Host: a:8080\r\n")),
        ("a colon without a port", get(host="Host: a:\r\n")),
        ("an IPv4 address", get(host="Host: 192.0.2.1:80\r\n")),
        ("an IPv6 address", get(host="Host: [2001:db8::1]:80\r\n")),
        ("an IPv6 address without a port", get(host="Host: [::1]\r\n")),
        ("an empty field", get(host="Host:\r\n")),
        ("an underscore", get(host="Host: a_b\r\n")),
        ("space around it", get(host="Host: \t a \t\r\n")),
        ("no space before it", get(host="Host:a\r\n")),
    )
    yield from refused(
        "9112-3.2",
        ("no Host", get(host="")),
        ("two of them", get(host="Host: a\r\nHost: b\r\n")),
        ("two equal ones", get(host="Host: a\r\nHost: a\r\n")),
        ("two in different cases", get(host="Host: a\r\nhOST: b\r\n")),
        ("two in HTTP/1.0", get("GET {id} HTTP/1.0", "Host: a\r\nHost: b\r\n")),
        ("a list", get(host="Host: a, b\r\n")),
        ("a space within", get(host="Host: a b\r\n")),
        ("a path", get(host="Host: a/b\r\n")),
        ("a query", get(host="Host: a?b\r\n")),
        ("a fragment", get(host="Host: a#b\r\n")),
        ("a user", get(host="Host: u@a\r\n")),
        ("a URL", get(host="Host: http://a\r\n")),
        ("a port in letters", get(host="Host: a:http\r\n")),
        ("a negative port", get(host="Host: a:-1\r\n")),
        ("two ports", get(host="Host: a:80:90\r\n")),
        ("a port beyond 65535", get(host="Host: a:65536\r\n")),
        ("an open bracket", get(host="Host: [::1\r\n")),
        ("a closed one", get(host="Host: ::1]\r\n")),
        ("IPv6 without brackets", get(host="Host: 2001:db8::1\r\n")),
        ("a name in brackets", get(host="Host: [a]\r\n")),
        ("something after the bracket", get(host="Host: [::1]a\r\n")),
        ("quotes", get(host='Host: "a"\r\n')),
        ("a backslash", get(host="Host: a\\b\r\n")),
        ("angle brackets", get(host="Host: <a>\r\n")),
        ("a broken percent-encoding", get(host="Host: a%zz\r\n")),
        ("a byte beyond ASCII", get(host="Host: \xe9\r\n")),
        ("a tab within", get(host="Host: a\tb\r\n")),
        ("a name of 1000 bytes", get(host="Host: " + "a" * 1000 + "\r\n")),
    )


def field_lines() -> Iterator[Request]:
    yield from served(
        "9112-5",
        ("an empty value", with_field("X:\r\n")),
        ("a value of spaces", with_field("X:   \t \r\n")),
        ("a tab within a value", with_field("X: a\tb\r\n")),
        ("all visible characters", with_field("X: " + "".join(map(chr, range(0x21, 0x7F))) + "\r\n")),
        ("obs-text", with_field("X: \xe9\xff\r\n")),
        ("all token characters in a name", with_field("!#$%&'*+-.^_`|~09azAZ: b\r\n")),
        ("a colon in a value", with_field("X: a:b:c\r\n")),
        ("a name in capitals", with_field("X-CAPITALS: b\r\n")),
        ("the same field twice", with_field("X: a\r\nX: b\r\n")),
        ("fifty fields", with_field("".join(f"X-{n}: a\r\n" for n in range(50)))),
        ("a value of 4000 bytes", with_field("X: " + "a" * 4000 + "\r\n")),
        ("a numeric name", with_field("1: a\r\n")),
    )
    yield from served(
        "9110-7.6.1",
        ("Connection with options", with_field("Connection: close, x-a\r\nX-A: b\r\n")),
        ("Connection with empty elements", with_field("Connection: , keep-alive,,\r\n")),
        ("TE", with_field("TE: trailers\r\nConnection: TE\r\n")),
        ("an unknown upgrade", with_field("Connection: upgrade\r\nUpgrade: x/1\r\n")),
        ("Max-Forwards", with_field("Max-Forwards: 9\r\n")),
    )
    yield from refused(
        "9112-5.1",
        ("space before the colon", with_field("X : a\r\n")),
        ("a tab before the colon", with_field("X\t: a\r\n")),
        ("space before the colon of Host", get(host="Host : a\r\n")),
        ("no name", with_field(": a\r\n")),
        ("only spaces as a name", with_field(" : a\r\n")),
        ("no colon", with_field("X\r\n")),
        ("no colon, with spaces", with_field("X a\r\n")),
        ("space within the name", with_field("X Y: a\r\n")),
        ("a name in brackets", with_field("[X]: a\r\n")),
        ("a slash in the name", with_field("X/Y: a\r\n")),
        ("an at sign in the name", with_field("X@Y: a\r\n")),
        ("quotes in the name", with_field('"X": a\r\n')),
        ("a byte beyond ASCII in the name", with_field("X\xe9: a\r\n")),
        ("NUL in the name", with_field("X\x00: a\r\n")),
        ("a control character in the name", with_field("\x0bX: a\r\n")),
        ("a comma in the name", with_field("X,Y: a\r\n")),
        ("a semicolon in the name", with_field("X;Y: a\r\n")),
        ("an equals sign in the name", with_field("X=Y: a\r\n")),
        ("a backslash in the name", with_field("X\\Y: a\r\n")),
    )
    yield from refused(
        "9112-5.2",
        ("a folded field", with_field("X: a\r\n b\r\n")),
        ("folded with a tab", with_field("X: a\r\n\tb\r\n")),
        ("folded to an empty line", with_field("X: a\r\n \r\n")),
        ("a folded Content-Length", post("Content-Length:\r\n 3", "abc")),
        ("a folded Transfer-Encoding", post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n")),
    )
    yield from refused(
        "9110-5.5",
        ("NUL in a value", with_field("X: a\x00b\r\n")),
        ("NUL at the end of a value", with_field("X: a\x00\r\n")),
        ("CR in a value", with_field("X: a\rb\r\n")),
        ("CR at the end of a value", with_field("X: a\r\r\n")),
        ("a vertical tab in a value", with_field("X: a\x0bb\r\n")),
        ("a form feed in a value", with_field("X: a\x0cb\r\n")),
        ("an escape in a value", with_field("X: \x1b[0m\r\n")),
        ("a backspace in a value", with_field("X: a\x08\r\n")),
        ("DEL in a value", with_field("X: a\x7f\r\n")),
        ("0x01 in a value", with_field("X: \x01\r\n")),
        ("0x1f in a value", with_field("X: a\x1fb\r\n")),
    )
    yield from refused(
        "9110-5.4",
        ("fields of 200 kB", with_field("X: " + "a" * 200_000 + "\r\n")),
        ("two thousand fields", with_field("".join(f"X-{n}: a\r\n" for n in range(2000)))),
    )
    yield from refused(
        "9110-10.1.1",
        ("an unknown expectation", with_field("Expect: miracles\r\n")),
    )


def lengths() -> Iterator[Request]:
    yield from served(
        "9112-6.2",
        ("no body", post("Content-Length: 0", "")),
        ("three bytes", post("Content-Length: 3", "abc"), (b"abc",)),
        ("leading zeros", post("Content-Length: 0003", "abc"), (b"abc",)),
        ("space around the number", post("Content-Length: \t3 ", "abc"), (b"abc",)),
        ("a name in capitals", post("CONTENT-LENGTH: 3", "abc"), (b"abc",)),
        ("a body of CRLF", post("Content-Length: 4", "\r\n\r\n"), (b"\r\n\r\n",)),
        ("a body that looks like a request", post("Content-Length: 10", "GET / HTTP"), (b"GET / HTTP",)),
        ("a GET with a body", "GET {id} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", (b"abc",)),
        ("HTTP/1.0 with a body", "POST {id} HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", (b"abc",)),
        ("a POST without a length has no body", "POST {id} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("100 kB", post("Content-Length: 100000", "x" * 100_000), (b"x" * 100_000,)),
    )
    yield from refused(
        "9112-6.3",
        ("a sign", post("Content-Length: +3", "abc")),
        ("a negative length", post("Content-Length: -3", "abc")),
        ("a fraction", post("Content-Length: 3.0", "abc")),
        ("an exponent", post("Content-Length: 3e0", "abc")),
        ("hexadecimal", post("Content-Length: 0x3", "abc")),
        ("letters", post("Content-Length: three", "abc")),
        ("nothing", post("Content-Length:", "abc")),
        ("space within", post("Content-Length: 3 3", "abc")),
        ("a tab within", post("Content-Length: 3\t0", "abc")),
        ("a list of equal numbers", post("Content-Length: 3, 3", "abc")),
        ("a list of different numbers", post("Content-Length: 3, 4", "abcd")),
        ("a list with an empty element", post("Content-Length: 3,", "abc")),
        ("a semicolon", post("Content-Length: 3;", "abc")),
        ("quotes", post('Content-Length: "3"', "abc")),
        ("an underscore in the number", post("Content-Length: 1_0", "0123456789")),
        ("a digit beyond ASCII", post("Content-Length: \xb3", "abc")),
        ("an apostrophe", post("Content-Length: 3'", "abc")),
        ("two fields with different numbers", post("Content-Length: 3\r\nContent-Length: 5", "abcde")),
        ("the smaller number last", post("Content-Length: 5\r\nContent-Length: 3", "abcde")),
        ("two fields in different cases", post("content-length: 3\r\nCONTENT-LENGTH: 4", "abcd")),
        ("a number beyond 64 bits", post("Content-Length: 18446744073709551619", "abc")),
        ("a number beyond 128 bits", post("Content-Length: 340282366920938463463374607431768211459", "abc")),
        ("space before the colon", post("Content-Length : 3", "abc")),
        ("NUL after the number", post("Content-Length: 3\x00", "abc")),
        ("a vertical tab before the number", post("Content-Length: \x0b3", "abc")),
        ("a GET with two lengths", f"GET {{id}} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}"),
    )


def codings() -> Iterator[Request]:
    yield from served(
        "9112-6.1",
        ("chunked", chunks("3\r\nabc\r\n0\r\n\r\n"), (b"abc",)),
        ("Chunked in other letters", post("Transfer-Encoding: ChUnKeD", "3\r\nabc\r\n0\r\n\r\n"), (b"abc",)),
        ("space around it", post("Transfer-Encoding: \t chunked \t", "3\r\nabc\r\n0\r\n\r\n"), (b"abc",)),
        ("no space before it", post("Transfer-Encoding:chunked", "3\r\nabc\r\n0\r\n\r\n"), (b"abc",)),
        ("no chunk but the last", chunks("0\r\n\r\n")),
        ("a GET with chunks", "GET {id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", (b"a",)),
    )
    for name, fields in (
        ("length, then chunked", "Content-Length: 3\r\nTransfer-Encoding: chunked"),
        ("chunked, then length", "Transfer-Encoding: chunked\r\nContent-Length: 3"),
        ("a length of 0 beside chunked", "Content-Length: 0\r\nTransfer-Encoding: chunked"),
        ("chunked twice", "Transfer-Encoding: chunked, chunked"),
        ("chunked in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("chunked and identity in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("identity and chunked in two fields", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        ("identity", "Transfer-Encoding: identity"),
        ("identity beside a length", "Transfer-Encoding: identity\r\nContent-Length: 5"),
        ("chunked not last", "Transfer-Encoding: chunked, identity"),
        ("chunked before gzip", "Transfer-Encoding: chunked, gzip"),
        ("gzip alone", "Transfer-Encoding: gzip"),
        ("an unknown coding", "Transfer-Encoding: xchunked"),
        ("a coding that begins like chunked", "Transfer-Encoding: chunkedx"),
        ("a parameter", "Transfer-Encoding: chunked;q=1"),
        ("quotes", 'Transfer-Encoding: "chunked"'),
        ("an empty field", "Transfer-Encoding:"),
        ("an empty field beside a length", "Transfer-Encoding:\r\nContent-Length: 5"),
        ("a vertical tab before it", "Transfer-Encoding: \x0bchunked"),
        ("a NUL after it", "Transfer-Encoding: chunked\x00"),
        ("space before the colon", "Transfer-Encoding : chunked"),
        ("a tab before the colon", "Transfer-Encoding\t: chunked"),
        ("space before the name", " Transfer-Encoding: chunked"),
        ("space before the colon, beside a length", "Transfer-Encoding : chunked\r\nContent-Length: 5"),
        ("LF alone before it", "X: a\nTransfer-Encoding: chunked"),
        ("CR alone before it", "X: a\rTransfer-Encoding: chunked"),
        ("a byte beyond ASCII in it", "Transfer-Encoding: chun\xe9ked"),
        ("space within it", "Transfer-Encoding: chu nked"),
        ("an unknown coding beside a length", "Transfer-Encoding: x\r\nContent-Length: 5"),
        ("a coding that nobody here understands", "Transfer-Encoding: x, chunked"),
    ):
        yield from refused("9112-6.1", (name, post(fields, f"0\r\n\r\n{HIDDEN}")))
    yield from refused(
        "9112-6.1",
        ("chunked in HTTP/1.0", "POST {id} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            "chunked in HTTP/1.0 beside a length",
            "POST {id} HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    )


def chunked_bodies() -> Iterator[Request]:
    yield from served(
        "9112-7.1",
        ("many chunks", chunks("1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"), (b"abcdef",)),
        ("sizes in capitals", chunks("A\r\n0123456789\r\n0\r\n\r\n"), (b"0123456789",)),
        ("sizes in small letters", chunks("a\r\n0123456789\r\n0\r\n\r\n"), (b"0123456789",)),
        ("leading zeros", chunks("0003\r\nabc\r\n0\r\n\r\n"), (b"abc",)),
        ("the last chunk with more zeros", chunks("3\r\nabc\r\n000\r\n\r\n"), (b"abc",)),
        ("CRLF in a chunk", chunks("4\r\n\r\n\r\n\r\n0\r\n\r\n"), (b"\r\n\r\n",)),
        ("a chunk of 70 kB", chunks(f"{70_000:x}\r\n{'y' * 70_000}\r\n0\r\n\r\n"), (b"y" * 70_000,)),
    )
    yield from served(
        "9112-7.1.1",
        ("an extension", chunks("3;a\r\nabc\r\n0\r\n\r\n"), (b"abc",)),
        ("an extension with a value", chunks("3;a=b\r\nabc\r\n0;c=d\r\n\r\n"), (b"abc",)),
        ("an extension in quotes", chunks('3;a="b;c d"\r\nabc\r\n0\r\n\r\n'), (b"abc",)),
        ("two extensions", chunks("3;a;b=c\r\nabc\r\n0\r\n\r\n"), (b"abc",)),
    )
    yield from served(
        "9112-7.1.2",
        ("a trailer", chunks("3\r\nabc\r\n0\r\nX: y\r\n\r\n"), (b"abc",)),
        ("two trailers", chunks("3\r\nabc\r\n0\r\nX: y\r\nZ:\r\n\r\n"), (b"abc",)),
    )
    for name, body in (
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("letters for a size", "xyz\r\nabc\r\n0\r\n\r\n"),
        ("0x before the size", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a plus sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a minus sign", "-3\r\nabc\r\n0\r\n\r\n"),
        ("an underscore", "0_3\r\nabc\r\n0\r\n\r\n"),
        ("space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
        ("a tab before the size", "\t3\r\nabc\r\n0\r\n\r\n"),
        ("NUL after the size", "3\x00\r\nabc\r\n0\r\n\r\n"),
        ("a vertical tab after the size", "3\x0b\r\nabc\r\n0\r\n\r\n"),
        ("a word after the size", "3 x\r\nabc\r\n0\r\n\r\n"),
        ("a fraction", "3.0\r\nabc\r\n0\r\n\r\n"),
        ("LF alone after the size", "3\nabc\r\n0\r\n\r\n"),
        ("LF alone after the last size", "3\r\nabc\r\n0\n\r\n"),
        ("CR alone after the size", "3\rabc\r\n0\r\n\r\n"),
        ("LF alone after the data", "3\r\nabc\n0\r\n\r\n"),
        ("CR alone after the data", "3\r\nabc\r0\r\n\r\n"),
        ("other bytes after the data", "3\r\nabcXX0\r\n\r\n"),
        ("nothing after the data", "3\r\nabc0\r\n\r\n"),
        ("too much data", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("too little data", "5\r\nabc\r\n0\r\n\r\n"),
        ("a size beyond 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("a size of 17 digits f", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("a size that wraps at 32 bits and is cut", "100000000\r\nabc\r\n0\r\n\r\n"),
        ("NUL in an extension", "3;a\x00\r\nabc\r\n0\r\n\r\n"),
        ("LF alone after an extension", "3;a\nabc\r\n0\r\n\r\n"),
        ("LF alone within an extension", "3;a\nxx\r\nabc\r\n0\r\n\r\n"),
        ("CR alone within an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("an extension of 100 kB", "3;" + "a" * 100_000 + "\r\nabc\r\n0\r\n\r\n"),
        ("LF alone after the last chunk", "3\r\nabc\r\n0\r\n\n"),
        ("a trailer without a colon", "3\r\nabc\r\n0\r\nX\r\n\r\n"),
        ("a trailer without a name", "3\r\nabc\r\n0\r\n: y\r\n\r\n"),
        ("a trailer with space before its colon", "3\r\nabc\r\n0\r\nX : y\r\n\r\n"),
        ("a folded trailer", "3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n"),
        ("NUL in a trailer", "3\r\nabc\r\n0\r\nX: \x00\r\n\r\n"),
        ("LF alone after a trailer", "3\r\nabc\r\n0\r\nX: y\n\r\n"),
        ("trailers of 200 kB", "3\r\nabc\r\n0\r\nX: " + "y" * 200_000 + "\r\n\r\n"),
    ):
        yield from refused("9112-7.1", (name, chunks(body)))


def connections() -> Iterator[Request]:
    one, other = "GET {id}/0 HTTP/1.1\r\nHost: a\r\n\r\n", "GET {id}/1 HTTP/1.1\r\nHost: a\r\n\r\n"
    body = "POST {id}/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    chunk = "POST {id}/0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    yield from served(
        "9112-9.3.2",
        ("two requests at once", one + other, (b"", b"")),
        ("a body, then a request", body + other, (b"abc", b"")),
        ("chunks, then a request", chunk + other, (b"abc", b"")),
        ("an empty line between two", body + "\r\n" + other, (b"abc", b"")),
        ("three at once", one + body + other, (b"", b"abc", b"")),
    )
    yield from served(
        "9110-10.1.1",
        (
            "Expect: 100-continue, and the body at once",
            post("Content-Length: 3\r\nExpect: 100-continue", "abc"),
            (b"abc",),
        ),
    )


def requests() -> list[Request]:
    groups = (request_lines, hosts, field_lines, lengths, codings, chunked_bodies, connections)
    return [case for group in groups for case in group()]


def ok(fields: str, body: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}".encode("latin-1")


SECOND = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"


def responses() -> list[Response]:
    def case(section: str, name: str, raw: bytes, body: bytes | None, method: str = "GET") -> Response:
        return Response(section, name, raw, body, method)

    return [
        case("9112-6.3", "a length", ok("Content-Length: 3", "abc"), b"abc"),
        case("9112-6.3", "no length: to the end", ok("Connection: close", "abc"), b"abc"),
        case("9112-7.1", "chunks", ok("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"), b"abc"),
        case("9112-7.1", "chunks and a trailer", ok("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\nX: y\r\n\r\n"), b"abc"),
        case("9112-4", "no reason phrase", b"HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        case("9112-4", "HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        case("9110-15.2", "103 first", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok("Content-Length: 3", "abc"), b"abc"),
        case("9110-9.3.2", "HEAD with a length", ok("Content-Length: 3"), b"", "HEAD"),
        case("9112-6.3", "more than its length", ok("Content-Length: 3", "abc" + SECOND), b"abc"),
        case("9112-6.3", "less than its length", ok("Content-Length: 9", "abc"), None),
        case("9112-6.3", "two different lengths", ok("Content-Length: 3\r\nContent-Length: 9", "abcdefghi"), None),
        case("9112-6.3", "a negative length", ok("Content-Length: -3", "abc"), None),
        case("9112-6.3", "a length with a sign", ok("Content-Length: +3", "abc"), None),
        case("9112-6.3", "a length in letters", ok("Content-Length: x", "abc"), None),
        case("9112-6.3", "a length beyond 64 bits", ok("Content-Length: 18446744073709551619", "abc"), None),
        case("9112-6.1", "an unknown coding", ok("Transfer-Encoding: xchunked", "3\r\nabc\r\n0\r\n\r\n"), None),
        case("9112-6.1", "chunked, not last", ok("Transfer-Encoding: chunked, identity", "3\r\nabc\r\n0\r\n\r\n"), None),
        case("9112-6.1", "chunked twice", ok("Transfer-Encoding: chunked, chunked", "3\r\nabc\r\n0\r\n\r\n"), None),
        case("9112-7.1", "a chunk size in letters", ok("Transfer-Encoding: chunked", "x\r\nabc\r\n0\r\n\r\n"), None),
        case("9112-7.1", "a chunk that is too long", ok("Transfer-Encoding: chunked", "3\r\nabcdef\r\n0\r\n\r\n"), None),
        case("9112-7.1", "a chunk size beyond 64 bits", ok("Transfer-Encoding: chunked", "10000000000000003\r\nabc\r\n0\r\n\r\n"), None),
        case("9112-7.1", "chunks without an end", ok("Transfer-Encoding: chunked", "3\r\nabc\r\n"), None),
        case("9112-5.1", "space before a colon", ok("X : a\r\nContent-Length: 3", "abc"), None),
        case("9112-5", "NUL in a field", ok("X: a\x00\r\nContent-Length: 3", "abc"), None),
        case("9112-5", "CR in a field", ok("X: a\rSet-Cookie: b\r\nContent-Length: 3", "abc"), None),
        case("9112-5", "a field without a colon", ok("X\r\nContent-Length: 3", "abc"), None),
        case("9112-4", "no status", b"HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", None),
        case("9112-4", "a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc", None),
        case("9112-4", "a status in letters", b"HTTP/1.1 abc OK\r\nContent-Length: 3\r\n\r\nabc", None),
        case("9112-4", "garbage", b"\x00\x01\x02\x03\r\n\r\n", None),
        case("9112-4", "another protocol", b"SSH-2.0-OpenSSH\r\n\r\n", None),
        case("9112-4", "nothing", b"", None),
        case("9112-4", "half a head", b"HTTP/1.1 200 OK\r\nContent-Le", None),
        case("9110-15.2.2", "101 that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", None),
        case("9110-5.4", "fields of 2 MB", ok("X: " + "a" * 2_000_000 + "\r\nContent-Length: 3", "abc"), None),
    ]
