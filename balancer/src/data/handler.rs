//! A request's way through the balancer, told from top to bottom.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Request, Response, header, request};
use hyper::upgrade::OnUpgrade;
use sluice_proto::Kind;
use sluice_relay::head::{Origin, prepare_request};
use sluice_relay::limits::UpstreamLimits;
use sluice_relay::{Client, ClientBody, Failure, Refusal, ReplyBody, Upstreams};
use tokio::task::AbortHandle;

use crate::data::exchange::{Exchange, Record};
use crate::data::forward::{Forwarding, forward};
use crate::data::sticky::Session;
use crate::data::{DataPath, Settings};
use crate::decide::classify;
use crate::decide::predict::{ExtensionKey, RequestKey, UrlKey};
use crate::decide::schedule::Ask;
use crate::metrics::Outcome;
use crate::observe::{Asked, Trail};
use crate::pool::{ClassEntry, Directory, Service, now};

/// Handles the requests of one data thread.
pub struct Handler {
    path: Arc<DataPath>,
    upstreams: RefCell<Kept>,
    scratch: RefCell<Scratch>,
}

/// The thread's connections to instances, and the task that closes those that nobody uses.
struct Kept {
    upstreams: Rc<Upstreams>,
    sweeper: AbortHandle,
}

impl Kept {
    fn new(limits: UpstreamLimits, path: &DataPath) -> Self {
        let upstreams = Upstreams::new(limits, path.relay_metrics.clone());
        let sweeper = tokio::task::spawn_local(upstreams.clone().sweep()).abort_handle();
        Self { upstreams, sweeper }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

/// Kept between requests, so that most need no allocation for it.
struct Scratch {
    rng: fastrand::Rng,
    class_name: String,
}

impl Handler {
    /// To be made on a data thread.
    pub fn new(path: Arc<DataPath>) -> Self {
        let scratch = RefCell::new(Scratch { rng: fastrand::Rng::new(), class_name: String::new() });
        let upstreams = RefCell::new(Kept::new(path.settings.load().limits.clone(), &path));
        Self { path, upstreams, scratch }
    }

    /// New requests get new connections, with these limits; the others are closed when what is under way has ended.
    pub fn connect_anew(&self, limits: UpstreamLimits) {
        *self.upstreams.borrow_mut() = Kept::new(limits, &self.path);
    }

    /// The service and class of a request, and what it asks for, but for its session.
    fn sort(&self, directory: &Directory, parts: &request::Parts) -> (Arc<Service>, Arc<ClassEntry>, Ask) {
        let field = |name: &str| text(&parts.headers, name);
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        let service = directory.route(host, path);
        // Cheaper than to make a name of the text and hash it, for the few fields of a request.
        let kind = Kind::of(method, |name| parts.headers.keys().any(|there| there.as_str() == name));
        let request = classify::Request { method, host, path, kind, field: &field };
        let class = service.classes.sort(&request, &mut self.scratch.borrow_mut().class_name, now());
        let target = parts.uri.path_and_query().map_or(path, |target| target.as_str());
        let key = RequestKey {
            class: class.id,
            url: UrlKey::of(service.url_seed(), method, host, target),
            extension: ExtensionKey::of_path(path),
        };
        (service.clone(), class, Ask::new(key))
    }

    fn police(&self, settings: &Settings, parts: &mut request::Parts, origin: Origin) -> Result<(), Refusal> {
        prepare_request(parts, &settings.position, origin, &mut self.scratch.borrow_mut().rng)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl sluice_relay::Handler for Handler {
    type Observer = Exchange;

    async fn handle(
        self: Rc<Self>,
        request: Request<ClientBody>,
        client: Client,
    ) -> Response<ReplyBody<Exchange>> {
        let arrived = now();
        let settings = self.path.settings.load_full();
        let upstreams = self.upstreams.borrow().upstreams.clone();
        let (mut parts, mut body) = request.into_parts();
        let origin = Origin { peer: client.address.ip(), scheme: client.scheme, arrived: SystemTime::now() };
        let asked = settings.observers.as_ref().map(|_| Asked::new(&parts, origin));
        let policed = self.police(&settings, &mut parts, origin);
        let (service, class, mut ask) = self.sort(&settings.directory, &parts);
        let trail = settings.observers.as_ref().zip(asked);
        let trail = trail.map(|(told, asked)| Box::new(Trail::new(told.clone(), asked, service.clone())));
        let mut record = Record::new(class.clone(), arrived, body.progress(), trail);
        let most = class.treatment.max_body_size.unwrap_or(settings.max_body);
        if let Err(failure) = policed.map_err(Failure::BadRequest).and_then(|()| body.limit(most)) {
            record.finish(Outcome::Failed(failure), 0);
            return failure.response();
        }
        record.identified(&parts.headers, &mut self.scratch.borrow_mut().rng);
        let session = Session::of(&class, &parts.headers);
        let preference = session.as_ref().and_then(|session| session.preference);
        service.treat(&mut ask, &class.treatment, preference);
        let name = HeaderValue::from_str(class.name.as_str()).expect("class names are printable ASCII");
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let forwarding = Forwarding {
            settings: &settings,
            metrics: &self.path.relay_metrics,
            upstreams: &upstreams,
            service: &service,
            ask,
            class: name,
            session,
            upgrade,
        };
        forward(forwarding, Request::from_parts(parts, body), record).await
    }
}
