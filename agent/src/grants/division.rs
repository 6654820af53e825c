//! What a report says of grants.

use super::Holder;

/// Each balancer's share of the workers, as one report divides them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Division(Vec<(Holder, u32)>);

impl Division {
    pub(super) fn new(shares: impl IntoIterator<Item = (Holder, u32)>) -> Self {
        Self(shares.into_iter().collect())
    }

    /// Its share; 0 for one that came after the report was made.
    pub fn of(&self, holder: Holder) -> u32 {
        self.0.iter().find(|(other, _)| *other == holder).map_or(0, |(_, share)| *share)
    }

    /// What it is told; `None`: nothing, for it is alone.
    pub fn told(&self, holder: Holder) -> Option<u32> {
        match self.0[..] {
            [(only, _)] if only == holder => None,
            _ => Some(self.of(holder)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Book;

    #[test]
    fn nothing_is_said_to_one_that_is_alone() {
        let mut book = Book::new(3);
        let first = book.join();
        let alone = book.grant();
        assert_eq!((alone.told(first), alone.of(first)), (None, 3));
        let second = book.join();
        assert_eq!(alone.told(second), Some(0), "that report was not made for it");
        book.acknowledged(first, 3, super::super::Wants { workers: Some(3) });
        let shared = book.grant();
        assert_eq!((shared.told(first), shared.told(second)), (Some(2), Some(0)));
    }
}
