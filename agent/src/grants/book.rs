//! Who has been told what. No clock, no I/O.

use super::{divide::divide, division::Division};

/// What a balancer says, with its answer to a report, of the instance that the report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Workers that its requests hold, and would hold if they were all its own. `None`: it does not say, as those of
    /// an earlier release; then it may want all.
    pub workers: Option<u32>,
}

/// A balancer, for as long as it is reported to: one that comes back is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(u64);

/// One balancer's share.
#[derive(Clone, Debug)]
struct Share {
    holder: Holder,
    /// It took the last report that was sent to it. Taken for granted before the first.
    is_there: bool,
    /// What it wants, as of late: a drop is followed by a quarter with each report.
    wanted: u32,
    /// In force there, as far as is known: what it was told by the last report that it took, ...
    acknowledged: u32,
    /// ... or by any report that was made after that one.
    on_the_way: u32,
    /// In the newest report. `None`: it came later.
    told: Option<u32>,
}

impl Share {
    /// The most that it may believe it has.
    fn most(&self) -> u32 {
        self.acknowledged.max(self.on_the_way)
    }

    /// Whether it should hear of `grant` before the timer says so.
    fn lacks(&self, grant: u32) -> bool {
        self.is_there && self.told.is_none_or(|told| grant > told)
    }
}

/// All balancers' shares of one instance's workers.
#[derive(Clone, Debug)]
pub struct Book {
    workers: u32,
    /// In the order in which they came.
    shares: Vec<Share>,
    joined: u64,
    /// Of the first report everybody hears in any case.
    has_reported: bool,
}

impl Book {
    pub fn new(workers: u32) -> Self {
        Self { workers, shares: Vec::new(), joined: 0, has_reported: false }
    }

    /// Another number of workers: grants follow with the next reports.
    pub fn set_workers(&mut self, workers: u32) {
        self.workers = workers;
    }

    /// One more balancer. It has nothing until a report has told it something.
    pub fn join(&mut self) -> Holder {
        let holder = Holder(self.joined);
        self.joined += 1;
        let wanted = self.workers;
        let nothing = Share { holder, is_there: true, wanted, acknowledged: 0, on_the_way: 0, told: None };
        self.shares.push(nothing);
        holder
    }

    /// A balancer is no longer reported to: its share is the others'.
    pub fn leave(&mut self, holder: Holder) {
        self.shares.retain(|share| share.holder != holder);
    }

    /// What each balancer is told with the next report. What one gives up is given to others once it knows.
    pub fn grant(&mut self) -> Division {
        let grants = self.possible();
        for (share, grant) in self.shares.iter_mut().zip(&grants) {
            share.told = Some(*grant);
            share.on_the_way = share.on_the_way.max(*grant);
        }
        self.has_reported = true;
        Division::new(self.shares.iter().map(|share| share.holder).zip(grants))
    }

    /// Whether the next report would raise somebody's share, or be somebody's first: that is not left to the timer.
    pub fn has_news(&self) -> bool {
        let possible = self.possible();
        self.has_reported && self.shares.iter().zip(possible).any(|(share, grant)| share.lacks(grant))
    }

    /// A balancer took a report in which it was told `grant`.
    pub fn acknowledged(&mut self, holder: Holder, grant: u32, wants: Wants) {
        let workers = self.workers;
        let Some(share) = self.share(holder) else { return };
        share.is_there = true;
        (share.acknowledged, share.on_the_way) = (grant, share.told.unwrap_or_default());
        let wanted = wants.workers.unwrap_or(workers).min(workers);
        share.wanted = wanted.max(share.wanted - share.wanted.div_ceil(4));
    }

    /// A balancer did not take a report: its share is the others'. If it is there all the same, and goes on, what it
    /// sends beyond that waits at the gate.
    pub fn failed(&mut self, holder: Holder) {
        let Some(share) = self.share(holder) else { return };
        (share.is_there, share.acknowledged, share.on_the_way, share.told) = (false, 0, 0, Some(0));
    }

    fn share(&mut self, holder: Holder) -> Option<&mut Share> {
        self.shares.iter_mut().find(|share| share.holder == holder)
    }

    /// Shares as they should be, as far as they are free.
    fn possible(&self) -> Vec<u32> {
        if self.shares.len() == 1 {
            // Nothing is said to one that is alone, which means this, whether it is there or not.
            return vec![self.workers];
        }
        let mut grants = self.due();
        let most: Vec<u32> = self.shares.iter().map(Share::most).collect();
        let all: u32 = most.iter().sum();
        for (grant, own) in grants.iter_mut().zip(&most) {
            *grant = (*grant).min(self.workers.saturating_sub(all - own));
        }
        // Several may have been raised into the same free workers.
        for index in 0..grants.len() {
            let sum: u32 = grants.iter().zip(&most).map(|(grant, most)| most.max(grant)).sum();
            let excess = sum.saturating_sub(self.workers);
            let raised = grants[index].saturating_sub(most[index]);
            grants[index] -= excess.min(raised);
        }
        grants
    }

    /// Shares as they should be: none for those that are not there.
    fn due(&self) -> Vec<u32> {
        let wanted: Vec<u32> = self.shares.iter().filter(|s| s.is_there).map(|s| s.wanted).collect();
        let mut divided = divide(self.workers, &wanted).into_iter();
        let mut next = |share: &Share| if share.is_there { divided.next() } else { None };
        self.shares.iter().map(|share| next(share).unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(workers: u32) -> Wants {
        Wants { workers: Some(workers) }
    }

    /// One report, which each balancer in `wanted` takes, in the order in which they came.
    fn report(book: &mut Book, wanted: &[Option<u32>]) -> Vec<u32> {
        let grants = book.grant();
        let holders: Vec<_> = book.shares.iter().map(|share| share.holder).collect();
        for (holder, wanted) in holders.iter().zip(wanted) {
            match wanted {
                Some(wanted) => book.acknowledged(*holder, grants.of(*holder), wants(*wanted)),
                None => book.failed(*holder),
            }
        }
        holders.iter().map(|holder| grants.of(*holder)).collect()
    }

    fn book(workers: u32, balancers: usize) -> Book {
        let mut book = Book::new(workers);
        for _ in 0..balancers {
            book.join();
        }
        book
    }

    #[test]
    fn one_that_comes_gets_its_share_from_the_others_and_leaves_it_to_them() {
        let mut book = book(4, 1);
        assert!(!book.has_news(), "the first report comes by itself");
        assert_eq!(report(&mut book, &[Some(4)]), [4]);
        let second = book.join();
        assert!(book.has_news(), "it should hear of this instance");
        assert_eq!(report(&mut book, &[Some(4), Some(4)]), [2, 0], "the first is asked");
        assert!(book.has_news());
        assert_eq!(report(&mut book, &[Some(4), Some(4)]), [2, 2]);
        assert!(!book.has_news());
        book.leave(second);
        assert!(book.has_news());
        assert_eq!(report(&mut book, &[Some(4)]), [4]);
        assert!(!book.has_news());
    }

    /// To one that is alone nothing is said, so that it counts on all.
    #[test]
    fn one_that_was_alone_and_away_is_asked_before_another_gets_what_it_may_have() {
        let mut book = book(4, 1);
        assert_eq!(report(&mut book, &[None]), [4]);
        let alone = book.grant();
        book.join();
        let first = book.shares[0].holder;
        book.acknowledged(first, alone.of(first), wants(4));
        assert_eq!(report(&mut book, &[Some(4), Some(4)]), [2, 0]);
        assert_eq!(report(&mut book, &[Some(4), Some(4)]), [2, 2]);
    }

    #[test]
    fn workers_that_come_and_go_are_divided_anew() {
        let mut book = book(4, 2);
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
        let mut book = book(4, 2);
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
        let mut book = book(8, 2);
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
        let mut book = book(1, 2);
        let later = |book: &mut Book, wanted: [u32; 2]| {
            (0..6).map(|_| report(book, &wanted.map(Some))).last().expect("six")
        };
        assert_eq!(later(&mut book, [0, 1]), [0, 1]);
        assert_eq!(later(&mut book, [1, 0]), [1, 0]);
    }

    /// A balancer as the agent does not see it.
    #[derive(Clone)]
    struct Balancer {
        holder: Holder,
        heard: u32,
        /// Being sent to it, and what will be sent then: the newest.
        sent: Option<u32>,
        newest: Option<u32>,
    }

    /// Whatever is lost or late, and whoever comes and goes: what balancers that take reports may believe to have is
    /// never more than there is, and once the world is quiet everyone has what is due.
    #[test]
    fn never_more_is_granted_than_there_is() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..300 {
            let workers = rng.u32(1..10);
            let mut book = Book::new(workers);
            let come = |book: &mut Book| Balancer { holder: book.join(), heard: 0, sent: None, newest: None };
            let mut balancers: Vec<_> = (0..rng.usize(1..5)).map(|_| come(&mut book)).collect();
            for _ in 0..200 {
                let event = rng.u32(..40);
                if event == 0 && balancers.len() < 5 {
                    balancers.push(come(&mut book));
                } else if event == 1 && balancers.len() > 1 {
                    book.leave(balancers.swap_remove(rng.usize(..balancers.len())).holder);
                } else if event < 14 {
                    let grants = book.grant();
                    balancers.iter_mut().for_each(|one| one.newest = Some(grants.of(one.holder)));
                } else {
                    let one = rng.usize(..balancers.len());
                    happen(&mut book, &mut balancers[one], &mut rng);
                }
                let heard: Vec<u32> = balancers.iter().map(|one| one.heard).collect();
                assert!(heard.iter().sum::<u32>() <= workers, "{heard:?} of {workers}");
            }
            for _ in 0..3 {
                report(&mut book, &vec![Some(workers); balancers.len()]);
            }
            let sum: u32 = report(&mut book, &[]).iter().sum();
            assert_eq!(sum, workers, "all of them are granted");
        }
    }

    /// A report is lost, or taken.
    fn happen(book: &mut Book, one: &mut Balancer, rng: &mut fastrand::Rng) {
        if rng.u32(..4) == 0 {
            book.failed(one.holder);
            (one.heard, one.sent, one.newest) = (0, None, None);
            return;
        }
        if let Some(grant) = one.sent.take() {
            one.heard = grant;
            book.acknowledged(one.holder, grant, wants(rng.u32(..12)));
        }
        one.sent = one.newest.take();
    }
}
