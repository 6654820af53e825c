use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::{Next, from_fn_with_state, map_response},
    response::{IntoResponse, Response},
};

use super::{
    Access, Caller,
    access::Refusal,
    body::{DEFAULT_BODY_LIMIT, limit_bodies},
};

/// What every admin router gets, last of all: routes added later would not be protected.
///
/// - Other methods than GET and HEAD need what `access` asks for: a certificate (403 without), and
///   `Authorization: Bearer TOKEN` (401 without, 403 with a wrong one). They must not come from a page of another site
///   (403), nor have a type that a form can send (415).
/// - GET and HEAD are open, but pages of other sites can not load anything (403).
/// - Bodies above 1 MiB are answered 413, unless [`limit_body`](super::limit_body) gave the route a limit of its own.
/// - Answers tell browsers to load nothing from elsewhere, to guess nothing, to keep nothing. A handler may set a
///   `Cache-Control` of its own.
pub fn protect(router: Router, access: Access) -> Router {
    limit_bodies(router, DEFAULT_BODY_LIMIT)
        .layer(from_fn_with_state(access, guard))
        .layer(map_response(harden))
}

async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// A request was turned away: the answer to it.
#[derive(Clone, Copy, Debug)]
pub struct TurnedAway(Refusal);

impl Access {
    /// Whether a request may be served. For handlers that are not behind [`protect`], as they are asked so often that its
    /// layers cost more than they do.
    ///
    /// # Errors
    /// [`TurnedAway`]; it is counted.
    pub fn admit<B>(&self, request: &axum::http::Request<B>) -> Result<(), TurnedAway> {
        let certified =
            request.extensions().get::<Caller>().is_some_and(|caller| caller.certificate.is_some());
        self.judge(request.method(), request.headers(), certified).map_err(|refusal| {
            self.count(refusal);
            let (method, path) = (request.method(), request.uri().path());
            tracing::debug!(%method, path, %refusal, "admin request refused");
            TurnedAway(refusal)
        })
    }
}

impl IntoResponse for TurnedAway {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if self == Self::NoToken {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// Scripts and styles only as files of this server: text from a report that ends up in the dashboard can not run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What every answer of the admin server says to browsers. [`protect`] adds it.
pub async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    set(headers, header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::X_FRAME_OPTIONS, "DENY");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    set(headers, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
