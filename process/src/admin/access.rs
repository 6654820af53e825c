//! Who may change something. Decided on values: method, headers, token.

use axum::http::{HeaderMap, Method, StatusCode, header, uri::Authority};

use crate::TokenFile;

/// Why a request was turned away. Each has one status and one line that says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this request came from another site")]
    CrossSite,
    #[error(
        "a browser may only post here by address or as localhost while no token is set: use http://127.0.0.1 or set --token-file"
    )]
    Rebound,
    #[error("a token is needed: send Authorization: Bearer TOKEN")]
    NoToken,
    #[error("the token is wrong")]
    WrongToken,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::CrossSite | Self::Rebound | Self::WrongToken => StatusCode::FORBIDDEN,
        }
    }
}

/// Reading is open to whoever reaches the port: scrapers and probes have no token. Everything else must come from
/// the dashboard itself or from no browser at all, and with the token if there is one.
pub(super) fn judge(method: &Method, headers: &HeaderMap, token: Option<&TokenFile>) -> Result<(), Refusal> {
    if *method == Method::GET || *method == Method::HEAD {
        return Ok(());
    }
    same_site(headers)?;
    match token {
        Some(token) => bearer(headers, token),
        None => not_rebound(headers),
    }
}

/// Browsers say where a request came from, programs say nothing: a page of another site can make an operator's
/// browser post here, but not without one of these headers.
fn same_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let fetch_site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    if !matches!(fetch_site, None | Some(b"same-origin" | b"none")) {
        return Err(Refusal::CrossSite);
    }
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(_) if origin(headers).is_some_and(|origin| Some(origin) == host(headers)) => Ok(()),
        Some(_) => Err(Refusal::CrossSite),
    }
}

/// DNS rebinding: a page of evil.example whose name now resolves to this machine is of the *same* origin. It can
/// neither know a token nor choose the host it names, so without a token only hosts that no DNS answers for pass.
fn not_rebound(headers: &HeaderMap) -> Result<(), Refusal> {
    let from_browser = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    let local = || host(headers).is_some_and(|(host, _)| is_address_or_localhost(&host));
    if from_browser && !local() { Err(Refusal::Rebound) } else { Ok(()) }
}

fn is_address_or_localhost(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare == "localhost" || bare.ends_with(".localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

/// RFC 6750, 2.1: `Authorization: Bearer TOKEN`; RFC 9110, 11.1: the scheme's case does not matter.
fn bearer(headers: &HeaderMap, token: &TokenFile) -> Result<(), Refusal> {
    let presented = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(Refusal::NoToken)?;
    if token.matches(presented) { Ok(()) } else { Err(Refusal::WrongToken) }
}

type HostPort = (String, Option<u16>);

/// `None` for `null`, which a sandboxed page sends, and for what is no origin.
fn origin(headers: &HeaderMap) -> Option<HostPort> {
    let text = headers.get(header::ORIGIN)?.to_str().ok()?;
    let (scheme, authority) = text.split_once("://")?;
    let (host, port) = host_port(authority)?;
    let default = if scheme == "https" { 443 } else { 80 };
    Some((host, port.filter(|port| *port != default)))
}

fn host(headers: &HeaderMap) -> Option<HostPort> {
    host_port(headers.get(header::HOST)?.to_str().ok()?)
}

fn host_port(authority: &str) -> Option<HostPort> {
    let authority: Authority = authority.parse().ok()?;
    Some((authority.host().to_ascii_lowercase(), authority.port_u16()))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn token() -> (tempfile::TempDir, TokenFile) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("token");
        std::fs::write(&path, "s3cret").expect("a token file");
        (dir, TokenFile::open(path).expect("a usable token"))
    }

    #[test]
    fn a_token_is_asked_for_what_changes_something() {
        let (_dir, token) = token();
        for (case, method, authorization, judged) in [
            ("reading is open", Method::GET, None, Ok(())),
            ("so is asking for the head", Method::HEAD, None, Ok(())),
            ("no token", Method::POST, None, Err(Refusal::NoToken)),
            ("right token", Method::POST, Some("Bearer s3cret"), Ok(())),
            ("scheme in any case", Method::POST, Some("bearer s3cret"), Ok(())),
            ("wrong token", Method::POST, Some("Bearer secret"), Err(Refusal::WrongToken)),
            ("empty token", Method::POST, Some("Bearer "), Err(Refusal::WrongToken)),
            ("another scheme", Method::POST, Some("Basic s3cret"), Err(Refusal::NoToken)),
            ("no scheme", Method::POST, Some("s3cret"), Err(Refusal::NoToken)),
            ("preflight", Method::OPTIONS, None, Err(Refusal::NoToken)),
            ("another method", Method::DELETE, None, Err(Refusal::NoToken)),
        ] {
            let list: Vec<_> = authorization.into_iter().map(|value| ("authorization", value)).collect();
            assert_eq!(judge(&method, &headers(&list), Some(&token)), judged, "{case}");
        }
    }

    #[test]
    fn posts_of_another_site_are_refused_even_with_the_token() {
        let (_dir, token) = token();
        let fetch = "sec-fetch-site";
        for (case, site, judged) in [
            ("no browser", vec![], Ok(())),
            ("own page", vec![(fetch, "same-origin"), ("origin", "http://lb:9900")], Ok(())),
            ("typed by the user", vec![(fetch, "none")], Ok(())),
            ("other site", vec![(fetch, "cross-site")], Err(Refusal::CrossSite)),
            ("sister host", vec![(fetch, "same-site")], Err(Refusal::CrossSite)),
            ("case of the name", vec![("origin", "http://LB:9900")], Ok(())),
            ("other host", vec![("origin", "http://evil:9900")], Err(Refusal::CrossSite)),
            ("other port", vec![("origin", "http://lb:8080")], Err(Refusal::CrossSite)),
            ("default port", vec![("origin", "http://lb")], Err(Refusal::CrossSite)),
            ("opaque", vec![("origin", "null")], Err(Refusal::CrossSite)),
            ("longer name", vec![("origin", "http://lb:9900.evil")], Err(Refusal::CrossSite)),
            ("user part", vec![("origin", "http://lb:9900@evil")], Err(Refusal::CrossSite)),
        ] {
            let mut list = vec![("host", "lb:9900"), ("authorization", "Bearer s3cret")];
            list.extend(site);
            assert_eq!(judge(&Method::POST, &headers(&list), Some(&token)), judged, "{case}");
        }
    }

    #[test]
    fn without_a_token_a_browser_must_name_this_machine() {
        for (host, origin, judged) in [
            ("127.0.0.1:9900", "http://127.0.0.1:9900", Ok(())),
            ("[::1]:9900", "http://[::1]:9900", Ok(())),
            ("localhost:9900", "http://localhost:9900", Ok(())),
            ("evil.example:9900", "http://evil.example:9900", Err(Refusal::Rebound)),
        ] {
            let list = headers(&[("host", host), ("origin", origin)]);
            assert_eq!(judge(&Method::POST, &list, None), judged, "{host}");
        }
        let program = headers(&[("host", "balancer.internal:9900")]);
        assert_eq!(judge(&Method::POST, &program, None), Ok(()), "an agent is no browser");
    }

    #[test]
    fn the_default_port_may_be_left_out() {
        let list = headers(&[("host", "lb.example"), ("origin", "https://lb.example:443")]);
        assert_eq!(same_site(&list), Ok(()));
    }
}
