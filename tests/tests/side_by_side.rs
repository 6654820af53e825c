//! Two balancers before one instance: neither overruns it, both are served, and one that dies leaves all to the other.

use std::time::Duration;

use sluice_emulation::dist::Dist;
use sluice_emulation::instance::{Instance, InstanceConfig};
use sluice_emulation::load::{self, ClassLoad, Progress, RunOptions, Summary, Workload};
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::{PATIENCE, admin, eventually, expect};

/// Worker time of a page, in milliseconds.
const WORK: f64 = 40.0;

/// An agent of so many workers before an instance that would take more, and two balancers before it.
async fn side_by_side(workers: u32) -> (Instance, Agent, [Balancer; 2]) {
    let config = InstanceConfig { workers: 16, ..InstanceConfig::default() };
    let instance = Instance::start(config).await.expect("a free port");
    // On a busy machine too, nobody is turned away: that is another test's matter.
    let patient = "--queue-timeout 5m --large-queue-timeout 5m";
    let balancers = [Balancer::start(patient), Balancer::start(patient)];
    let flags = format!("--workers {workers} --balancer http://{}", balancers[1].admin);
    let agent = Agent::start(balancers[0].admin, instance.addr(), &flags);
    for balancer in &balancers {
        admin::until_routed(balancer.admin, 1, PATIENCE).await;
    }
    (instance, agent, balancers)
}

async fn granted(balancer: &Balancer) -> Option<u64> {
    admin::instances(balancer.admin).await[0]["granted"].as_u64()
}

async fn until_granted(balancers: &[Balancer], what: &str, is_it: impl Fn(&[Option<u64>]) -> bool) {
    eventually(what, PATIENCE, async || {
        let mut shares = vec![];
        for balancer in balancers {
            shares.push(granted(balancer).await);
        }
        expect(shares, |shares| is_it(shares))
    })
    .await;
}

/// Pages for two seconds, at that share of what all workers can do.
async fn load(balancer: &Balancer, workers: u32, share: f64) -> Summary {
    let mut pages = ClassLoad::new("pages", share * f64::from(workers) * 1e3 / WORK);
    pages.work_ms = Dist::Constant(WORK);
    let duration = Duration::from_secs(2);
    let workload = Workload { name: "pages".into(), seed: 1, duration, classes: vec![pages] };
    load::run(balancer.address, &workload, RunOptions::default(), Progress::new(&workload)).await
}

#[tokio::test]
async fn two_balancers_never_overrun_an_instance_and_both_are_served() {
    for workers in [1, 4] {
        let (instance, _agent, balancers) = side_by_side(workers).await;
        until_granted(&balancers, "shares", |shares| {
            shares.iter().flatten().sum::<u64>() == u64::from(workers) && shares.iter().all(Option::is_some)
        })
        .await;
        // Together twice what there is.
        let (a, b) = tokio::join!(load(&balancers[0], workers, 1.0), load(&balancers[1], workers, 1.0));
        let stats = instance.stats();
        assert_eq!(stats.peak_busy, workers as usize, "all of them, and no more");
        let [a, b] = [a, b].map(|mut summary| summary.classes.remove(0));
        assert_eq!((a.failures(), b.failures()), (0, 0), "everybody gets an answer: {a:?}, {b:?}");
        let [a, b] = [a, b].map(|class| class.total.expect("many").mean_ms);
        println!("{workers} workers: on average {a:.0} and {b:.0} ms");
        // Both wait for about as long: the same load gets the same service.
        assert!(a < 2.0 * b && b < 2.0 * a, "{workers} workers: {a}, {b} ms");
    }
}

#[tokio::test]
async fn what_one_does_not_want_is_the_others() {
    let (_instance, _agent, balancers) = side_by_side(4).await;
    let one = async {
        load(&balancers[0], 4, 1.5).await;
    };
    let other = until_granted(&balancers, "three of four", |shares| shares == [Some(3), Some(1)]);
    tokio::join!(one, other);
}

#[tokio::test]
async fn a_balancer_that_dies_leaves_all_to_the_other() {
    let (_instance, _agent, balancers) = side_by_side(4).await;
    until_granted(&balancers, "halves", |shares| shares == [Some(2), Some(2)]).await;
    let [dies, stays] = balancers;
    drop(dies);
    until_granted(&[stays], "everything", |shares| shares == [Some(4)]).await;
}
