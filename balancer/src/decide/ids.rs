//! Names by which the decisions speak of instances, classes and lanes: small, dense, free to copy.

use serde::{Deserialize, Serialize};

/// An instance, for the lifetime of the program; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(pub u64);

/// A class of a service: an index into whatever is kept per class. Used again once the class is
/// evicted and everything kept of it was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClassId(pub u32);

impl ClassId {
    /// Above this nothing is learned: it bounds the memory for classes, whatever the caller's table
    /// does, at 32 times its default size.
    pub const MOST: u32 = 65_535;

    /// What does not fit the table of classes.
    pub const OTHER: Self = Self(0);

    /// A class that nobody has asked for: nothing is known of it.
    pub const UNSEEN: Self = Self(u32::MAX);

    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Requests that hold a worker for about as long: lane 0 the shortest. What is in a higher lane is
/// called large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane(u8);

impl Lane {
    /// The most lanes there are: three steps of a factor of 8 span 10 ms to 5 s.
    pub const MOST: usize = 4;
    /// The shortest requests.
    pub const SMALL: Self = Self(0);
    /// The first of the large ones.
    pub const LARGE: Self = Self(1);

    /// The lane of that number; what is beyond the last is the last.
    pub fn new(index: usize) -> Self {
        Self(u8::try_from(index.min(Self::MOST - 1)).expect("below 4"))
    }

    pub fn index(self) -> usize {
        self.0.into()
    }

    /// For labels and messages.
    pub fn name(self) -> &'static str {
        ["small", "large", "large-2", "large-3"][self.index()]
    }

    pub fn is_large(self) -> bool {
        self.0 > 0
    }

    /// All of them, the shortest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..Self::MOST).map(Self::new)
    }
}
