//! Who may change something. Decided on values: method, headers, certificate, token.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode, header, uri::Authority};
use prometheus::{IntCounterVec, Registry};

use crate::{TokenFile, metrics::counters};

/// What is asked of those who want to change something. What is configured is needed: with both, both.
#[derive(Clone)]
pub struct Access {
    token: Option<Arc<TokenFile>>,
    /// Whether a certificate is needed of one of the authorities that the server knows.
    certificates: bool,
    refused: IntCounterVec,
}

/// Why a request was turned away. Each has one status, one metric label and one line that says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this request came from another site")]
    CrossSite,
    #[error(
        "a browser may only come here by address or as localhost while neither a token nor client certificates are \
         asked for: use http://127.0.0.1 or set --token-file"
    )]
    Rebound,
    #[error("a form of a web page can send this content type: send application/json")]
    Form,
    #[error("a client certificate is needed: show one of an authority in client-ca")]
    NoCertificate,
    #[error("a token is needed: send Authorization: Bearer TOKEN")]
    NoToken,
    #[error("the token is wrong")]
    WrongToken,
}

impl Refusal {
    const ALL: [Self; 6] =
        [Self::CrossSite, Self::Rebound, Self::Form, Self::NoCertificate, Self::NoToken, Self::WrongToken];

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::Form => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::CrossSite | Self::Rebound | Self::NoCertificate | Self::WrongToken => StatusCode::FORBIDDEN,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::CrossSite => "cross_site",
            Self::Rebound => "foreign_host",
            Self::Form => "form",
            Self::NoCertificate => "no_certificate",
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
        }
    }
}

impl Access {
    /// # Panics
    /// If called twice for one registry.
    pub fn register(registry: &Registry, token: Option<Arc<TokenFile>>, certificates: bool) -> Self {
        let refused = counters(
            registry,
            "sluice_admin_refused_total",
            "Admin requests that were turned away. no_token, wrong_token, no_certificate: whose is it? cross_site, foreign_host, form: a web page tries an operator's browser.",
            &["reason"],
        );
        for refusal in Refusal::ALL {
            refused.with_label_values(&[refusal.label()]);
        }
        Self { token, certificates, refused }
    }

    /// Reading is open to whoever reaches the port, as scrapers and probes have no token, but not to pages of other
    /// sites. Everything else must come from the dashboard itself or from no browser at all, and with certificate and
    /// token where these are asked for.
    pub(super) fn judge(&self, method: &Method, headers: &HeaderMap, certified: bool) -> Result<(), Refusal> {
        let closed = self.token.is_some() || self.certificates;
        if !closed {
            not_rebound(headers)?;
        }
        if *method == Method::GET || *method == Method::HEAD {
            return not_embedded(headers);
        }
        same_site(headers)?;
        no_form(headers)?;
        if self.certificates && !certified {
            return Err(Refusal::NoCertificate);
        }
        self.token.as_ref().map_or(Ok(()), |token| bearer(headers, token))
    }

    pub(super) fn count(&self, refusal: Refusal) {
        self.refused.with_label_values(&[refusal.label()]).inc();
    }
}

fn fetch_site(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get("sec-fetch-site").map(|value| value.as_bytes())
}

/// A page of another site may link here, but not load anything from here: neither script nor picture, whose size or
/// failure could tell it something.
fn not_embedded(headers: &HeaderMap) -> Result<(), Refusal> {
    let foreign = !matches!(fetch_site(headers), None | Some(b"same-origin" | b"none"));
    let navigates = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    if foreign && !navigates { Err(Refusal::CrossSite) } else { Ok(()) }
}

/// Content types that a form sends without a browser asking first, of those in which JSON can be hidden. No program
/// sends them here.
fn no_form(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is_form =
        [&b"text/plain"[..], b"multipart/form-data"].iter().any(|form| kind.eq_ignore_ascii_case(form));
    if is_form { Err(Refusal::Form) } else { Ok(()) }
}

/// Browsers say where a request came from, programs say nothing: a page of another site can make an operator's
/// browser post here, but not without one of these headers.
fn same_site(headers: &HeaderMap) -> Result<(), Refusal> {
    if !matches!(fetch_site(headers), None | Some(b"same-origin" | b"none")) {
        return Err(Refusal::CrossSite);
    }
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(_) if origin(headers).is_some_and(|origin| Some(origin) == host(headers)) => Ok(()),
        Some(_) => Err(Refusal::CrossSite),
    }
}

/// DNS rebinding: a page of evil.example whose name now resolves to this machine is of the *same* origin. It can
/// neither know a token nor choose the host it names, so where nothing is asked for only hosts that no DNS answers for
/// pass. (Over TLS its name would not be that of the certificate.)
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

    fn access(token: Option<TokenFile>, certificates: bool) -> Access {
        Access::register(&Registry::new(), token.map(Arc::new), certificates)
    }

    #[test]
    fn a_token_is_asked_for_what_changes_something() {
        let (_dir, token) = token();
        let access = access(Some(token), false);
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
            assert_eq!(access.judge(&method, &headers(&list), false), judged, "{case}");
        }
    }

    #[test]
    fn posts_of_another_site_are_refused_even_with_the_token() {
        let (_dir, token) = token();
        let access = access(Some(token), false);
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
            assert_eq!(access.judge(&Method::POST, &headers(&list), false), judged, "{case}");
        }
    }

    #[test]
    fn certificate_and_token_are_needed_where_they_are_asked_for() {
        let (_dir, token) = token();
        let bearer = headers(&[("authorization", "Bearer s3cret")]);
        let none = HeaderMap::new();
        let only_certificates = access(None, true);
        let both = access(Some(token), true);
        for (case, access, headers, certified, judged) in [
            ("shown", &only_certificates, &none, true, Ok(())),
            ("not shown", &only_certificates, &none, false, Err(Refusal::NoCertificate)),
            ("a token instead", &only_certificates, &bearer, false, Err(Refusal::NoCertificate)),
            ("both", &both, &bearer, true, Ok(())),
            ("no token", &both, &none, true, Err(Refusal::NoToken)),
            ("no certificate", &both, &bearer, false, Err(Refusal::NoCertificate)),
        ] {
            assert_eq!(access.judge(&Method::POST, headers, certified), judged, "{case}");
            assert_eq!(access.judge(&Method::GET, headers, certified), Ok(()), "{case}: reading is open");
        }
    }

    /// A page of evil.example whose name now leads here reads nothing either.
    #[test]
    fn where_nothing_is_asked_for_a_browser_must_name_this_machine() {
        let open = access(None, false);
        for (host, judged) in [
            ("127.0.0.1:9900", Ok(())),
            ("[::1]:9900", Ok(())),
            ("localhost:9900", Ok(())),
            ("evil.example:9900", Err(Refusal::Rebound)),
        ] {
            let origin: &'static str = format!("http://{host}").leak();
            let list = headers(&[("host", host), ("origin", origin), ("sec-fetch-site", "same-origin")]);
            assert_eq!(open.judge(&Method::POST, &list, false), judged, "{host}");
            assert_eq!(open.judge(&Method::GET, &list, false), judged, "{host}");
        }
        let program = headers(&[("host", "balancer.internal:9900")]);
        assert_eq!(open.judge(&Method::POST, &program, false), Ok(()), "an agent is no browser");
        let (_dir, token) = token();
        let named = headers(&[("host", "lb.example"), ("sec-fetch-site", "same-origin")]);
        assert_eq!(
            access(Some(token), false).judge(&Method::GET, &named, false),
            Ok(()),
            "an operator's name"
        );
    }

    #[test]
    fn other_sites_may_link_here_and_load_nothing() {
        let open = access(None, false);
        for (site, mode, judged) in [
            ("same-origin", "cors", Ok(())),
            ("none", "navigate", Ok(())),
            ("cross-site", "navigate", Ok(())),
            ("cross-site", "no-cors", Err(Refusal::CrossSite)),
            ("same-site", "cors", Err(Refusal::CrossSite)),
        ] {
            let list = headers(&[("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)]);
            assert_eq!(open.judge(&Method::GET, &list, false), judged, "{site} {mode}");
        }
    }

    #[test]
    fn what_a_form_can_send_is_refused() {
        let open = access(None, false);
        for (kind, judged) in [
            ("application/json", Ok(())),
            ("application/x-www-form-urlencoded", Ok(())), // curl's own; no JSON survives it
            ("text/plain", Err(Refusal::Form)),
            ("Text/Plain ;charset=utf-8", Err(Refusal::Form)),
            ("multipart/form-data; boundary=x", Err(Refusal::Form)),
        ] {
            let list = headers(&[("host", "a"), ("content-type", kind)]);
            assert_eq!(open.judge(&Method::POST, &list, false), judged, "{kind}");
        }
    }

    #[test]
    fn the_default_port_may_be_left_out() {
        let list = headers(&[("host", "lb.example"), ("origin", "https://lb.example:443")]);
        assert_eq!(same_site(&list), Ok(()));
    }
}
