//! A balancer that keeps every report and answers as it is told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use sluice_proto::{Classification, PlanReply, Report, Role, SCHEMA};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

use super::soon;

/// How reports are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Plan,
    /// And it says that it reads short reports.
    PlanForLean,
    Status(u16),
    /// Never.
    Silence,
}

pub struct FakeBalancer {
    pub address: SocketAddr,
    reports: mpsc::UnboundedReceiver<Report>,
    desk: Arc<Desk>,
    serving: JoinHandle<()>,
}

struct Desk {
    manner: Mutex<Manner>,
    reports: mpsc::UnboundedSender<Report>,
    authorization: Mutex<Option<String>>,
    classification: Mutex<Option<Arc<Classification>>>,
}

impl FakeBalancer {
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), Manner::Plan).await
    }

    pub async fn start_at(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (sender, reports) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            manner: Mutex::new(manner),
            reports: sender,
            authorization: Mutex::default(),
            classification: Mutex::default(),
        });
        let router = Router::new().route("/v1/report", post(take)).with_state(desk.clone());
        let serving = tokio::spawn(serve(listener, router));
        Self { address, reports, desk, serving }
    }

    pub fn set_manner(&self, manner: Manner) {
        *self.desk.manner.lock().expect("no panic") = manner;
    }

    /// From now on sent to whoever does not say that it has it.
    pub fn set_classification(&self, classification: Classification) {
        *self.desk.classification.lock().expect("no panic") = Some(Arc::new(classification));
    }

    /// The `Authorization` field of the last report.
    pub fn authorization(&self) -> Option<String> {
        self.desk.authorization.lock().expect("no panic").clone()
    }

    pub async fn report(&mut self) -> Report {
        soon("a report", self.reports.recv()).await.expect("the sender is in self")
    }

    /// The next report of which `is_it` holds; the ones before it are dropped.
    pub async fn report_with(&mut self, what: &str, is_it: impl Fn(&Report) -> bool) -> Report {
        let found = async {
            loop {
                let report = self.reports.recv().await.expect("the sender is in self");
                if is_it(&report) {
                    return report;
                }
            }
        };
        soon(&format!("a report with {what}"), found).await
    }

    /// The reports that came and were not looked at yet.
    pub fn left(&mut self) -> Vec<Report> {
        std::iter::from_fn(|| self.reports.try_recv().ok()).collect()
    }

    /// As if killed: connections are cut.
    pub async fn kill(self) -> SocketAddr {
        self.serving.abort();
        let ended = self.serving.await;
        assert!(ended.is_err_and(|error| error.is_cancelled()));
        self.address
    }
}

async fn take(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let report = Report::parse(&body).expect("every report is a valid one");
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().expect("ASCII"));
    *desk.authorization.lock().expect("no panic") = authorization.map(str::to_owned);
    let plan = report.seq;
    let classification = desk.classification.lock().expect("no panic").clone();
    let classification = classification.filter(|it| !report.classifications.contains(&it.version));
    desk.reports.send(report).ok();
    let manner = *desk.manner.lock().expect("no panic");
    match manner {
        Manner::Plan | Manner::PlanForLean => {
            let reason = "all are".to_owned();
            Json(PlanReply {
                schema: SCHEMA,
                plan,
                role: Role::General,
                reason,
                routed: true,
                used: None,
                wanted: None,
                lean: manner == Manner::PlanForLean,
                classification,
            })
            .into_response()
        }
        Manner::Status(status) => {
            (StatusCode::from_u16(status).expect("a status"), "no, thank you\n").into_response()
        }
        Manner::Silence => std::future::pending().await,
    }
}

/// Not `axum::serve`, whose connections outlive it: these end with the task.
async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            // An agent that is gone is no failure of its balancer.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}
