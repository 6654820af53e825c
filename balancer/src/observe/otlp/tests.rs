//! Which requests are recorded, and what a collector gets.

use super::*;

fn spans(sample: f64) -> (Spans, mpsc::Receiver<Vec<Span>>) {
    let (to_exporter, received) = mpsc::channel(1);
    (Spans { sample, to_exporter, metrics: Metrics::register(&Registry::new()) }, received)
}

#[test]
fn whoever_asked_decides_and_chance_where_nobody_did() {
    let mut rng = fastrand::Rng::with_seed(3);
    let parent = |flags| {
        TraceParent::parse(format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}").as_bytes())
            .expect("valid")
    };
    for sample in [0.0, 1.0] {
        let (spans, _received) = spans(sample);
        let recording = spans.begin(parent("01"), Some(parent("01")), &mut rng).expect("it is sampled");
        assert_eq!(
            (recording.context.trace, recording.parent),
            (parent("01").trace, Some(0x00f0_67aa_0ba9_02b7))
        );
        assert_ne!(recording.context.span, 0x00f0_67aa_0ba9_02b7, "a span of its own");
        assert_eq!(spans.begin(parent("00"), Some(parent("00")), &mut rng), None);
        let fresh = TraceParent::fresh(&mut rng);
        let own = spans.begin(fresh, None, &mut rng);
        assert_eq!(own.is_some(), sample == 1.0);
        assert!(own.is_none_or(|own| own.context.is_sampled() && own.parent.is_none()));
    }
    let (spans, _received) = spans(0.25);
    let fresh = TraceParent::fresh(&mut rng);
    let recorded = (0..10_000).filter(|_| spans.begin(fresh, None, &mut rng).is_some()).count();
    // Six standard deviations of 43.
    assert!((2240..2760).contains(&recorded), "{recorded} of 10,000 with seed 3");
}
