use super::*;
use crate::decide::outlier::OutlierParams;
use crate::decide::plan::PlanParams;
use crate::decide::predict::{ExtensionKey, RequestKey, UrlKey};
use crate::pool::classes::tests::table;
use sluice_proto::{ClassName, ClassRelease, ReleaseEvidence, ReleaseFound, ReleasePoint};

fn limits(queue_length: usize) -> ServiceLimits {
    ServiceLimits {
        queue_length,
        queue_timeout: Duration::from_secs(5),
        large_queue_timeout: Duration::from_secs(9),
        startup_hold: Duration::ZERO,
        outlier: OutlierParams::default(),
        plan: PlanParams::default(),
        plan_from_reports: false,
    }
}

fn service(queue_length: usize) -> Arc<Service> {
    starting(limits(queue_length))
}

fn starting(limits: ServiceLimits) -> Arc<Service> {
    Service::new(ServiceName::default(), limits, table(), None, fastrand::Rng::with_seed(1))
}

fn add(service: &Arc<Service>, id: u64, workers: u32, release: ReleasePoint) {
    let target = "127.0.0.1:1".parse().expect("a target");
    let name = format!("i{id}").parse().expect("a name");
    service.set_instance(
        Arc::new(Instance::new(InstanceId(id), name, target, release, now())),
        workers,
        true,
    );
}

/// A slot for a request of which nothing is known, and so nothing is sent behind.
async fn take(service: &Arc<Service>) -> Result<Slot, Failure> {
    let key = RequestKey { class: ClassId(0), url: UrlKey(0), extension: ExtensionKey::Bare };
    service.acquire(&Ask::new(key), &[]).await.map(|(slot, _)| slot)
}

fn working(service: &Service, id: u64) -> u32 {
    service.occupancy(InstanceId(id)).expect("known").load.working
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_the_slot_that_another_drops() {
    let service = service(1);
    add(&service, 1, 1, ReleasePoint::End);
    let first = take(&service).await.expect("free");
    let mut waiting = Box::pin(take(&service));
    assert!(futures_poll(&mut waiting).await.is_none());
    assert!(matches!(take(&service).await.expect_err("full"), Failure::QueueFull(_)));
    drop(first);
    let second = waiting.await.expect("handed over");
    assert_eq!(working(&service, 1), 1);
    drop(second);
    assert_eq!((working(&service, 1), service.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_nothing_behind() {
    let service = service(9);
    add(&service, 1, 1, ReleasePoint::End);
    let first = take(&service).await.expect("free");
    let mut leaves_in_the_queue = Box::pin(take(&service));
    let mut leaves_with_a_slot = Box::pin(take(&service));
    assert!(futures_poll(&mut leaves_in_the_queue).await.is_none());
    assert!(futures_poll(&mut leaves_with_a_slot).await.is_none());
    drop(leaves_in_the_queue);
    assert_eq!(service.queued(), 1);
    drop(first);
    assert_eq!((service.queued(), working(&service, 1)), (0, 1), "the slot is on its way");
    drop(leaves_with_a_slot);
    assert_eq!(working(&service, 1), 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_after_the_timeout() {
    let service = service(9);
    add(&service, 1, 1, ReleasePoint::End);
    let _held = take(&service).await.expect("free");
    let began = now();
    assert_eq!(take(&service).await.expect_err("nobody leaves"), Failure::QueueTimeout);
    assert_eq!(now() - began, Duration::from_secs(5));
    assert_eq!(service.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_frees_a_worker_only_where_it_does() {
    let service = service(9);
    add(&service, 1, 1, ReleasePoint::End);
    let class = ClassName::other();
    let claim = |point| ClassRelease {
        class: class.clone(),
        point,
        found: ReleaseFound::Learned,
        up_to_bytes: Some(9),
        unknown_length: false,
        evidence: ReleaseEvidence::default(),
    };
    let (first, end) = (ReleasePoint::FirstByte, ReleasePoint::End);
    for (case, of_all, claims, length, free) in [
        ("held", end, vec![], Some(9), false),
        ("free, all of them", first, vec![], None, true),
        ("free, of that class", end, vec![claim(first)], Some(9), true),
        ("longer than was said", end, vec![claim(first)], Some(10), false),
        ("held, of that class", first, vec![claim(end)], Some(9), false),
        ("not said again", end, vec![], Some(9), false),
    ] {
        let mut slot = take(&service).await.expect("free");
        slot.instance().set_release_point(of_all);
        slot.instance().set_releases(&claims);
        slot.head(&class, length);
        slot.instance().set_releases(&[]);
        assert_eq!((slot.first_byte(length), slot.first_byte(length)), (free, free), "{case}");
        assert_eq!(working(&service, 1), u32::from(!free), "{case}");
        drop(slot);
        let load = service.occupancy(InstanceId(1)).expect("known").load;
        assert_eq!((load.working, load.streaming), (0, 0), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_balancer_holds_requests_until_an_instance_registers_but_not_for_ever() {
    let limits = ServiceLimits { startup_hold: Duration::from_secs(3), ..limits(9) };
    let service = starting(limits);
    let began = now();
    assert_eq!(take(&service).await.expect_err("nobody came"), Failure::NoInstance);
    assert_eq!(now() - began, limits.startup_hold);

    let service = starting(limits);
    let mut held = Box::pin(take(&service));
    assert!(futures_poll(&mut held).await.is_none());
    add(&service, 1, 1, ReleasePoint::End);
    held.await.expect("it registered");
}

/// Polls once; `None` if it is not ready.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
