//! Results as Markdown: a table per scenario, a row per policy, a column per load.

use std::fmt::Write;

use crate::check::Broken;
use crate::experiment::Cell;
use crate::scenario::Kind;
use crate::stats::{ClassOutcome, Outcome};

/// Jobs under way at the end from which on a cell says so: what it says of latencies then depends on the length
/// of the run.
const BACKLOG: f64 = 1000.0;

/// All tables. Each cell gives medians over seeds, and the least and greatest small p99.
pub fn markdown(cells: &[Cell]) -> String {
    let mut text = String::new();
    for scenario in in_order(cells.iter().map(|cell| cell.scenario.as_str())) {
        let of: Vec<&Cell> = cells.iter().filter(|cell| cell.scenario == scenario).collect();
        let loads = in_order(of.iter().map(|cell| load_name(cell)));
        heading(&mut text, &of, &loads);
        for policy in in_order(of.iter().map(|cell| cell.policy)) {
            let row = of.iter().filter(|cell| cell.policy == policy).map(|cell| describe(cell));
            let row: Vec<String> = row.collect();
            line(&mut text, policy, &row);
        }
    }
    text
}

/// What went against the invariants, a line for each rule and run; empty if nothing did.
pub fn violations(cells: &[Cell]) -> String {
    let mut text = String::new();
    for cell in cells {
        let (scenario, load, policy) = (&cell.scenario, load_name(cell), cell.policy);
        for (seed, run) in cell.seeds.iter().zip(&cell.runs) {
            for (rule, Broken { count, first }) in run.violations.iter() {
                let _ = writeln!(
                    text,
                    "{scenario}, {load}, {policy}, seed {seed}: {rule:?} {count} times: {first}"
                );
            }
        }
    }
    text
}

/// The middle value; of an even number the mean of the two in the middle. 0 if there are none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn heading(text: &mut String, cells: &[&Cell], loads: &[String]) {
    let Some(run) = cells.first().and_then(|cell| cell.runs.first()) else { return };
    let scenario = &cells[0].scenario;
    let mut parts = Vec::new();
    if run.kind(Kind::Small).is_some() {
        parts.push("small p99 / p99.9");
    }
    if run.kind(Kind::Medium).is_some() {
        parts.push("medium p99");
    }
    if run.kind(Kind::Large).is_some() {
        parts.push("large p50 · p99 · mean");
    }
    if run.hit_ratio.is_some() {
        parts.push("(hit ratio)");
    }
    if run.adaptation.is_some() {
        parts.push("after the shift: worst small p99 of a second, last bad second");
    }
    let _ = writeln!(text, "\n**{scenario}**: {}; ms unless s\n", parts.join(" / "));
    line(text, "policy", loads);
    line(text, "---", &vec!["---".to_owned(); loads.len()]);
}

fn line(text: &mut String, first: &str, rest: &[String]) {
    let _ = writeln!(text, "| {first} | {} |", rest.join(" | "));
}

fn load_name(cell: &Cell) -> String {
    cell.load.map_or_else(|| "as given".to_owned(), |load| format!("load {load:.2}"))
}

fn describe(cell: &Cell) -> String {
    let over = |kind: Kind, value: fn(&ClassOutcome) -> f64| -> Option<f64> {
        cell.runs.first()?.kind(kind)?;
        Some(median(cell.runs.iter().filter_map(|run| run.kind(kind)).map(value)))
    };
    let mut parts = Vec::new();
    if let (Some(p99), Some(p999)) = (over(Kind::Small, |c| c.p99_s), over(Kind::Small, |c| c.p999_s)) {
        parts.push(format!("{}{} / {}", time(p99), spread(&cell.runs), time(p999)));
    }
    if let Some(p99) = over(Kind::Medium, |c| c.p99_s) {
        parts.push(time(p99));
    }
    if let (Some(p50), Some(p99)) = (over(Kind::Large, |c| c.p50_s), over(Kind::Large, |c| c.p99_s)) {
        let mean = over(Kind::Large, |c| c.mean_s).unwrap_or_default();
        parts.push(format!("{} · {} · {}", time(p50), time(p99), time(mean)));
    }
    if cell.runs.iter().any(|run| run.hit_ratio.is_some()) {
        parts.push(format!("({:.2})", median(cell.runs.iter().filter_map(|run| run.hit_ratio))));
    }
    let shifts = || cell.runs.iter().filter_map(|run| run.adaptation.as_ref());
    if shifts().next().is_some() {
        let worst = time(median(shifts().map(|shift| shift.worst_p99_s)));
        parts.push(format!("{worst}, {}", median(shifts().map(|shift| shift.last_bad_second as f64))));
    }
    let waiting = median(cell.runs.iter().map(|run| run.waiting as f64));
    if waiting >= BACKLOG {
        parts.push(format!("**{waiting:.0} waited at the end**"));
    }
    parts.join(" / ")
}

/// ` [least-greatest]` small p99, if there are several seeds.
fn spread(runs: &[Outcome]) -> String {
    let p99 = || runs.iter().filter_map(|run| run.kind(Kind::Small)).map(|class| class.p99_s);
    if runs.len() < 2 {
        return String::new();
    }
    let (least, greatest) = (p99().fold(f64::INFINITY, f64::min), p99().fold(0.0, f64::max));
    format!(" [{}-{}]", time(least), time(greatest))
}

/// Milliseconds, or seconds with their unit.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 0.9995 => format!("{:.0}", s * 1e3),
        s if s < 9.95 => format!("{s:.1}s"),
        s => format!("{s:.0}s"),
    }
}

/// Each value once, in order of first appearance.
fn in_order<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_at_a_glance() {
        let cases = [(0.0504, "50"), (0.9994, "999"), (1.0, "1.0s"), (9.94, "9.9s"), (38.9, "39s")];
        for (seconds, text) in cases {
            assert_eq!(time(seconds), text);
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0].into_iter()), 2.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
