//! One service's slots and queue, shared by all data threads.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sluice_proto::ServiceName;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::decide::dispatch::{Arrival, Dispatcher, InstanceId, Occupancy, Refusal, Stage, Ticket};
use crate::decide::retry::RetryBudget;
use crate::pool::{ClassTable, Instance, Slot, now};
use sluice_relay::Failure;

/// Bounds of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// The most requests that wait at a time.
    pub queue_length: usize,
    /// The longest that one waits.
    pub queue_timeout: Duration,
    /// After the start: how long requests wait for a first instance.
    pub startup_hold: Duration,
}

/// A service while it runs.
pub struct Service {
    pub name: ServiceName,
    pub classes: ClassTable,
    limits: ServiceLimits,
    live: Mutex<Live>,
}

/// Behind the one lock of the data path: held for a decision, never across an await.
struct Live {
    dispatcher: Dispatcher<oneshot::Sender<Slot>>,
    instances: HashMap<InstanceId, Arc<Instance>>,
    retries: RetryBudget,
}

impl Service {
    pub fn new(
        name: ServiceName,
        limits: ServiceLimits,
        classes: ClassTable,
        rng: fastrand::Rng,
    ) -> Arc<Self> {
        let start = now();
        let live = Live {
            dispatcher: Dispatcher::new(limits.queue_length, start + limits.startup_hold, rng),
            instances: HashMap::new(),
            retries: RetryBudget::new(start),
        };
        Arc::new(Self { name, classes, limits, live: Mutex::new(live) })
    }

    /// Waits for a slot on any instance but those in `avoid`.
    ///
    /// Dropping the future gives up the place in the queue, or the slot.
    ///
    /// # Errors
    /// [`Failure::NoInstance`], [`Failure::QueueFull`] or [`Failure::QueueTimeout`].
    pub async fn acquire(self: &Arc<Self>, avoid: &[InstanceId]) -> Result<Slot, Failure> {
        let (ticket, granted) = match self.arrive(avoid) {
            Entry::Slot(slot) => return Ok(slot),
            Entry::Waiting(ticket, granted) => (ticket, granted),
            Entry::Refused(Refusal::NoInstance) => return Err(Failure::NoInstance),
            Entry::Refused(Refusal::QueueFull) => return Err(Failure::QueueFull),
        };
        let _place = Place { service: self, ticket };
        let mut granted = granted;
        if self.awaits_first_instance() {
            match timeout(self.limits.startup_hold, &mut granted).await {
                Ok(granted) => return granted.map_err(|_| Failure::QueueTimeout),
                Err(_) if self.awaits_first_instance() => return Err(Failure::NoInstance),
                Err(_) => {}
            }
        }
        // The sender lives in the queue until it is used or `_place` takes it out.
        let granted = timeout(self.limits.queue_timeout, granted).await;
        granted.ok().and_then(Result::ok).ok_or(Failure::QueueTimeout)
    }

    /// Just started, and no instance has been heard of.
    fn awaits_first_instance(&self) -> bool {
        self.live().instances.is_empty()
    }

    fn arrive(self: &Arc<Self>, avoid: &[InstanceId]) -> Entry {
        let mut granted = None;
        let mut live = self.live();
        if avoid.is_empty() {
            live.retries.on_request();
        }
        let arrival = live.dispatcher.arrive(now(), avoid, || {
            let (sender, receiver) = oneshot::channel();
            granted = Some(receiver);
            sender
        });
        match (arrival, granted) {
            (Arrival::Slot(id), _) => match live.instances.get(&id) {
                Some(instance) => Entry::Slot(Slot::new(self.clone(), instance.clone())),
                None => unreachable!(
                    "an instance is in both tables or in none: see set_instance and remove_instance"
                ),
            },
            (Arrival::Waiting(ticket), Some(granted)) => Entry::Waiting(ticket, granted),
            (Arrival::Waiting(_), None) => unreachable!("the dispatcher makes a waiter for whoever waits"),
            (Arrival::Refused(refusal), _) => Entry::Refused(refusal),
        }
    }

    pub(super) fn first_byte(self: &Arc<Self>, id: InstanceId) {
        self.live().dispatcher.first_byte(id);
        self.hand_out();
    }

    pub(super) fn end(self: &Arc<Self>, id: InstanceId, stage: Stage) {
        self.live().dispatcher.end(id, stage);
        self.hand_out();
    }

    /// Gives free slots to whoever waits. A waiter that left meanwhile drops its slot, which comes
    /// back here from [`Slot::drop`]; it has left the queue by then, so this ends.
    pub fn hand_out(self: &Arc<Self>) {
        loop {
            let mut live = self.live();
            let Some(grant) = live.dispatcher.next_grant(now()) else { return };
            let Some(instance) = live.instances.get(&grant.instance).cloned() else { return };
            // Not under the lock: a slot that nobody takes is dropped here and takes it again.
            drop(live);
            drop(grant.waiter.send(Slot::new(self.clone(), instance)));
        }
    }

    /// Adds an instance or changes its settings.
    pub fn set_instance(self: &Arc<Self>, instance: Arc<Instance>, workers: u32, routable: bool) {
        let mut live = self.live();
        live.dispatcher.set_instance(instance.id, workers, routable);
        live.instances.insert(instance.id, instance);
        drop(live);
        self.hand_out();
    }

    pub fn remove_instance(&self, id: InstanceId) {
        let mut live = self.live();
        live.dispatcher.remove_instance(id);
        live.instances.remove(&id);
    }

    pub fn instance(&self, id: InstanceId) -> Option<Arc<Instance>> {
        self.live().instances.get(&id).cloned()
    }

    /// A connection to the instance was made. Takes the lock only if one had failed before.
    pub fn reached(self: &Arc<Self>, instance: &Instance) {
        if instance.is_suspect() {
            instance.set_suspect(false);
            self.live().dispatcher.reached(instance.id);
            self.hand_out();
        }
    }

    /// A connection to the instance could not be made.
    pub fn unreachable(&self, instance: &Instance) {
        instance.set_suspect(true);
        self.live().dispatcher.unreachable(instance.id, now());
    }

    /// Whether one more attempt is within the retry budget; takes it out.
    pub fn take_retry(&self) -> bool {
        self.live().retries.take(now())
    }

    pub fn occupancy(&self, id: InstanceId) -> Option<Occupancy> {
        self.live().dispatcher.occupancy(id)
    }

    pub fn queued(&self) -> usize {
        self.live().dispatcher.queued()
    }

    pub fn has_instance(&self, now: Instant) -> bool {
        self.live().dispatcher.has_instance(now)
    }

    /// Where a request would go now.
    pub fn preview(&self) -> Option<Arc<Instance>> {
        let live = self.live();
        let id = live.dispatcher.preview(now(), &mut fastrand::Rng::new())?;
        live.instances.get(&id).cloned()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().expect("no code panics while holding it")
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).finish_non_exhaustive()
    }
}

enum Entry {
    Slot(Slot),
    Waiting(Ticket, oneshot::Receiver<Slot>),
    Refused(Refusal),
}

/// A place in the queue, given up on drop.
struct Place<'a> {
    service: &'a Arc<Service>,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Not in the queue any more: then its slot is in the channel, and is dropped with it.
        let _granted_meanwhile = self.service.live().dispatcher.leave(self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::classes::tests::table;
    use sluice_proto::report::ReleasePoint;

    fn service(queue_length: usize) -> Arc<Service> {
        let limits = ServiceLimits {
            queue_length,
            queue_timeout: Duration::from_secs(5),
            startup_hold: Duration::ZERO,
        };
        Service::new(ServiceName::default(), limits, table(), fastrand::Rng::with_seed(1))
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

    fn working(service: &Service, id: u64) -> u32 {
        service.occupancy(InstanceId(id)).expect("known").load.working
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_gets_the_slot_that_another_drops() {
        let service = service(1);
        add(&service, 1, 1, ReleasePoint::End);
        let first = service.acquire(&[]).await.expect("free");
        let mut waiting = Box::pin(service.acquire(&[]));
        assert!(futures_poll(&mut waiting).await.is_none());
        assert_eq!(service.acquire(&[]).await.expect_err("full"), Failure::QueueFull);
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
        let first = service.acquire(&[]).await.expect("free");
        let mut leaves_in_the_queue = Box::pin(service.acquire(&[]));
        let mut leaves_with_a_slot = Box::pin(service.acquire(&[]));
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
        let _held = service.acquire(&[]).await.expect("free");
        let began = now();
        assert_eq!(service.acquire(&[]).await.expect_err("nobody leaves"), Failure::QueueTimeout);
        assert_eq!(now() - began, Duration::from_secs(5));
        assert_eq!(service.queued(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_frees_a_worker_only_where_it_does() {
        let service = service(9);
        add(&service, 1, 1, ReleasePoint::End);
        let mut slot = service.acquire(&[]).await.expect("free");
        slot.first_byte();
        assert_eq!(working(&service, 1), 1);
        slot.instance().set_release_point(ReleasePoint::FirstByte);
        slot.first_byte();
        slot.first_byte();
        assert_eq!(working(&service, 1), 0);
        let other = service.acquire(&[]).await.expect("free again");
        drop((slot, other));
        let load = service.occupancy(InstanceId(1)).expect("known").load;
        assert_eq!((load.working, load.streaming), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fresh_balancer_holds_requests_until_an_instance_registers_but_not_for_ever() {
        let limits = ServiceLimits {
            queue_length: 9,
            queue_timeout: Duration::from_secs(30),
            startup_hold: Duration::from_secs(3),
        };
        let service = Service::new(ServiceName::default(), limits, table(), fastrand::Rng::with_seed(1));
        let began = now();
        assert_eq!(service.acquire(&[]).await.expect_err("nobody came"), Failure::NoInstance);
        assert_eq!(now() - began, limits.startup_hold);

        let service = Service::new(ServiceName::default(), limits, table(), fastrand::Rng::with_seed(1));
        let mut held = Box::pin(service.acquire(&[]));
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
}
