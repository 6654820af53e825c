//! Counters and sketches of one window. No clock: the caller says what time it is.

use std::{collections::HashMap, mem, time::Duration};

use sluice_proto::{
    ClassName, ClassSums, HeavyHitters,
    report::{MAX_CLASSES, MAX_URL_LEN, MAX_URLS},
};
use tokio::time::Instant;

/// More than this is a clock's fault or a tunnel; a report with more would be refused.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// One request that ended.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    pub class: &'a ClassName,
    /// Path and query. `None`: not known.
    pub url: Option<&'a str>,
    /// Status 500 or above, cut short, or not answered.
    pub failed: bool,
    /// How long it held a worker. `None`: nobody knows.
    pub held: Option<Duration>,
    /// From its start at the instance to the head of the response. `None`: no head came, or nobody knows.
    pub ttfb: Option<Duration>,
    /// Body bytes that the instance sent. `None`: no head came, or nobody knows.
    pub bytes: Option<u64>,
}

/// The window that is open.
#[derive(Debug)]
pub(super) struct Window {
    since: Instant,
    classes: HashMap<ClassName, ClassSums>,
    heavy: HeavyHitters,
}

/// A window that was closed.
#[derive(Debug)]
pub struct WindowData {
    pub length: Duration,
    /// At most [`MAX_CLASSES`].
    pub classes: HashMap<ClassName, ClassSums>,
    /// URLs by the bytes of their responses, at most [`MAX_URLS`].
    pub heavy: HeavyHitters,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, classes: HashMap::new(), heavy: HeavyHitters::new(MAX_URLS) }
    }

    pub(super) fn record(&mut self, observation: &Observation<'_>) {
        let Observation { failed, held, ttfb, bytes, .. } = *observation;
        self.class_mut(observation.class).record(failed, held.map(micros), ttfb.map(micros), bytes);
        if let (Some(url), Some(bytes @ 1..)) = (observation.url, observation.bytes) {
            self.heavy.add(clipped(url), bytes);
        }
    }

    /// Adds what many requests of a class came to.
    pub(super) fn merge(&mut self, class: &ClassName, sums: &ClassSums) {
        self.class_mut(class).merge(sums);
    }

    pub(super) fn cut(&mut self, now: Instant) -> WindowData {
        let length = now.saturating_duration_since(self.since);
        let Self { classes, heavy, .. } = mem::replace(self, Self::new(now));
        WindowData { length, classes, heavy }
    }

    /// The class's own entry while there is room, with one place kept for the rest.
    fn class_mut(&mut self, class: &ClassName) -> &mut ClassSums {
        let has_place = self.classes.len() < MAX_CLASSES - 1 || self.classes.contains_key(class);
        let class = if has_place { class.clone() } else { ClassName::other() };
        self.classes.entry(class).or_default()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.min(LONGEST).as_micros()).expect("a day of microseconds fits")
}

/// Cut to the longest URL that a report takes, at a character.
fn clipped(url: &str) -> &str {
    let mut end = url.len().min(MAX_URL_LEN);
    while !url.is_char_boundary(end) {
        end -= 1;
    }
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str) -> ClassName {
        ClassName::parse(name).expect("a valid name")
    }

    fn observation<'a>(class: &'a ClassName, url: &'a str, bytes: u64) -> Observation<'a> {
        Observation {
            class,
            url: Some(url),
            failed: false,
            held: Some(Duration::from_millis(10)),
            ttfb: Some(Duration::from_millis(8)),
            bytes: Some(bytes),
        }
    }

    #[test]
    fn a_window_has_what_ended_in_it_and_nothing_else() {
        let start = Instant::now();
        let mut window = Window::new(start);
        let page = class("GET /news/{n}");
        window.record(&observation(&page, "/news/1", 100));
        window.record(&Observation {
            failed: true,
            ttfb: None,
            bytes: None,
            ..observation(&page, "/news/2", 0)
        });

        let data = window.cut(start + Duration::from_millis(1003));
        assert_eq!(data.length, Duration::from_millis(1003));
        let counted = &data.classes[&page];
        assert_eq!((counted.requests, counted.errors), (2, 1));
        assert_eq!((counted.held_us.count(), counted.held_us.sum()), (2, 20_000));
        assert_eq!((counted.ttfb_us.count(), counted.ttfb_us.sum()), (1, 8_000));
        assert_eq!(counted.response_bytes.count(), 1);

        let next = window.cut(start + Duration::from_millis(2003));
        assert_eq!((next.length, next.classes.len()), (Duration::from_secs(1), 0));
        assert!(next.heavy.top(1).is_empty());
    }

    #[test]
    fn classes_beyond_the_bound_are_counted_together() {
        let mut window = Window::new(Instant::now());
        let names: Vec<_> = (0..MAX_CLASSES + 500).map(|i| class(&format!("GET /{i}"))).collect();
        for name in &names {
            window.record(&observation(name, "/", 1));
        }
        window.record(&observation(&names[0], "/", 1));
        let data = window.cut(Instant::now());
        assert_eq!(data.classes.len(), MAX_CLASSES);
        assert_eq!(
            data.classes[&ClassName::other()].requests,
            501,
            "1500 names, 999 with a place of their own"
        );
        assert_eq!(data.classes[&names[0]].requests, 2, "a class that is in stays in");
    }

    #[test]
    fn heavy_urls_are_cut_and_empty_responses_are_none() {
        let mut window = Window::new(Instant::now());
        let page = class("GET /");
        let long = format!("/{}é", "x".repeat(MAX_URL_LEN - 2)); // the é begins at the last byte that fits
        window.record(&observation(&page, &long, 10));
        window.record(&observation(&page, "/empty", 0));
        let data = window.cut(Instant::now());
        let urls: Vec<_> = data.heavy.top(9).into_iter().map(|(url, _)| url.len()).collect();
        assert_eq!(urls, [MAX_URL_LEN - 1]);
    }

    #[test]
    fn what_lasted_for_days_is_reported_as_a_day() {
        let mut window = Window::new(Instant::now());
        let socket = class("GET /ws");
        let lasted =
            Observation { held: Some(Duration::from_secs(400_000)), ..observation(&socket, "/ws", 1) };
        window.record(&lasted);
        let data = window.cut(Instant::now());
        assert_eq!(data.classes[&socket].held_us.max(), Some(86_400_000_000));
    }
}
