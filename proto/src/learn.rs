//! Learning templates: names that are too many to tell apart, and too rare each, become one class.
//!
//! Pure: what was seen goes in, templates come out; the same traffic makes the same templates. Source
//! of the rule: algorithms.md 1.7, after Drain (He et al., "Drain: An Online Log Parsing Approach with
//! Fixed Depth Tree", ICWS 2017), with traffic shares in place of token similarity.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::ClassName;
use crate::segment::{extension, stays};
use crate::templates::{Collapse, Kept, Node, Templates};

/// When names under one path are too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Up to this many rare names stay apart.
    pub names: usize,
    /// A name with more than this share of its parent's requests is not rare: 0 to 1.
    pub share: f64,
}

/// What the learner goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearnParams {
    /// Directly under the root, where people put the sections of a site: a class each lets instances
    /// specialise, and a scanner's made-up names must not take them away.
    pub top: Level,
    pub below: Level,
    /// A name found under so many neighbours of its parent is a word of the application.
    pub word_parents: u32,
    /// Requests, decayed, that a name must have before its share means anything.
    pub least_busy: f64,
    /// Requests under a path, decayed, before a name that was busy can be found not to be.
    pub evidence: f64,
    /// Runs of the learner after which a collapse of no use is undone: an hour at one each second.
    pub forget_after: u32,
}

impl Default for LearnParams {
    fn default() -> Self {
        Self {
            top: Level { names: 128, share: 0.01 },
            below: Level { names: 32, share: 0.05 },
            word_parents: 8,
            least_busy: 3.0,
            evidence: 200.0,
            forget_after: 3600,
        }
    }
}

/// Learns from classes and their recent (decayed) counts of requests.
///
/// `seen` holds the names that `previous` made, and may hold older ones. A collapse of `previous` is
/// kept until it is of no use for [`LearnParams::forget_after`] runs: after it, the names that led to
/// it are not seen any more.
pub fn learn<'a>(
    previous: &Templates,
    seen: impl IntoIterator<Item = (&'a ClassName, f64)>,
    params: &LearnParams,
) -> Templates {
    let mut root = Seen::default();
    for (name, count) in seen {
        let template = name.parts().template;
        if let Some(path) = template.strip_prefix('/') {
            root.add(path.split('/'), count);
        }
    }
    let level = &params.top;
    let node = Learner { params }.node(root, Some(&previous.root), level, &BTreeSet::new());
    Templates { root: node.unwrap_or_default() }
}

/// Requests by path. Sorted, so that nothing depends on the order in which names come.
#[derive(Default)]
struct Seen<'a> {
    /// Requests to this path and below it, decayed.
    count: f64,
    children: BTreeMap<Cow<'a, str>, Seen<'a>>,
}

impl<'a> Seen<'a> {
    fn add(&mut self, path: impl Iterator<Item = &'a str>, count: f64) {
        self.count += count;
        let mut node = self;
        for segment in path {
            node = node.children.entry(Cow::Borrowed(segment)).or_default();
            node.count += count;
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        for (segment, child) in other.children {
            self.children.entry(segment).or_default().merge(child);
        }
    }
}

struct Learner<'p> {
    params: &'p LearnParams,
}

impl Learner<'_> {
    /// The templates at one path and below it; `None` if there is nothing to replace.
    fn node<'a>(
        &self,
        mut seen: Seen<'a>,
        old: Option<&'a Node>,
        level: &Level,
        words: &BTreeSet<String>,
    ) -> Option<Node> {
        if seen.children.is_empty() && old.is_none() {
            return None;
        }
        let below = self.words_below(&seen);
        let earlier = old.and_then(|old| old.collapse.as_ref());
        let collapse = match earlier {
            Some(earlier) => self.carry_on(earlier, &seen, level),
            None => self.begin(&seen, level, words),
        };
        if let Some(collapse) = &collapse {
            merge_names(&mut seen, collapse);
        }
        let mut children = BTreeMap::new();
        let mut names: BTreeSet<Cow<'a, str>> = seen.children.keys().cloned().collect();
        // Those without requests age as well.
        names.extend(old.iter().flat_map(|old| old.children.keys()).map(|name| Cow::Borrowed(&**name)));
        for name in names {
            let child = seen.children.remove(&name).unwrap_or_default();
            let old = old.and_then(|old| old.children.get(&*name));
            if let Some(node) = self.node(child, old, &self.params.below, &below) {
                children.insert(Box::from(&*name), node);
            }
        }
        (collapse.is_some() || !children.is_empty()).then_some(Node { collapse, children })
    }

    /// A collapse, if the rare names are too many.
    fn begin(&self, seen: &Seen<'_>, level: &Level, words: &BTreeSet<String>) -> Option<Collapse> {
        let busy = |child: &Seen<'_>| {
            child.count >= self.params.least_busy && child.count > level.share * seen.count
        };
        let mut keep = BTreeMap::new();
        let mut rare = Vec::new();
        for (name, child) in seen.children.iter().filter(|(name, _)| !stays(name)) {
            match (busy(child), words.contains(&**name)) {
                (true, _) => drop(keep.insert(Box::from(&**name), Kept::Busy)),
                (false, true) => drop(keep.insert(Box::from(&**name), Kept::Word)),
                (false, false) => rare.push(name),
            }
        }
        // The same long list of names under each neighbour is no vocabulary.
        if keep.values().filter(|kept| **kept == Kept::Word).count() > level.names {
            let (word, busy): (BTreeMap<_, _>, _) =
                keep.into_iter().partition(|(_, kept)| *kept == Kept::Word);
            keep = busy;
            rare.extend(seen.children.keys().filter(|name| word.contains_key(&***name)));
        }
        if rare.len() <= level.names {
            return None;
        }
        let extensions: BTreeSet<_> = rare.iter().map(|name| extension(name)).collect();
        Some(Collapse {
            names: u32::try_from(rare.len()).unwrap_or(u32::MAX),
            share: (level.share * 100.0).round() as u32,
            extensions: extensions.len() <= level.names,
            keep,
            unused: 0,
        })
    }

    /// The same collapse, one run later; `None` once it is of no use for too long.
    fn carry_on(&self, earlier: &Collapse, seen: &Seen<'_>, level: &Level) -> Option<Collapse> {
        let mut collapse = earlier.clone();
        // Half the share that made a name busy, or one at the border would come and go.
        let still_busy = |name: &str| {
            let count = seen.children.get(name).map_or(0.0, |child| child.count);
            seen.count < self.params.evidence || count > level.share / 2.0 * seen.count
        };
        collapse.keep.retain(|name, kept| *kept == Kept::Word || still_busy(name));
        let of_use = seen
            .children
            .iter()
            .any(|(name, child)| child.count >= 1.0 && (name.starts_with('*') || collapse.takes(name)));
        collapse.unused = if of_use { 0 } else { collapse.unused + 1 };
        let suffixes = seen.children.keys().filter(|name| name.starts_with("*.")).count();
        collapse.extensions &= suffixes <= level.names;
        (collapse.unused < self.params.forget_after).then_some(collapse)
    }

    /// Names that are found under so many children of this path that they are words.
    fn words_below(&self, seen: &Seen<'_>) -> BTreeSet<String> {
        let mut parents: BTreeMap<&str, u32> = BTreeMap::new();
        for name in seen.children.values().flat_map(|child| child.children.keys()) {
            *parents.entry(name).or_default() += 1;
        }
        let words = parents.into_iter().filter(|(_, count)| *count >= self.params.word_parents);
        words.map(|(name, _)| name.to_owned()).collect()
    }
}

/// Puts what lies under the names that collapse together, as it will be seen from now on.
fn merge_names(seen: &mut Seen<'_>, collapse: &Collapse) {
    let (taken, kept): (BTreeMap<_, _>, _) =
        std::mem::take(&mut seen.children).into_iter().partition(|(name, _)| collapse.takes(name));
    seen.children = kept;
    for (name, child) in taken {
        let suffix = if collapse.extensions { extension(&name) } else { "" };
        seen.children.entry(format!("*{suffix}").into()).or_default().merge(child);
    }
}

#[cfg(test)]
mod tests;
