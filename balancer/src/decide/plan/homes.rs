//! Which classes are at home on which instances, and the moves that balance them.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::decide::ids::{ClassId, InstanceId};
use crate::decide::plan::snapshot::{ClassLoad, HomesLoad, InstanceLoad, Snapshot};

/// Classes that are moved in one tick: each move costs a cold cache.
const MOVES: usize = 2;
/// An instance is too hot when its classes offer this many times the average.
const HOT: f64 = 1.15;
/// The most homes of one class.
pub const MOST_HOMES: usize = 4;

/// One change of a class's homes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HomeMove {
    pub class: ClassId,
    /// `None`: a further home.
    pub from: Option<InstanceId>,
    /// `None`: one home less.
    pub to: Option<InstanceId>,
    /// Why, in words and figures.
    pub reason: String,
}

/// What is to change, the most urgent first; nothing unless homes pay.
pub(super) fn rehome(snapshot: &Snapshot) -> Vec<HomeMove> {
    let Some(homes) = &snapshot.homes else { return Vec::new() };
    let mut loads = Loads::of(snapshot, homes);
    let mut moves = resize(snapshot, homes, &mut loads);
    moves.truncate(MOVES);
    while moves.len() < MOVES {
        let Some(next) = loads.balance(homes) else { break };
        moves.push(next);
    }
    moves
}

/// Load that homes bring to each instance, relative to its workers.
struct Loads {
    instances: Vec<(InstanceId, f64)>,
    load: HashMap<InstanceId, f64>,
    moved: Vec<ClassId>,
}

impl Loads {
    fn of(snapshot: &Snapshot, homes: &HomesLoad) -> Self {
        let capacity = |i: &InstanceLoad| (i.id, f64::from(i.workers) / i.slowness.max(1.0));
        let instances: Vec<_> = snapshot.routed().map(capacity).collect();
        let mut load: HashMap<_, _> = instances.iter().map(|(id, _)| (*id, 0.0)).collect();
        for class in &homes.classes {
            for home in &class.homes {
                *load.entry(*home).or_insert(0.0) += part(class);
            }
        }
        Self { instances, load, moved: Vec::new() }
    }

    fn relative(&self, (id, workers): &(InstanceId, f64)) -> f64 {
        self.load.get(id).copied().unwrap_or(0.0) / workers.max(0.1)
    }

    fn coolest(&self, without: &[InstanceId]) -> Option<InstanceId> {
        let free = self.instances.iter().filter(|(id, _)| !without.contains(id));
        free.min_by(|a, b| compare(self.relative(a), self.relative(b))).map(|(id, _)| *id)
    }

    fn shift(&mut self, from: Option<InstanceId>, to: Option<InstanceId>, load: f64) {
        from.iter().for_each(|id| *self.load.entry(*id).or_insert(0.0) -= load);
        to.iter().for_each(|id| *self.load.entry(*id).or_insert(0.0) += load);
    }

    /// Moves the class that fits best from the hottest to the coolest instance.
    fn balance(&mut self, homes: &HomesLoad) -> Option<HomeMove> {
        let order =
            |a: &&(InstanceId, f64), b: &&(InstanceId, f64)| compare(self.relative(a), self.relative(b));
        let hot = *self.instances.iter().max_by(order)?;
        let cool = *self.instances.iter().min_by(order)?;
        let mean = self.instances.iter().map(|i| self.relative(i)).sum::<f64>() / self.instances.len() as f64;
        let (hottest, coolest) = (self.relative(&hot), self.relative(&cool));
        if hottest <= HOT * mean || hottest - coolest < 0.02 {
            return None;
        }
        let gap = (hottest - coolest) / 2.0 * hot.1.min(cool.1);
        let fits = |class: &&ClassLoad| {
            class.homes.contains(&hot.0)
                && !class.homes.contains(&cool.0)
                && !self.moved.contains(&class.id)
                && part(class) < 2.0 * gap
        };
        let class = homes
            .classes
            .iter()
            .filter(fits)
            .min_by(|a, b| compare((part(a) - gap).abs(), (part(b) - gap).abs()))?;
        self.moved.push(class.id);
        self.shift(Some(hot.0), Some(cool.0), part(class));
        let reason = format!("its home carries {hottest:.2} of a worker's time, the new one {coolest:.2}");
        Some(HomeMove { class: class.id, from: Some(hot.0), to: Some(cool.0), reason })
    }
}

/// Gives busy classes more homes and quiet ones fewer, and replaces homes that are gone.
fn resize(snapshot: &Snapshot, homes: &HomesLoad, loads: &mut Loads) -> Vec<HomeMove> {
    let known: HashMap<_, _> = snapshot.routed().map(|i| (i.id, i.workers)).collect();
    let mut moves = Vec::new();
    for class in &homes.classes {
        let lost = class.homes.iter().find(|id| !known.contains_key(id)).copied();
        let workers = class.homes.iter().filter_map(|id| known.get(id)).max().copied().unwrap_or(1);
        let wanted = wanted(class.load, workers, known.len());
        let (from, to) = match (lost, class.homes.len()) {
            (Some(lost), n) if n > wanted || class.homes.len() > known.len() => (Some(lost), None),
            (Some(lost), _) => (Some(lost), loads.coolest(&class.homes)),
            (None, n) if n < wanted => (None, loads.coolest(&class.homes)),
            (None, n) if n > wanted && is_turn(class, snapshot) => (class.homes.first().copied(), None),
            _ => continue,
        };
        loads.shift(from, to, part(class));
        loads.moved.push(class.id);
        let reason = match (from, to) {
            (Some(_), Some(_)) => "its home is gone".to_owned(),
            (None, _) => format!("{:.2} workers of it need {wanted} homes", class.load),
            _ => format!("{:.2} workers of it need no more than {wanted} homes", class.load),
        };
        moves.push(HomeMove { class: class.id, from, to, reason });
    }
    // Lost homes first: their classes have nowhere to go.
    moves.sort_by_key(|m| m.from.is_none_or(|id| known.contains_key(&id)));
    moves
}

/// Each class's number of homes is looked at for less in one second of twenty: a home that was added
/// in need is kept for some time.
fn is_turn(class: &ClassLoad, snapshot: &Snapshot) -> bool {
    (snapshot.at_ms / 1000 + u64::from(class.id.0)).is_multiple_of(20)
}

/// Homes for a load in Erlang, each to be filled by half.
fn wanted(load: f64, workers: u32, instances: usize) -> usize {
    let half = 0.5 * f64::from(workers.max(1));
    ((load / half).ceil() as usize).clamp(1, instances.clamp(1, MOST_HOMES))
}

fn part(class: &ClassLoad) -> f64 {
    class.load / class.homes.len().max(1) as f64
}

fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::plan::tests::snapshot;
    use std::time::Duration;

    /// Classes with a load and homes, on 4 instances of 1 worker with ids 0 to 3.
    fn with_homes(classes: &[(f64, &[u64])]) -> Snapshot {
        let class = |(i, (load, homes)): (usize, &(f64, &[u64]))| ClassLoad {
            id: ClassId(i as u32),
            name: sluice_proto::ClassName::parse(&format!("GET /{i}")).expect("a name"),
            load: *load,
            homes: homes.iter().map(|id| InstanceId(*id)).collect(),
        };
        let (home, away) = (Duration::from_millis(10), Duration::from_millis(50));
        let classes = classes.iter().enumerate().map(class).collect();
        Snapshot { homes: Some(HomesLoad { home, away, classes }), ..snapshot(4, 1, 100.0, 0.0) }
    }

    fn moves(snapshot: &Snapshot) -> Vec<(u32, Option<u64>, Option<u64>)> {
        rehome(snapshot).into_iter().map(|m| (m.class.0, m.from.map(|i| i.0), m.to.map(|i| i.0))).collect()
    }

    #[test]
    fn the_hottest_home_gives_to_the_coolest() {
        let even = with_homes(&[(0.2, &[0]), (0.2, &[1]), (0.2, &[2]), (0.2, &[3])]);
        assert_eq!(moves(&even), []);
        let uneven = with_homes(&[(0.3, &[0]), (0.2, &[0]), (0.2, &[1]), (0.2, &[2]), (0.05, &[3])]);
        assert_eq!(moves(&uneven)[0], (1, Some(0), Some(3)));
        let one_hot_class = with_homes(&[(0.45, &[0]), (0.1, &[1]), (0.1, &[2]), (0.1, &[3])]);
        assert_eq!(moves(&one_hot_class), [], "moving it would only move the heat");
    }

    #[test]
    fn busy_classes_get_more_homes_and_lost_ones_are_replaced_first() {
        let busy = with_homes(&[(0.8, &[0]), (0.1, &[9]), (0.1, &[2])]);
        let changes = moves(&busy);
        assert_eq!((changes[0].0, changes[0].1), (1, Some(9)), "its home is gone: {changes:?}");
        assert_eq!((changes[1].0, changes[1].1), (0, None), "0.8 workers need two homes: {changes:?}");
    }
}
