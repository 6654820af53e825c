//! What a prediction and an observation cost, per request, under the service's lock.
//!
//! Bar: 200 ns each on an idle core. Baseline: looking a URL up in a `HashMap` of the same size.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use sluice_balancer::decide::predict::{ClassId, ExtensionKey, Predictor, RequestKey, UrlKey, UrlSeed};

/// 200 classes, half of them mixed; URLs by a skewed law, as many as fill the memory.
fn requests() -> Vec<(RequestKey, Duration)> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut make = |_| {
        let class = rng.u32(0..200);
        let url = (rng.f64().powi(3) * 60_000.0) as u64;
        let large = class.is_multiple_of(2) && url.is_multiple_of(3);
        let key = RequestKey {
            class: ClassId(class),
            url: UrlKey(url.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            extension: ExtensionKey::ALL[class as usize % ExtensionKey::ALL.len()],
        };
        (key, Duration::from_micros(if large { 2_000_000 } else { 5_000 + rng.u64(0..10_000) }))
    };
    (0..1 << 16).map(&mut make).collect()
}

fn trained(seed: UrlSeed, requests: &[(RequestKey, Duration)]) -> Predictor {
    let mut predictor = Predictor::new(Predictor::URLS, seed);
    for (key, held) in requests.iter().cycle().take(1 << 18) {
        predictor.observe(*key, *held, Some(held.as_micros() as u64), None);
    }
    predictor
}

fn bench(c: &mut Criterion) {
    let seed = UrlSeed::random(&mut fastrand::Rng::with_seed(1));
    let requests = requests();
    let mut predictor = trained(seed, &requests);
    let mut turn = requests.iter().cycle();
    let mut next = || *turn.next().expect("a cycle does not end");

    c.bench_function("predict", |b| b.iter(|| black_box(predictor.predict(next().0))));
    c.bench_function("observe", |b| {
        b.iter(|| {
            let (key, held) = next();
            predictor.observe(key, held, Some(held.as_micros() as u64), None);
        });
    });
    c.bench_function("url key", |b| {
        let path = "/plone/news/2024/a-headline-of-usual-length/@@images/image?scale=large";
        b.iter(|| black_box(UrlKey::of(seed, "GET", "www.example.org", black_box(path))));
    });
    c.bench_function("extension", |b| {
        b.iter(|| black_box(ExtensionKey::of_path(black_box("/plone/news/photo.jpg"))));
    });
    let map: HashMap<UrlKey, u64> =
        requests.iter().take(Predictor::URLS).map(|(key, _)| (key.url, 1)).collect();
    c.bench_function("baseline: one look-up in a HashMap", |b| b.iter(|| black_box(map.get(&next().0.url))));
}

criterion_group!(benches, bench);
criterion_main!(benches);
