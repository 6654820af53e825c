//! What sorting a request, counting it, and reading what agents count costs.

#[path = "../../tests/instructions/src/sample.rs"]
mod sample;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sluice_balancer::decide::classify::{Request, classify};
use sluice_proto::{ClassSums, Kind, Measured, Report, Rules, Sketch, Templates};

fn classification(c: &mut Criterion) {
    let (rules, templates, mut name) = (Rules::default(), Templates::default(), String::new());
    let field = |_: &str| None;
    for path in ["/", "/page/17", "/plone/news/2024/a-headline-of-usual-length/@@images/image.jpg"] {
        let host = "www.example.org";
        let request = Request { method: "GET", host, path, kind: Kind::Whole, field: &field };
        c.bench_function(&format!("classify {path}"), |b| {
            b.iter(|| classify(black_box(&request), &rules, &templates, &mut name));
        });
    }
}

fn sketches(c: &mut Criterion) {
    let full = sample::class(1).held_us;
    let mut sketch = Sketch::new();
    sketch.merge_sparse(&full);
    let mut value = (8_000..12_000).cycle();
    c.bench_function("sketch: add", |b| b.iter(|| sketch.add(value.next().unwrap_or_default())));
    c.bench_function("sketch: quantile", |b| b.iter(|| black_box(&full).quantile(0.99)));
    let mut sum = Sketch::new();
    c.bench_function("sketch: merge", |b| b.iter(|| sum.merge_sparse(black_box(&full))));
}

fn reports(c: &mut Criterion) {
    let text = sample::report();
    let report = Report::parse(text.as_bytes()).expect("a valid report");
    c.bench_function("report: read, 20 classes", |b| b.iter(|| Report::parse(black_box(text.as_bytes()))));
    let lean = sample::lean_report();
    c.bench_function("report: read, 20 classes, lean", |b| {
        b.iter(|| Report::parse(black_box(lean.as_bytes())))
    });
    let measured = Measured::by_agent();
    let mut sums = vec![ClassSums::default(); sample::CLASSES];
    c.bench_function("report: merge, 20 classes", |b| {
        b.iter(|| {
            for (sums, class) in sums.iter_mut().zip(&report.classes) {
                sums.add_report(class, &measured);
            }
        });
    });
}

criterion_group!(benches, classification, sketches, reports);
criterion_main!(benches);
