//! From a path to a template: what tells requests apart stays, what only numbers them goes.
//!
//! First the static rules of [`crate::segment`], then what was learned ([`Templates`]).

use crate::segment;
use crate::templates::Templates;

/// Segments deeper than this are folded: a class is a place in an application, not a file path.
const MAX_SEGMENTS: usize = 8;

/// What stands for the segments that are folded.
const REST: &str = "/{rest}";

/// The most bytes that [`REST`] and an extension add.
pub(crate) const REST_LEN: usize = REST.len() + 6;

/// Writes the template of `path` (no query) to `out`: `/news/17/image.jpg` as `/news/{n}/image.jpg`.
/// Adds at most `most` bytes, and keeps whole segments: what does not fit is folded into `{rest}`.
/// `most` must have room for [`REST`] and an extension.
pub(crate) fn write_template(path: &str, templates: &Templates, most: usize, out: &mut String) {
    let start = out.len();
    let full = start + most - REST_LEN;
    let mut learned = templates.cursor();
    let mut names_a_file = FileName::default();
    let mut segments = Segments::of(path);
    for segment in segments.by_ref().take(MAX_SEGMENTS) {
        let mark = out.len();
        out.push('/');
        if names_a_file.is_next(segment) {
            out.push('*');
            segment::push_clean(segment::extension(segment), out);
        } else {
            segment::write(segment, out);
        }
        learned.apply(mark + 1, out);
        if out.len() > full {
            out.truncate(mark);
            return write_rest(segments.last().unwrap_or(segment), out);
        }
    }
    if let Some(last) = segments.last() {
        write_rest(last, out);
    } else if out.len() == start {
        out.push('/');
    }
}

fn write_rest(last: &str, out: &mut String) {
    out.push_str(REST);
    out.push_str(segment::extension(last));
}

/// Finds the file name in `@@download/file/annual-report.pdf`: Plone ignores it, people see it.
#[derive(Default)]
struct FileName {
    /// Segments since the view's name, itself included. Zero: none was seen.
    since: u8,
}

impl FileName {
    fn is_next(&mut self, segment: &str) -> bool {
        self.since = match (self.since, segment) {
            (_, "@@download" | "@@display-file") => 1,
            (1 | 2, _) => self.since + 1,
            _ => 0,
        };
        self.since == 3
    }
}

/// The segments of a path as the application sees it: without what a front server wrote before it
/// for Zope's virtual host monster, `/VirtualHostBase/http/host:80/site/VirtualHostRoot/_vh_x/...`.
/// The root in between (`site`) is kept, as it tells sites apart.
struct Segments<'a> {
    left: std::iter::Peekable<std::str::Split<'a, char>>,
    host: VirtualHost,
}

#[derive(PartialEq)]
enum VirtualHost {
    None,
    /// Within the physical root.
    Root,
    /// Among the `_vh_` names of the outer path.
    Outer,
}

impl<'a> Segments<'a> {
    fn of(path: &'a str) -> Self {
        let mut left = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
        let mut host = VirtualHost::None;
        if left.peek() == Some(&"VirtualHostBase") {
            // The name, the scheme, the host and port.
            left.by_ref().take(3).for_each(drop);
            host = VirtualHost::Root;
        }
        Self { left, host }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut next = self.left.next()?;
        if self.host == VirtualHost::Root && next == "VirtualHostRoot" {
            self.host = VirtualHost::Outer;
            next = self.left.next()?;
        }
        if self.host == VirtualHost::Outer {
            while next.starts_with("_vh_") {
                next = self.left.next()?;
            }
            self.host = VirtualHost::None;
        }
        Some(next)
    }
}
