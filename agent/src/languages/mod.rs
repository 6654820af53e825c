//! What this agent tells peers of Sluice's in their own languages, so that a fleet of theirs profits without changing
//! the way that requests take.
//!
//! ```text
//!  gate, activity ──sampled──► load ──► agent_check: one line per connection ──► HAProxy
//!                               │  └──► heartbeat: a datagram each second   ──► httpd, mod_heartmonitor
//!                               └─────► orca: a field of each response      ──► Envoy, gRPC
//! ```

mod agent_check;
mod heartbeat;
mod load;
mod metrics;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, interval};

pub use agent_check::{AgentCheck, Told};
pub use heartbeat::Heartbeat;
pub use load::{Load, Sample};
pub use metrics::LanguageMetrics;

use crate::shared::Shared;

/// Ten in the time that [`Load`] is smoothed over: a sample is then worth little on its own.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Samples for ever how busy the instance is.
pub async fn measure(shared: Arc<Shared>) {
    let mut ticks = interval(SAMPLE_EVERY);
    loop {
        ticks.tick().await;
        shared.load.add(sample(&shared), Instant::now());
    }
}

/// `None`: nobody knows how many workers are busy.
fn sample(shared: &Shared) -> Option<Sample> {
    shared.busy()?;
    let now = shared.now();
    let workers = shared.identity.workers;
    Some(Sample { workers, busy: now.in_flight, queued: now.queued, streaming: now.streaming })
}
