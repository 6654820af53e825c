//! The control thread: health, reports and the admin server until asked to stop, then the drain.

use std::sync::Arc;

use axum::Router;
use sluice_process::{
    RunError, Watch,
    admin::{AdminError, AdminServer, Ending},
    shutdown::Stage,
    supervisor,
};
use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle, JoinSet},
};

use crate::{
    clock::Clock,
    discover::Crew,
    drain::{self, DataPath},
    follow::{LogFollower, Scraper},
    health::{self, Probe},
    languages::{self, AgentCheck, Heartbeat},
    orca, release,
    reload::{self, Reloader},
    report::Collector,
    shared::Shared,
    succession::Lent,
};

/// What the control thread works with.
pub struct Control {
    pub shared: Arc<Shared>,
    pub probe: Probe,
    pub collector: Collector,
    pub crew: Crew,
    pub tellers: Tellers,
    pub clocks: Vec<Clock>,
    pub followers: Followers,
    pub admin: AdminServer,
    pub router: Router,
    pub data: DataPath,
    pub asked: Watch,
    /// What the process before this one still holds.
    pub(crate) lent: Option<Lent>,
    /// `None`: nobody knows where the configuration came from.
    pub reloader: Option<Arc<Reloader>>,
}

/// Those who learn of requests in mode passive.
#[derive(Default)]
pub struct Followers {
    pub log: Option<LogFollower>,
    pub scraper: Option<Scraper>,
}

/// Those who tell others than Sluice's balancers.
#[derive(Default)]
pub struct Tellers {
    pub agent_check: Option<AgentCheck>,
    pub heartbeat: Option<Heartbeat>,
}

/// Runs an agent to its end.
///
/// # Errors
/// If a part ends that should not: an agent that no longer reports or no longer serves must not look alive.
pub async fn run(control: Control) -> Result<(), RunError> {
    let Control {
        shared,
        probe,
        collector,
        crew,
        tellers,
        clocks,
        followers,
        admin,
        router,
        data,
        asked,
        reloader,
        lent,
    } = control;
    let (leave_admin, admin_leaves) = oneshot::channel();
    let mut admin = tokio::spawn(admin.serve_until(router, async move {
        // Whoever would tell is gone: it is to end as well.
        admin_leaves.await.unwrap_or(Ending::Stopped)
    }));
    if let Some(lent) = lent {
        let shared = shared.clone();
        tokio::spawn(async move { lent.share(&shared.gate).await });
    }
    let (mut tasks, mut calls) = (JoinSet::new(), JoinSet::new());
    tasks.spawn(release::watch_over(shared.clone(), probe.clone()));
    tasks.spawn(health::watch_over(shared.clone(), probe));
    tasks.spawn(collector.run());
    if let Some(reloader) = reloader {
        tasks.spawn(reload::run(reloader));
    }
    let informing = tokio::spawn(supervisor::keep_informed(asked.clone()));
    tasks.spawn(crew.run());
    if !shared.config.languages.is_silent() {
        tasks.spawn(languages::measure(shared.clone()));
    }
    if shared.config.languages.speaks_orca() {
        tasks.spawn(orca::watch_over(shared.clone()));
    }
    if let Some(check) = tellers.agent_check {
        tasks.spawn(check.run());
    }
    if let Some(heartbeat) = tellers.heartbeat {
        tasks.spawn(heartbeat.run());
    }
    for clock in clocks {
        calls.spawn(clock.run(asked.clone()));
    }
    if let Some(log) = followers.log {
        tasks.spawn(log.run());
    }
    if let Some(scraper) = followers.scraper {
        tasks.spawn(scraper.run());
    }
    tokio::select! {
        biased;
        () = asked.leaving() => {}
        error = failure(&mut tasks, &mut calls, &mut admin, &data) => {
            data.stop.trigger_now();
            return Err(error);
        }
    }
    if asked.stage() == Stage::HandedOver {
        // Reports, health checks and the admin address are the successor's.
        tasks.abort_all();
        // It fails if the server has ended, which is told below.
        _ = leave_admin.send(Ending::Succeeded);
        drain::see_out_succeeded(&shared, &data, &asked).await;
    } else {
        supervisor::stopping();
        drain::see_out(&shared, &data, &asked).await;
        drop(leave_admin);
    }
    informing.abort();
    let served = admin.await.map_err(RunError::failed)?;
    served.map_err(RunError::failed)?;
    tracing::info!("agent stopped");
    Ok(())
}

/// Resolves when a part has ended that should run for as long as the agent does.
async fn failure(
    tasks: &mut JoinSet<()>,
    calls: &mut JoinSet<()>,
    admin: &mut JoinHandle<Result<(), AdminError>>,
    data: &DataPath,
) -> RunError {
    tokio::select! {
        Some(ended) = tasks.join_next() => task_ended(ended),
        Some(ended) = calls.join_next() => task_ended(ended),
        served = admin => match served {
            Ok(Ok(())) => RunError::failed("the admin server ended"),
            Ok(Err(error)) => RunError::failed(error),
            Err(error) => RunError::failed(error),
        },
        () = data.any_ended() => RunError::failed("a data thread ended"),
    }
}

fn task_ended(ended: Result<(), JoinError>) -> RunError {
    match ended {
        Ok(()) => RunError::failed("a task of the control thread ended"),
        Err(error) => RunError::failed(error),
    }
}
