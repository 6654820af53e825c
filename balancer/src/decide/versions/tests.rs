use std::time::{Duration, Instant};

use super::*;

fn candidates(counts: &[(&str, usize)]) -> Vec<Candidate> {
    let labels = counts.iter().flat_map(|(label, count)| std::iter::repeat_n(*label, *count));
    let one = |(id, label): (usize, &str)| Candidate {
        id: InstanceId(id as u64),
        label: label.into(),
        ready: true,
    };
    labels.enumerate().map(one).collect()
}

/// The label that gets everything.
fn served(assignment: &Assignment) -> &str {
    match assignment.shares.as_slice() {
        [(label, share)] => {
            assert_eq!(*share, 1.0);
            label
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rollout_moves_the_requests_once() {
    let (start, mut versions) = (Instant::now(), Versions::default());
    let mut moves = Vec::new();
    // Seconds, old ones, new ones, and who gets the requests.
    for (at, old, new, expected) in [
        (0, 4, 0, "1"),
        (10, 3, 0, "1"),
        (12, 3, 1, "1"),
        (14, 2, 1, "1"),
        (16, 2, 2, "1"),
        (20, 1, 2, "1"),
        // Has not led for 3 s: one of the new ones is away for a moment.
        (22, 1, 1, "1"),
        (23, 1, 2, "1"),
        (25, 1, 2, "1"),
        (26, 1, 2, "2"),
        // A tie stays.
        (27, 1, 1, "2"),
        (28, 2, 1, "2"),
        (29, 1, 2, "2"),
        (30, 0, 4, "2"),
    ] {
        let now = start + Duration::from_secs(at);
        let (assignment, moved) =
            versions.decide(&VersionPolicy::Majority, &candidates(&[("1", old), ("2", new)]), now);
        assert_eq!(served(&assignment), expected, "at {at} s");
        moves.extend(moved.map(|moved| (at, moved.text)));
    }
    let expected = [(0, "version 1 gets the requests"), (26, "version 2 gets the requests")];
    assert_eq!(moves, expected.map(|(at, text)| (at, text.to_owned())));
}

#[test]
fn who_has_nobody_left_loses_the_requests_at_once() {
    let (start, mut versions) = (Instant::now(), Versions::default());
    let mut at = |seconds: u64, counts: &[(&str, usize)]| {
        let now = start + Duration::from_secs(seconds);
        served(&versions.decide(&VersionPolicy::Majority, &candidates(counts), now).0).to_owned()
    };
    assert_eq!(at(0, &[("a", 1)]), "a");
    assert_eq!(at(1, &[("a", 1), ("", 2)]), "", "agents come one by one at the start; no label is one");
    assert_eq!(at(60, &[("a", 3), ("", 2)]), "", "not yet");
    assert_eq!(at(61, &[("a", 3)]), "a");
}

#[test]
fn while_nobody_is_up_nothing_is_decided() {
    let mut down = candidates(&[("a", 2)]);
    down.iter_mut().for_each(|candidate| candidate.ready = false);
    for policy in [VersionPolicy::Majority, "a=1".parse().expect("valid")] {
        let decided = Versions::default().decide(&policy, &down, Instant::now());
        assert_eq!(decided, (Assignment::default(), None), "{policy}");
    }
}

#[test]
fn shares_are_of_those_that_are_there() {
    let shares = |policy: &str, counts: &[(&str, usize)]| {
        let policy = policy.parse().expect("valid");
        let (assignment, moved) = Versions::default().decide(&policy, &candidates(counts), Instant::now());
        let shares = assignment.shares.iter().map(|(label, share)| format!("{label}:{share:.2}"));
        (shares.collect::<Vec<_>>().join(" "), assignment.cohorts.len(), moved.is_some())
    };
    for (policy, counts, expected) in [
        ("a=90,b=10", &[("a", 3_usize), ("b", 1)] as &[(&str, usize)], ("a:0.90 b:0.10", 4)),
        ("a=90,b=10", &[("a", 3), ("c", 1)], ("a:1.00", 3)),
        ("a=1,b=1,c=2", &[("a", 1), ("c", 1)], ("a:0.33 c:0.67", 2)),
        ("=3,b=1", &[("", 1), ("b", 1)], (":0.75 b:0.25", 2)),
        ("a=1,b=0", &[("a", 1), ("b", 5)], ("a:1.00", 1)),
        // Nobody of those that should is there: all are.
        ("a=1,b=0", &[("b", 5)], ("", 0)),
    ] {
        assert_eq!(shares(policy, counts), (expected.0.to_owned(), expected.1, true), "{policy} {counts:?}");
    }
}

#[test]
fn policies_are_read_as_they_are_written_and_nonsense_is_refused() {
    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    struct File {
        versions: VersionPolicy,
    }
    let shares = VersionPolicy::Shares(vec![("2.1".into(), 90.0), ("2.2".into(), 10.0)]);
    for (file, policy) in [
        ("'any'", VersionPolicy::Any),
        ("'majority'", VersionPolicy::Majority),
        ("'2.1=90,2.2=10'", shares.clone()),
        ("{ '2.1' = 90, '2.2' = 10 }", shares),
    ] {
        let read: File = toml::from_str(&format!("versions = {file}")).expect(file);
        assert_eq!(read.versions, policy, "{file}");
        let written = toml::to_string(&read).expect("written");
        assert_eq!(toml::from_str::<File>(&written).expect(&written), read);
        assert_eq!(policy.to_string().parse(), Ok(policy), "{file}");
    }
    for (text, part) in [
        ("most", "majority"),
        ("a", "any"),
        ("a=x", "shares"),
        ("a=-1", "from 0"),
        ("a=NaN", "from 0"),
        ("a=0", "above 0"),
        ("a=1,a=2", "two shares"),
        ("a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1", "at most 8"),
    ] {
        let error = text.parse::<VersionPolicy>().expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// Whatever comes and goes: while an instance is ready, one that is ready is served.
#[test]
fn some_ready_instance_is_always_served() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut now, mut versions) = (Instant::now(), Versions::default());
        let policy = if rng.bool() { "majority" } else { "a=3,b=1,=1" };
        let policy = policy.parse().expect("valid");
        for step in 0..100 {
            now += Duration::from_millis(rng.u64(0..2000));
            let count = rng.u64(0..6);
            let one = |id| Candidate {
                id: InstanceId(id),
                label: ["a", "b", "c", ""][rng.usize(..4)].into(),
                ready: rng.bool(),
            };
            let all: Vec<_> = (0..count).map(one).collect();
            let (assignment, _) = versions.decide(&policy, &all, now);
            let served =
                |c: &&Candidate| assignment.shares.is_empty() || assignment.cohorts.contains_key(&c.id);
            let any = all.iter().any(|c| c.ready);
            let any_served = all.iter().filter(|c| c.ready).any(|c| served(&c));
            assert_eq!(any, any_served, "seed {seed}, step {step}, {policy}: {all:?}");
            let sum: f64 = assignment.shares.iter().map(|(_, share)| share).sum();
            assert!(assignment.shares.is_empty() || (sum - 1.0).abs() < 1e-9, "seed {seed}: {sum}");
        }
    }
}
