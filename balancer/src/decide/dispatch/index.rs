//! Instances sorted by how eagerly they would be picked, so that a pick never scans them all.
//!
//! ```text
//!  group = zone x large requests there (0, 1, 2, more)     level = share of workers held, in 16ths
//!  group 0:  level 0 [i7 i2]  level 4 [i3]  ...            one bit per level that is not empty
//!  slow:     [i9]      free workers, but known to be slow
//!  spare:    [i1 i4]   no free worker, but one more short request may be sent ahead
//! ```

/// Levels within a group.
pub(super) const LEVELS: usize = 16;
/// Counts of large requests that are told apart.
pub(super) const LARGE: usize = 4;
/// Groups of one zone after another.
const GROUPS: usize = 3 * LARGE;
const SLOW: usize = GROUPS * LEVELS;
const SPARE: usize = SLOW + 1;

/// What an instance is for, as far as the pick is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Zone {
    #[default]
    General,
    /// Large requests first.
    Dedicated,
    /// Just came up: its caches are cold, so it is used after the others.
    Fresh,
}

impl Zone {
    pub(super) const ALL: [Self; 3] = [Self::General, Self::Dedicated, Self::Fresh];
}

/// Where an instance is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shelf {
    /// It has a free worker.
    Free {
        zone: Zone,
        large: u32,
        working: u32,
        workers: u32,
    },
    Slow,
    Spare,
}

impl Shelf {
    fn list(self) -> usize {
        match self {
            Self::Free { zone, large, working, workers } => {
                let level = working as usize * LEVELS / workers.max(1) as usize;
                group(zone, large as usize) * LEVELS + level.min(LEVELS - 1)
            }
            Self::Slow => SLOW,
            Self::Spare => SPARE,
        }
    }
}

fn group(zone: Zone, large: usize) -> usize {
    zone as usize * LARGE + large.min(LARGE - 1)
}

/// A place within the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    list: usize,
    at: usize,
}

/// The lists. Members are positions in the table of instances.
pub(super) struct Index {
    lists: Vec<Vec<usize>>,
    /// One bit per level of each group.
    filled: [u16; GROUPS],
}

impl Index {
    pub(super) fn new() -> Self {
        Self { lists: vec![Vec::new(); SPARE + 1], filled: [0; GROUPS] }
    }

    pub(super) fn insert(&mut self, position: usize, shelf: Shelf) -> Place {
        let list = shelf.list();
        self.lists[list].push(position);
        if let Some(levels) = self.filled.get_mut(list / LEVELS) {
            *levels |= 1 << (list % LEVELS);
        }
        Place { list, at: self.lists[list].len() - 1 }
    }

    /// Takes a member out. Returns the one that now has its place, if any.
    pub(super) fn remove(&mut self, place: Place) -> Option<(usize, Place)> {
        let list = &mut self.lists[place.list];
        list.swap_remove(place.at);
        if list.is_empty()
            && let Some(levels) = self.filled.get_mut(place.list / LEVELS)
        {
            *levels &= !(1 << (place.list % LEVELS));
        }
        self.lists[place.list].get(place.at).map(|moved| (*moved, place))
    }

    /// The least busy of a group.
    pub(super) fn least_busy(&self, zone: Zone, large: usize) -> Option<&[usize]> {
        let group = group(zone, large);
        let levels = self.filled[group];
        (levels != 0).then(|| self.lists[group * LEVELS + levels.trailing_zeros() as usize].as_slice())
    }

    pub(super) fn slow(&self) -> &[usize] {
        &self.lists[SLOW]
    }

    pub(super) fn spare(&self) -> &[usize] {
        &self.lists[SPARE]
    }

    /// Whether both places are picked equally eagerly.
    pub(super) fn equal(a: Place, b: Place) -> bool {
        a.list == b.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(zone: Zone, large: u32, working: u32) -> Shelf {
        Shelf::Free { zone, large, working, workers: 4 }
    }

    #[test]
    fn the_least_busy_come_first_and_leave_no_trace() {
        let mut index = Index::new();
        let busy = index.insert(7, free(Zone::General, 0, 3));
        let idle = index.insert(8, free(Zone::General, 0, 0));
        assert_eq!(index.least_busy(Zone::General, 0), Some(&[8][..]));
        assert!(index.remove(idle).is_none());
        assert_eq!(index.least_busy(Zone::General, 0), Some(&[7][..]));
        assert!(index.remove(busy).is_none());
        assert_eq!(index.least_busy(Zone::General, 0), None);
        assert_eq!(index.least_busy(Zone::Dedicated, 2), None);
    }

    #[test]
    fn who_takes_over_a_place_is_told() {
        let mut index = Index::new();
        let first = index.insert(1, Shelf::Slow);
        index.insert(2, Shelf::Slow);
        let (moved, place) = index.remove(first).expect("2 moves up");
        assert_eq!((moved, index.slow()), (2, &[2][..]));
        assert!(index.remove(place).is_none());
        assert!(index.slow().is_empty());
    }
}
