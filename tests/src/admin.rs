//! What the admin addresses of balancer and agents say.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::wire::{Message, ask};
use crate::{PATIENCE, eventually, expect};

pub async fn get(admin: SocketAddr, path: &str) -> Message {
    ask(admin, format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")).await
}

/// `fields` end each in `\r\n`.
pub async fn post(admin: SocketAddr, path: &str, fields: &str, body: &str) -> Message {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {admin}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    ask(admin, head + body).await
}

pub async fn json(admin: SocketAddr, path: &str) -> Value {
    let answer = get(admin, path).await;
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{path}: {e}: {}", answer.text()))
}

/// `GET /v1/instances` as a list.
pub async fn instances(admin: SocketAddr) -> Vec<Value> {
    match json(admin, "/v1/instances").await {
        Value::Array(list) => list,
        other => panic!("not a list: {other}"),
    }
}

/// Waits until as many instances get requests.
pub async fn until_routed(admin: SocketAddr, count: usize, within: Duration) {
    eventually("instances routed", within, async || {
        let list = instances(admin).await;
        let routed = list.iter().filter(|i| i["routed"] == true && i["breaker"] == "closed").count();
        if routed == count { Ok(()) } else { Err(format!("{routed} of {count}: {list:?}")) }
    })
    .await;
}

/// Waits until no request holds anything: no worker, no stream, no place in a queue.
pub async fn until_idle(admin: SocketAddr) {
    eventually("slots returned", PATIENCE, async || {
        let list = instances(admin).await;
        let idle = list.iter().all(|i| i["working"] == 0 && i["streaming"] == 0);
        let queued = json(admin, "/v1/explain?path=/").await["queued"].clone();
        if idle && queued == 0 { Ok(()) } else { Err(format!("{queued} queued, {list:?}")) }
    })
    .await;
}

/// Waits until an agent's instance works on `wanted` requests.
pub async fn until_agent_holds(admin: SocketAddr, wanted: u64) {
    eventually("agent's workers", PATIENCE, async || {
        let now = json(admin, "/v1/status").await["now"].clone();
        expect(now, |now| now["in_flight"] == wanted && now["streaming"] == 0 && now["queued"] == 0)
    })
    .await;
}

/// Waits until as many requests wait at the balancer.
pub async fn until_queued(admin: SocketAddr, wanted: u64) {
    eventually("queue", PATIENCE, async || {
        expect(json(admin, "/v1/explain?path=/").await["queued"].clone(), |queued| *queued == wanted)
    })
    .await;
}

/// The sum of a metric's samples whose labels contain all of `labels`, such as `outcome="2xx"`.
pub async fn metric(admin: SocketAddr, name: &str, labels: &[&str]) -> f64 {
    let page = get(admin, "/metrics").await.text();
    let samples = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, given) = series.split_once('{').unwrap_or((series, ""));
        (found == name && labels.iter().all(|l| given.contains(l))).then(|| value.parse::<f64>().ok())?
    });
    samples.sum()
}

/// Waits until the metric has exactly that value.
pub async fn until_metric(admin: SocketAddr, name: &str, labels: &[&str], wanted: f64) {
    eventually(&format!("{name}{labels:?} = {wanted}"), PATIENCE, async || {
        expect(metric(admin, name, labels).await, |value| *value == wanted)
    })
    .await;
}
