//! Who has been told what. No clock, no I/O.

use super::divide::divide;

/// What a balancer says, with its answer to a report, of the instance that the report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Workers that its requests hold, and would hold if they were all its own. `None`: it does not say, as those of
    /// an earlier release; then it may want all.
    pub workers: Option<u32>,
}

/// One balancer's share.
#[derive(Clone, Debug)]
struct Share {
    /// It took the last report that was sent to it. Taken for granted before the first.
    is_there: bool,
    /// What it wants, as of late: a drop is followed by a quarter with each report.
    wanted: u32,
    /// In force there, as far as is known: what it was told by the last report that it took, ...
    acknowledged: u32,
    /// ... or by any report that was made after that one.
    on_the_way: u32,
    /// In the newest report.
    told: u32,
}

impl Share {
    /// The most that it may believe it has.
    fn most(&self) -> u32 {
        if self.is_there { self.acknowledged.max(self.on_the_way) } else { 0 }
    }
}

/// All balancers' shares of one instance's workers.
#[derive(Clone, Debug)]
pub struct Book {
    workers: u32,
    shares: Vec<Share>,
}

impl Book {
    pub fn new(workers: u32, balancers: usize) -> Self {
        let nobody = Share { is_there: true, wanted: workers, acknowledged: 0, on_the_way: 0, told: 0 };
        Self { workers, shares: vec![nobody; balancers] }
    }

    /// Another number of workers: grants follow with the next reports.
    pub fn set_workers(&mut self, workers: u32) {
        self.workers = workers;
    }

    /// What each balancer is told with the next report. What one gives up is given to others once it knows.
    pub fn grant(&mut self) -> Vec<u32> {
        let grants = self.possible();
        for (share, grant) in self.shares.iter_mut().zip(&grants) {
            share.told = *grant;
            share.on_the_way = share.on_the_way.max(*grant);
        }
        grants
    }

    /// Whether the next report would raise somebody's share: that is not left to the timer.
    pub fn has_news(&self) -> bool {
        let possible = self.possible();
        self.shares.iter().zip(possible).any(|(share, grant)| share.is_there && grant > share.told)
    }

    /// A balancer took a report in which it was told `grant`.
    pub fn acknowledged(&mut self, balancer: usize, grant: u32, wants: Wants) {
        let Some(share) = self.shares.get_mut(balancer) else { return };
        share.is_there = true;
        (share.acknowledged, share.on_the_way) = (grant, share.told);
        let wanted = wants.workers.unwrap_or(self.workers).min(self.workers);
        share.wanted = wanted.max(share.wanted - share.wanted.div_ceil(4));
    }

    /// A balancer did not take a report: its share is the others'. If it is there all the same, and goes on, what it
    /// sends beyond that waits at the gate.
    pub fn failed(&mut self, balancer: usize) {
        let Some(share) = self.shares.get_mut(balancer) else { return };
        (share.is_there, share.acknowledged, share.on_the_way, share.told) = (false, 0, 0, 0);
    }

    /// Shares as they should be, as far as they are free.
    fn possible(&self) -> Vec<u32> {
        let there: Vec<usize> = (0..self.shares.len()).filter(|i| self.shares[*i].is_there).collect();
        let wanted: Vec<u32> = there.iter().map(|index| self.shares[*index].wanted).collect();
        let mut grants = vec![0; self.shares.len()];
        there.iter().zip(divide(self.workers, &wanted)).for_each(|(index, share)| grants[*index] = share);
        let taken = |index: usize, grants: &[u32]| self.shares[index].most().max(grants[index]);
        for index in there {
            let others = (0..self.shares.len()).filter(|other| *other != index);
            let others: u32 = others.map(|other| self.shares[other].most()).sum();
            let free = self.workers.saturating_sub(others);
            grants[index] = grants[index].min(free);
        }
        // Several may have been raised into the same free workers.
        for index in 0..grants.len() {
            let sum: u32 = (0..grants.len()).map(|other| taken(other, &grants)).sum();
            let most = self.shares[index].most();
            let excess = sum.saturating_sub(self.workers);
            if grants[index] > most {
                grants[index] -= excess.min(grants[index] - most);
            }
        }
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(workers: u32) -> Wants {
        Wants { workers: Some(workers) }
    }

    /// One report, which each balancer in `wanted` takes.
    fn report(book: &mut Book, wanted: &[Option<u32>]) -> Vec<u32> {
        let grants = book.grant();
        for (balancer, wanted) in wanted.iter().enumerate() {
            match wanted {
                Some(wanted) => book.acknowledged(balancer, grants[balancer], wants(*wanted)),
                None => book.failed(balancer),
            }
        }
        grants
    }

    #[test]
    fn workers_that_come_and_go_are_divided_anew() {
        let mut book = Book::new(4, 2);
        assert_eq!(report(&mut book, &[Some(8), Some(8)]), [2, 2]);
        book.set_workers(2);
        assert_eq!(report(&mut book, &[Some(8), Some(8)]), [0, 0], "both still count on two");
        for _ in 0..3 {
            assert!(report(&mut book, &[Some(8), Some(8)]).iter().sum::<u32>() <= 2);
        }
        assert_eq!(report(&mut book, &[Some(8), Some(8)]), [1, 1]);
        book.set_workers(6);
        assert!(book.has_news());
        assert_eq!(report(&mut book, &[Some(8), Some(8)]), [3, 3]);
    }

    #[test]
    fn a_balancer_that_dies_leaves_its_share_with_the_next_report() {
        let mut book = Book::new(4, 2);
        for _ in 0..3 {
            assert_eq!(report(&mut book, &[Some(4), Some(4)]), [2, 2]);
        }
        assert!(!book.has_news());
        assert_eq!(report(&mut book, &[Some(4), None]), [2, 2], "nobody knows yet");
        assert!(book.has_news(), "which is told at once");
        assert_eq!(report(&mut book, &[Some(4), None]), [4, 0]);
        assert_eq!(report(&mut book, &[Some(4), Some(4)]), [4, 0], "it is back: the other is asked first");
        assert_eq!(report(&mut book, &[Some(4), Some(4)]), [2, 0]);
        assert!(book.has_news());
        assert_eq!(report(&mut book, &[Some(4), Some(4)]), [2, 2]);
    }

    #[test]
    fn shares_follow_what_is_wanted() {
        let mut book = Book::new(8, 2);
        let later = |book: &mut Book, wanted: [u32; 2]| {
            (0..12).map(|_| report(book, &wanted.map(Some))).last().expect("twelve")
        };
        assert_eq!(later(&mut book, [8, 8]), [4, 4]);
        assert_eq!(later(&mut book, [8, 1]), [7, 1]);
        assert_eq!(later(&mut book, [2, 8]), [2, 6]);
        assert_eq!(later(&mut book, [1, 1]), [4, 4]);
    }

    #[test]
    fn one_worker_is_whose_who_wants_it() {
        let mut book = Book::new(1, 2);
        let later = |book: &mut Book, wanted: [u32; 2]| {
            (0..6).map(|_| report(book, &wanted.map(Some))).last().expect("six")
        };
        assert_eq!(later(&mut book, [0, 1]), [0, 1]);
        assert_eq!(later(&mut book, [1, 0]), [1, 0]);
    }

    /// Whatever is lost or late, and whoever comes and goes: what balancers that take reports may believe to have is
    /// never more than there is, and once the world is quiet everyone has what is due.
    #[test]
    fn never_more_is_granted_than_there_is() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..300 {
            let (workers, balancers) = (rng.u32(1..10), rng.usize(1..5));
            let mut book = Book::new(workers, balancers);
            // What each has heard, what is being sent to it, and what will be sent then: the newest.
            let mut heard = vec![0; balancers];
            let mut sent: Vec<Option<u32>> = vec![None; balancers];
            let mut newest: Vec<Option<u32>> = vec![None; balancers];
            for _ in 0..200 {
                let balancer = rng.usize(..balancers);
                match rng.u32(..6) {
                    0 | 1 => newest = book.grant().into_iter().map(Some).collect(),
                    2 => {
                        book.failed(balancer);
                        (heard[balancer], sent[balancer], newest[balancer]) = (0, None, None);
                    }
                    _ => {
                        if let Some(grant) = sent[balancer].take() {
                            heard[balancer] = grant;
                            book.acknowledged(balancer, grant, wants(rng.u32(..12)));
                        }
                        sent[balancer] = newest[balancer].take();
                    }
                }
                let sum: u32 = heard.iter().sum();
                assert!(sum <= workers, "{heard:?} of {workers}");
            }
            for _ in 0..3 {
                let grants = book.grant();
                (0..balancers).for_each(|i| book.acknowledged(i, grants[i], wants(workers)));
            }
            assert_eq!(book.grant().iter().sum::<u32>(), workers, "all of them are granted");
        }
    }
}
