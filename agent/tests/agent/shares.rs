//! Several balancers share an instance: what each is told to count on.

use std::collections::BTreeMap;

use sluice_proto::Report;

use crate::support::{
    Agent,
    balancer::{FakeBalancer, Manner},
    instance::FakeInstance,
};

fn grants(workers: Option<u32>) -> impl Fn(&Report) -> bool {
    move |report| report.grant == workers
}

#[tokio::test]
async fn one_balancer_alone_is_told_of_no_share() {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let _agent = Agent::start(instance.address, &[balancer.address], "--workers 4");
    for _ in 0..3 {
        assert_eq!(balancer.report().await.grant, None);
    }
}

/// Reports and not time: within two of them, whatever the machine has to do besides.
#[tokio::test]
async fn a_balancer_that_dies_leaves_its_share_to_the_other_within_two_reports() {
    let instance = FakeInstance::start().await;
    let mut stays = FakeBalancer::start().await;
    let mut dies = FakeBalancer::start().await;
    let flags = "--workers 4 --interval 500ms";
    let _agent = Agent::start(instance.address, &[stays.address, dies.address], flags);
    stays.report_with("its half", grants(Some(2))).await;
    let seen = dies.report_with("the other half", grants(Some(2))).await.seq;
    let address = dies.kill().await;
    let all = stays.report_with("everything", grants(Some(4))).await;
    // The one that was sent when it died, the one that it did not take, and the one that says so.
    assert!(all.seq <= seen + 3, "{seen}, {}", all.seq);

    let mut back = FakeBalancer::start_at(address, Manner::Plan).await;
    back.report_with("its half again", grants(Some(2))).await;
    stays.report_with("half of them", grants(Some(2))).await;
}

/// Of every report, the shares of all who get it are no more than there is.
#[tokio::test]
async fn no_more_is_granted_than_there_is() {
    for workers in [1, 3] {
        let instance = FakeInstance::start().await;
        let mut balancers = [FakeBalancer::start().await, FakeBalancer::start().await];
        let addresses = balancers.each_ref().map(|balancer| balancer.address);
        let _agent = Agent::start(instance.address, &addresses, &format!("--workers {workers}"));
        let mut sums = BTreeMap::<u64, u32>::new();
        for round in 0..10 {
            // A balancer that fails now and then loses its share, and gets it back.
            let manner = if round % 4 == 3 { Manner::Status(500) } else { Manner::Plan };
            balancers[0].set_manner(manner);
            for balancer in &mut balancers {
                let report = balancer.report().await;
                *sums.entry(report.seq).or_default() += report.grant.expect("there are two");
            }
        }
        assert!(sums.values().all(|sum| *sum <= workers), "{workers}: {sums:?}");
        assert!(sums.values().any(|sum| *sum == workers), "{workers}: {sums:?}");
    }
}
