//! What this agent tells peers of Sluice's in their own languages, so that a fleet of theirs profits without changing
//! the way that requests take.
//!
//! ```text
//!  gate, activity ──sampled──► load ──► agent_check: one line per connection ──► HAProxy
//!                               │  └──► heartbeat: a datagram each second   ──► httpd, mod_heartmonitor
//!                               └─────► orca: a field of each response, or a stream of reports ──► Envoy, gRPC
//! ```

mod agent_check;
mod heartbeat;
mod listen;
mod load;
mod metrics;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, interval};

pub use agent_check::{AgentCheck, Told};
pub use heartbeat::Heartbeat;
pub(crate) use listen::listen;
pub use load::{Load, Sample};
pub(crate) use load::{STEADY_OVER, mixed};
pub use metrics::LanguageMetrics;

use crate::{config::Path, shared::Shared};

/// Ten in the time that [`Load`] is smoothed over: a sample is then worth little on its own.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Samples for ever how busy the instance is.
pub async fn measure(shared: Arc<Shared>) {
    let mut ticks = interval(SAMPLE_EVERY);
    let mut before = (Instant::now(), shared.gate.worker_time(Instant::now()));
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let held = shared.gate.worker_time(now);
        let busy = match shared.config.path {
            Path::Inline { .. } => mean_busy(before, (now, held)),
            Path::Passive => shared.busy().map(f64::from),
        };
        before = (now, held);
        let (workers, readings) = (shared.workers(), shared.now());
        let sample = |busy| Sample { workers, busy, queued: readings.queued, streaming: readings.streaming };
        // At the first tick, no time has passed.
        if busy.is_some() || now > shared.started + 2 * SAMPLE_EVERY {
            shared.load.add(busy.map(sample), now);
        }
    }
}

/// Workers that were busy between two looks, on average. `None`: no time passed.
fn mean_busy(before: (Instant, Duration), now: (Instant, Duration)) -> Option<f64> {
    let passed = now.0.saturating_duration_since(before.0).as_secs_f64();
    (passed > 0.0).then(|| now.1.saturating_sub(before.1).as_secs_f64() / passed)
}
