//! From what a balancer says to tables.

use sluice_proto::State;

use crate::control::planning::{LaneView, ServiceView};
use crate::control::view::{ClassView, InstanceView};
use crate::decide::plan::dedicate::Mode;
use crate::top::site::{Site, is_up};
use crate::top::table::{Cell, Column, Table, Tone};
use crate::top::words::{bytes, millis};

/// The tables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Instances,
    Lanes,
    Classes,
}

const INSTANCES: &[Column] = &[
    Column::text("instance", 0),
    Column::text("state", 0),
    Column::text("role", 3),
    Column::figure("workers", 0),
    Column::figure("large", 5),
    Column::figure("streams", 6),
    Column::figure("foreign", 9),
    Column::figure("slow", 4),
    Column::figure("homes", 8),
    Column::figure("report", 2),
    Column::text("version", 7),
    Column::text("why", 0),
];

const LANES: &[Column] = &[
    Column::text("lane", 0),
    Column::text("holds", 4),
    Column::figure("running", 2),
    Column::figure("waiting", 0),
    Column::figure("cap", 0),
    Column::text("mode", 3),
    Column::text("why", 0),
];

const CLASSES: &[Column] = &[
    Column::text("class", 0),
    Column::text("lane", 2),
    Column::figure("rate", 0),
    Column::figure("errors", 1),
    Column::figure("p50", 5),
    Column::figure("p99", 0),
    Column::figure("ttfb", 6),
    Column::figure("size", 4),
    Column::figure("homes", 7),
    Column::text("goes", 0),
];

impl Pane {
    pub(super) const ALL: [Self; 3] = [Self::Instances, Self::Lanes, Self::Classes];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Instances => "Instances",
            Self::Lanes => "Plan",
            Self::Classes => "Classes",
        }
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Instances => INSTANCES,
            Self::Lanes => LANES,
            Self::Classes => CLASSES,
        }
    }

    /// The column by which it is sorted unless told otherwise.
    pub(super) fn first_sorting(self) -> usize {
        match self {
            Self::Instances | Self::Lanes => 0,
            Self::Classes => 2,
        }
    }

    pub(super) fn table(self, site: &Site) -> Table {
        let many = site.plan.services.len() > 1;
        let rows = match self {
            Self::Instances => site.instances.iter().map(|i| instance(i, many)).collect(),
            Self::Lanes => {
                let of = |service| lanes(service, many);
                site.plan.services.iter().flat_map(of).collect()
            }
            Self::Classes => site.classes.iter().map(|c| class(c, many)).collect(),
        };
        Table { columns: self.columns(), rows }
    }
}

/// A name, with its service where there are several.
fn named(service: &str, name: &str, many: bool) -> Cell {
    if many { Cell::text(format!("{service}/{name}")) } else { Cell::text(name) }
}

fn instance(i: &InstanceView, many: bool) -> Vec<Cell> {
    let (state, tone) = state(i);
    let share = f64::from(i.working) / f64::from(i.limit.max(1));
    let slow = if i.slowness > 1.0 { format!("{:.1}x", i.slowness) } else { "-".to_owned() };
    let is_fresh = i.knowledge == "fresh" || i.report_age_ms.is_none();
    vec![
        named(&i.service, &i.name, many),
        Cell::text(state).tone(tone),
        Cell::text(&i.role),
        Cell::figure(share, format!("{}/{}", i.working, i.limit)),
        Cell::count(i.large),
        Cell::count(i.streaming),
        Cell::count(i.foreign),
        Cell::figure(i.slowness, slow).tone(if i.slowness > 1.0 { Tone::Warning } else { Tone::Plain }),
        Cell::count(i.homes),
        Cell::measured(i.report_age_ms.map(|ms| ms as f64), millis).tone(if is_fresh {
            Tone::Plain
        } else {
            Tone::Warning
        }),
        Cell::text(i.version_label.as_deref().unwrap_or("-")),
        Cell::text(&i.reason),
    ]
}

/// Whether it gets requests, in a word.
fn state(i: &InstanceView) -> (&str, Tone) {
    match (i.operator.as_str(), i.state) {
        _ if is_up(i) => ("up", Tone::Good),
        ("drain", _) | (_, State::Draining) => ("draining", Tone::Warning),
        ("maintenance", _) => ("maintenance", Tone::Warning),
        (_, State::Down) => ("down", Tone::Bad),
        _ if i.breaker == "trying" => ("trying", Tone::Warning),
        _ if i.breaker != "closed" => ("unreachable", Tone::Bad),
        _ => ("out", Tone::Bad),
    }
}

fn lanes(service: &ServiceView, many: bool) -> impl Iterator<Item = Vec<Cell>> {
    service.lanes.iter().enumerate().map(move |(rank, lane)| self::lane(service, rank, lane, many))
}

fn lane(service: &ServiceView, rank: usize, lane: &LaneView, many: bool) -> Vec<Cell> {
    let from = millis(lane.from_s * 1e3);
    let holds = lane.to_s.map_or(format!("{from} or more"), |to| format!("{from} to {}", millis(to * 1e3)));
    let mode = match service.mode {
        Mode::Pack => "packed",
        Mode::Separate => "separate",
        Mode::Spread => "spread",
    };
    vec![
        named(service.service.as_str(), &lane.name, many).ranked(rank),
        Cell::text(holds),
        Cell::count(lane.running as u64),
        Cell::count(lane.waiting as u64).tone(if lane.waiting > 0 { Tone::Warning } else { Tone::Plain }),
        Cell::count(lane.plan.high as u64),
        Cell::text(mode),
        Cell::text(&lane.plan.reason),
    ]
}

fn class(c: &ClassView, many: bool) -> Vec<Cell> {
    let seen = &c.seen;
    vec![
        named(&c.service, &c.class, many),
        Cell::text(&c.lane),
        Cell::figure(seen.per_second, format!("{:.1}/s", seen.per_second)),
        Cell::measured(seen.errors.map(|errors| errors as f64), |errors| format!("{errors:.0}"))
            .tone(if seen.errors > Some(0) { Tone::Bad } else { Tone::Plain }),
        Cell::measured(seen.held_ms.p50, millis),
        Cell::measured(seen.held_ms.p99, millis),
        Cell::measured(seen.ttfb_ms.p99, millis),
        Cell::measured(seen.response_bytes.p50, bytes),
        Cell::count(c.homes.len() as u64),
        Cell::text(&c.goes),
    ]
}
