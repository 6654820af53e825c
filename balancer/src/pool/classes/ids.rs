//! Small dense numbers for classes, so that what is learned of them can be kept in a vector.

use crate::decide::ids::ClassId;

/// Which numbers are taken. One is used again only after [`super::ClassTable::tend`] has said that it
/// is free, and not before that is called once more.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// Above all that were ever given out.
    next: u32,
    free: Vec<ClassId>,
    /// Free, but whoever keeps something under them has yet to be told.
    resting: Vec<ClassId>,
}

impl Ids {
    pub(super) fn take(&mut self) -> ClassId {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            ClassId(self.next - 1)
        })
    }

    pub(super) fn give_back(&mut self, id: ClassId) {
        self.resting.push(id);
    }

    /// Makes what was given back before available.
    pub(super) fn recycle(&mut self) {
        self.free.append(&mut self.resting);
    }
}
