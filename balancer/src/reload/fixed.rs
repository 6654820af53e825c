//! What can not change while the balancer runs.

use crate::config::Options;

/// The options of `read` with the running ones where only a restart changes anything, and the names of those that
/// differ there.
pub(super) fn keep(running: &Options, read: Options) -> (Options, Vec<&'static str>) {
    let mut options = read;
    let mut differ = Vec::new();
    macro_rules! keep {
        ($($field:ident: $name:literal),+ $(,)?) => {
            $(if options.$field != running.$field {
                differ.push($name);
                options.$field = running.$field.clone();
            })+
        };
    }
    keep! {
        // Agents and scrapers know where it is.
        admin: "admin",
        token_file: "token-file",
        // Envoys know where it is.
        xds: "xds",
        report_rate: "report-rate",
        admin_connections: "admin-connections",
        // Every listener has a socket for each.
        threads: "threads",
        // Tables and series were made for as many.
        max_classes: "max-classes",
        metric_classes: "metric-classes",
        // Whoever looks for instances was told.
        dns_server: "dns-server",
        kubeconfig: "kubeconfig",
        // Only ever read at the start.
        state_dir: "state-dir",
        startup_hold: "startup-hold",
        decision_log: "decision-log",
        decision_log_size: "decision-log-size",
        otlp_endpoint: "otlp-endpoint",
        otlp_sample: "otlp-sample",
        log_format: "log-format",
        watch_config: "watch-config",
    }
    (options, differ)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_process::Span;

    #[test]
    fn what_needs_a_restart_keeps_its_value_and_is_named() {
        let running =
            Options { queue_timeout: Some(Span::from_secs(1)), ..Options::default() }.with_defaults();
        let read = Options {
            admin: Some(std::net::SocketAddr::from(([127, 0, 0, 1], 7)).into()),
            otlp_sample: Some(0.5),
            queue_timeout: Some(Span::from_secs(2)),
            ..running.clone()
        };
        let (options, differ) = keep(&running, read);
        assert_eq!(differ, ["admin", "otlp-sample"]);
        assert_eq!(options, Options { queue_timeout: Some(Span::from_secs(2)), ..running.clone() });
        assert_eq!(keep(&options, running.clone()), (running, Vec::new()));
    }
}
