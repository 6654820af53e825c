//! How old knowledge may be, and when an instance is forgotten.

use std::time::{Duration, Instant};

/// Intervals without a report after which its agent is asked after.
pub const SILENT_AFTER: u32 = 2;
/// Intervals without a report after which what it said is stale.
const STALE_AFTER: u32 = 3;
/// Intervals without a report and without a successful request after which the lease ends.
pub const ENDS_AFTER: u32 = 10;

/// What the age of a report makes of its contents. There is no "idle": silence is not a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Knowledge {
    /// Believed.
    Fresh,
    /// Fading: between 3 and 10 intervals old.
    Stale,
    /// As good as none: nothing was reported, or too long ago.
    Unknown,
}

/// Judges a report by its age.
pub fn knowledge(last_report: Option<Instant>, interval: Duration, now: Instant) -> Knowledge {
    match last_report.map(|at| now.saturating_duration_since(at)) {
        Some(age) if age < interval * STALE_AFTER => Knowledge::Fresh,
        Some(age) if age < interval * ENDS_AFTER => Knowledge::Stale,
        _ => Knowledge::Unknown,
    }
}

/// Whether an instance that registered by reports is still taken for a member: it reported, or
/// answered a request, within the last 10 intervals.
pub fn is_alive(
    last_report: Instant,
    last_success: Option<Instant>,
    interval: Duration,
    now: Instant,
) -> bool {
    let last_sign = last_success.map_or(last_report, |at| at.max(last_report));
    now.saturating_duration_since(last_sign) < interval * ENDS_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    #[test]
    fn knowledge_fades_with_age() {
        let reported = Instant::now();
        for (age_ms, expected) in [
            (0, Knowledge::Fresh),
            (2_999, Knowledge::Fresh),
            (3_000, Knowledge::Stale),
            (9_999, Knowledge::Stale),
            (10_000, Knowledge::Unknown),
        ] {
            let now = reported + Duration::from_millis(age_ms);
            assert_eq!(knowledge(Some(reported), INTERVAL, now), expected, "{age_ms} ms");
        }
        assert_eq!(knowledge(None, INTERVAL, reported), Knowledge::Unknown);
    }

    #[test]
    fn a_successful_request_keeps_the_lease_without_reports() {
        let reported = Instant::now();
        let at = |ms| reported + Duration::from_millis(ms);
        assert!(is_alive(reported, None, INTERVAL, at(9_999)));
        assert!(!is_alive(reported, None, INTERVAL, at(10_000)));
        assert!(is_alive(reported, Some(at(9_000)), INTERVAL, at(18_999)));
        assert!(!is_alive(reported, Some(at(9_000)), INTERVAL, at(19_000)));
    }
}
