//! The pods of a Kubernetes service, by its EndpointSlices: listed, and watched from there.

mod endpoints;
mod slices;

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};
use tokio::time::sleep;
use tokio_stream::StreamExt;

use self::endpoints::{NoPort, endpoints};
use self::slices::Slices;
use super::Heard;
use crate::config::KubernetesService;

/// As long as the client waits at most between two attempts to list or watch.
const CONFIGURE_EVERY: Duration = Duration::from_secs(30);

/// Why the API server can not be asked at all.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Inferred(#[from] InferConfigError),
    #[error("{0}")]
    File(#[from] KubeconfigError),
    #[error("{0}")]
    Client(#[from] kube::Error),
}

/// Follows the service for ever. While the API server can not be reached, what it said last holds.
pub(super) async fn follow(service: &KubernetesService, kubeconfig: Option<&Path>, heard: impl Fn(Heard)) {
    let client = loop {
        match client(kubeconfig).await {
            Ok(client) => break client,
            Err(error) => {
                tracing::warn!(%service, %error, "Kubernetes can not be asked; trying on. In a pod it needs a service account, elsewhere --kubeconfig");
                heard(Heard::Failed);
                sleep(CONFIGURE_EVERY).await;
            }
        }
    };
    watch(service, client, heard).await;
}

async fn client(kubeconfig: Option<&Path>) -> Result<Client, Unusable> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    Ok(Client::try_from(config)?)
}

async fn watch(service: &KubernetesService, client: Client, heard: impl Fn(Heard)) {
    let api: Api<EndpointSlice> = Api::namespaced(client, &service.namespace);
    // As the EndpointSlice controller labels them.
    let ours = watcher::Config::default().labels(&format!("kubernetes.io/service-name={}", service.name));
    let mut events = pin!(watcher(api, ours).default_backoff());
    let (mut slices, mut failing) = (Slices::default(), false);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if !slices.take(event) {
                    continue;
                }
                if std::mem::take(&mut failing) {
                    tracing::info!(%service, "Kubernetes answers again");
                }
                heard(told(service, endpoints(slices.iter(), &service.port)));
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%service, %error, "Kubernetes does not tell of the service; trying on. It needs to be allowed to list and watch endpointslices");
                }
                heard(Heard::Failed);
            }
        }
    }
}

fn told(service: &KubernetesService, found: Result<Vec<super::Endpoint>, NoPort>) -> Heard {
    match found {
        Ok(endpoints) => Heard::Endpoints(endpoints),
        Err(error) => {
            tracing::warn!(%service, "{error}");
            Heard::Failed
        }
    }
}
