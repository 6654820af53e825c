//! What a replay prints.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::compare::{Again, Summary};

/// A line per difference, and the summary.
pub(super) fn table(all: &[Again], out: &mut impl Write) -> io::Result<()> {
    let rows: Vec<_> =
        all.iter().flat_map(|again| again.differences().into_iter().map(move |d| (again, d))).collect();
    if !rows.is_empty() {
        writeln!(out, "{:<20}  {:<12}  {:<9}  {:<24}  replayed", "time", "service", "what", "recorded")?;
    }
    for (again, difference) in rows {
        let decision = &again.recorded.decision;
        writeln!(
            out,
            "{:<20}  {:<12}  {:<9}  {:<24}  {}",
            time(decision.at_ms),
            decision.service,
            difference.what,
            difference.recorded,
            difference.replayed
        )?;
    }
    writeln!(out, "{}", sentence(Summary::of(all)))
}

/// An object per decision that differs, and one of the summary.
pub(super) fn json(all: &[Again], out: &mut impl Write) -> io::Result<()> {
    for again in all {
        let (decision, differences) = (&again.recorded.decision, again.differences());
        if !differences.is_empty() {
            let (at_ms, service, number) = (decision.at_ms, &decision.service, decision.number);
            let line =
                json!({"at_ms": at_ms, "service": service, "number": number, "differences": differences});
            writeln!(out, "{line}")?;
        }
    }
    writeln!(out, "{}", json!({"summary": Summary::of(all)}))
}

pub(super) fn sentence(summary: Summary) -> String {
    let Summary { decisions, differ, .. } = summary;
    let figure = |[recorded, replayed]: [f64; 2]| match (recorded - replayed).abs() < 0.05 {
        true => format!("{replayed:.1}"),
        false => format!("{replayed:.1} instead of {recorded:.1}"),
    };
    format!(
        "{decisions} decisions, {differ} differ; large cap mean {}, dedicated instances mean {}",
        figure(summary.large_cap),
        figure(summary.dedicated)
    )
}

/// Unix time in milliseconds as UTC.
fn time(at_ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(at_ms)) {
        // Beyond the year 9999 there is no such time to write.
        Some(time) if at_ms < 253_402_300_800_000 => humantime::format_rfc3339_seconds(time).to_string(),
        _ => format!("{at_ms} ms"),
    }
}
