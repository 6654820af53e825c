//! Workers, divided among those who want some. A pure function.

/// Shares of `workers`, never more in all: everyone one, so that nobody has to ask first, then whoever wants more by
/// turns (max-min fairness), then what nobody wants. With fewer workers than balancers those who want the most have
/// one, and of equals the first.
pub(super) fn divide(workers: u32, wanted: &[u32]) -> Vec<u32> {
    let mut shares = vec![0; wanted.len()];
    let mut left = workers;
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(wanted[*index]));
    for index in order.into_iter().take(left as usize) {
        shares[index] = 1;
        left -= 1;
    }
    left = raise(&mut shares, left, |index, share| wanted[index].saturating_sub(share));
    raise(&mut shares, left, |_, _| u32::MAX);
    shares
}

/// Gives out what is left, the least first, until everyone has what `lacks` says or nothing is left.
fn raise(shares: &mut [u32], mut left: u32, lacks: impl Fn(usize, u32) -> u32) -> u32 {
    while left > 0 {
        let poor = (0..shares.len()).filter(|index| lacks(*index, shares[*index]) > 0);
        let Some(least) = poor.min_by_key(|index| shares[*index]) else { break };
        shares[least] += 1;
        left -= 1;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_more_gets_what_others_leave() {
        for (workers, wanted, shares) in [
            (4, vec![9], vec![4]),
            (4, vec![4, 4], vec![2, 2]),
            (4, vec![9, 1], vec![3, 1]),
            (4, vec![9, 0], vec![3, 1]),
            (4, vec![0, 0], vec![2, 2]),
            (5, vec![4, 4], vec![3, 2]),
            (8, vec![1, 2, 9], vec![1, 2, 5]),
            (1, vec![1, 4], vec![0, 1]),
            (1, vec![4, 4], vec![1, 0]),
            (2, vec![3, 4, 5], vec![0, 1, 1]),
            (0, vec![1, 1], vec![0, 0]),
            (4, vec![], vec![]),
        ] {
            assert_eq!(divide(workers, &wanted), shares, "{workers} among {wanted:?}");
        }
    }

    #[test]
    fn all_workers_are_given_and_no_more_and_nobody_gets_nothing_while_there_are_enough() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..2000 {
            let workers = rng.u32(1..40);
            let wanted: Vec<u32> = (0..rng.usize(1..8)).map(|_| rng.u32(..50)).collect();
            let shares = divide(workers, &wanted);
            assert_eq!(shares.iter().sum::<u32>(), workers, "{workers} among {wanted:?}");
            assert!(
                (workers as usize) < wanted.len() || shares.iter().all(|share| *share > 0),
                "{workers} among {wanted:?}: {shares:?}"
            );
            for (a, b) in (0..shares.len()).flat_map(|a| (0..shares.len()).map(move |b| (a, b))) {
                let envies = shares[a] + 1 < shares[b] && shares[a] < wanted[a];
                assert!(!envies || shares[b] == 1, "{workers} among {wanted:?}: {shares:?}");
            }
        }
    }
}
