//! What was learned of a site's paths: under which of them the names are too many to tell apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::segment::{extension, stays};

/// No template has more segments: those that come over the wire are held to it.
const MAX_DEPTH: usize = 16;

/// Places where names are replaced by `*`. Immutable: made by [`crate::learn::learn`], read by many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Place>", into = "Vec<Place>")]
pub struct Templates {
    pub(crate) root: Node,
}

/// One path of templates. Only paths that lead to a collapse are there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Node {
    pub(crate) collapse: Option<Collapse>,
    /// By segment as written in class names.
    pub(crate) children: BTreeMap<Box<str>, Node>,
}

/// The names under one path are one class, but for a few.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Collapse {
    /// How many names there were when it was decided.
    pub(crate) names: u32,
    /// The share of the path's requests, in percent, that none of them exceeded.
    pub(crate) share: u32,
    /// Whether extensions still tell names apart, as `*.pdf` and `*.jpg`.
    pub(crate) extensions: bool,
    /// Names that stay.
    pub(crate) keep: BTreeMap<Box<str>, Kept>,
    /// Runs of the learner since it was last of use.
    #[serde(skip)]
    pub(crate) unused: u32,
}

/// Why a name stays literal where its neighbours collapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kept {
    /// It carries a share of the requests that is worth a class.
    Busy,
    /// It is found under many neighbours of its parent: a word of the application.
    Word,
}

/// A collapse and where it is: how templates are written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    /// As written in class names, without a slash at the end: empty for the root.
    path: String,
    #[serde(flatten)]
    collapse: Collapse,
}

impl Templates {
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { node: Some(&self.root) }
    }

    /// Whether `other` gives every request the same class as these.
    pub fn same_as(&self, other: &Self) -> bool {
        self.root.same_as(&other.root)
    }

    /// Number of places where names collapse.
    pub fn len(&self) -> usize {
        self.places().len()
    }

    pub fn is_empty(&self) -> bool {
        self.root == Node::default()
    }

    /// Writes the template that a written template has become by now: `/docs/*` for `/docs/a`.
    pub(crate) fn rewrite(&self, template: &str, out: &mut String) {
        let mut cursor = self.cursor();
        for segment in template.strip_prefix('/').unwrap_or(template).split('/') {
            out.push('/');
            let mark = out.len();
            out.push_str(segment);
            cursor.apply(mark, out);
        }
    }

    /// Why a template reads as it does, in words; `None` if nothing in it was learned.
    pub(crate) fn reason(&self, template: &str) -> Option<String> {
        let mut node = &self.root;
        let mut reasons = Vec::new();
        let mut path_len = 0;
        for segment in template.strip_prefix('/').unwrap_or(template).split('/') {
            if let Some(collapse) = node.collapse.as_ref().filter(|_| segment.starts_with('*')) {
                reasons.push(collapse.reason(&template[..path_len]));
            }
            path_len += 1 + segment.len();
            match node.children.get(segment) {
                Some(child) => node = child,
                None => break,
            }
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// The same with at most `most` collapses: the shallowest, which spare the most classes.
    #[must_use]
    pub fn truncated(&self, most: usize) -> Self {
        let mut places = self.places();
        places.sort_by_key(|place| place.path.matches('/').count());
        places.truncate(most);
        places.into()
    }

    fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        self.root.collect(&mut String::new(), &mut places);
        places
    }
}

impl From<Vec<Place>> for Templates {
    fn from(places: Vec<Place>) -> Self {
        let mut templates = Self::default();
        for Place { path, collapse } in places {
            if path.matches('/').count() > MAX_DEPTH {
                continue;
            }
            let mut node = &mut templates.root;
            for segment in path.split('/').skip(1) {
                node = node.children.entry(segment.into()).or_default();
            }
            node.collapse = Some(collapse);
        }
        templates
    }
}

impl From<Templates> for Vec<Place> {
    fn from(templates: Templates) -> Self {
        templates.places()
    }
}

impl Node {
    fn same_as(&self, other: &Self) -> bool {
        let collapses = match (&self.collapse, &other.collapse) {
            (None, None) => true,
            (Some(a), Some(b)) => a.extensions == b.extensions && a.keep.keys().eq(b.keep.keys()),
            _ => false,
        };
        let mut pairs = self.children.iter().zip(&other.children);
        collapses
            && self.children.len() == other.children.len()
            && pairs.all(|(a, b)| a.0 == b.0 && a.1.same_as(b.1))
    }

    fn collect(&self, path: &mut String, places: &mut Vec<Place>) {
        if let Some(collapse) = &self.collapse {
            places.push(Place { path: path.clone(), collapse: collapse.clone() });
        }
        for (segment, child) in &self.children {
            let mark = path.len();
            path.push('/');
            path.push_str(segment);
            child.collect(path, places);
            path.truncate(mark);
        }
    }
}

impl Collapse {
    /// Whether a segment, as written, is one of the names that are replaced.
    pub(crate) fn takes(&self, segment: &str) -> bool {
        let undecided = !stays(segment) && !self.keep.contains_key(segment);
        undecided || (!self.extensions && segment.starts_with("*."))
    }

    fn reason(&self, path: &str) -> String {
        let path = if path.is_empty() { "/" } else { path };
        let (names, share) = (self.names, self.share);
        format!("{names} different names under {path}, none above {share} % of its requests")
    }
}

/// A place in the templates, moving down as a path is written.
pub(crate) struct Cursor<'a> {
    node: Option<&'a Node>,
}

impl Cursor<'_> {
    /// Takes in the segment that `out` holds from `start` on, and replaces it if it is to be.
    pub(crate) fn apply(&mut self, start: usize, out: &mut String) {
        let Some(node) = self.node else { return };
        if let Some(collapse) = node.collapse.as_ref().filter(|collapse| collapse.takes(&out[start..])) {
            let suffix = if collapse.extensions { extension(&out[start..]).len() } else { 0 };
            let end = out.len() - suffix;
            out.replace_range(start..end, "*");
        }
        self.node = node.children.get(&out[start..]);
    }
}
