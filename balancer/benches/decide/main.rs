//! What decisions cost, per request and per second, under the service's lock.
//!
//! | what | bar on an idle core |
//! |---|---|
//! | a small request's pick among 10,000 instances, arrival and end together | 1 us |
//! | a tick of the scheduler: 10,000 instances, 2,000 classes with homes | 50 ms |
//!
//! The other figures have no bar: they show what grows with what. Time is virtual, so that every
//! request holds its worker for 10 ms on average however fast the machine is.

mod fleet;
mod picks;
mod ticks;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, picks::bench, ticks::bench);
criterion_main!(benches);
