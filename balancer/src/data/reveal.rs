//! What a response tells its client about Sluice: nothing, unless the operator wants it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::decide::dispatch::Why;
use crate::decide::schedule::Judgement;
use crate::pool::Slot;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Which fields responses carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reveal {
    /// `X-Request-Id`, as the instance got it.
    pub request_id: bool,
    /// `Server-Timing`: where the time went, and what was decided.
    pub server_timing: bool,
}

impl Reveal {
    /// The request's id, if responses are to carry it.
    pub(super) fn id_of(self, request: &HeaderMap) -> Option<HeaderValue> {
        self.request_id.then(|| request.get(REQUEST_ID).cloned()).flatten()
    }

    pub(super) fn add_to(self, headers: &mut HeaderMap, id: Option<HeaderValue>, way: &Way<'_>) {
        if let Some(id) = id {
            headers.insert(REQUEST_ID, id);
        }
        if self.server_timing {
            let timing = way.timing().field();
            headers.append(SERVER_TIMING, HeaderValue::try_from(timing).expect("printable ASCII"));
        }
    }
}

/// A request's way until its response came.
pub(super) struct Way<'a> {
    pub(super) queue: Duration,
    pub(super) app: Duration,
    pub(super) class: &'a str,
    pub(super) judgement: Judgement,
    pub(super) slot: &'a Slot,
}

impl<'a> Way<'a> {
    fn timing(&self) -> Timing<'a> {
        Timing {
            queue: self.queue,
            app: self.app,
            class: self.class,
            judgement: self.judgement,
            instance: self.slot.instance().name.as_str(),
            why: self.slot.why(),
        }
    }
}

/// What `Server-Timing` says: where the time went, and what was decided.
struct Timing<'a> {
    queue: Duration,
    app: Duration,
    class: &'a str,
    judgement: Judgement,
    instance: &'a str,
    why: Why,
}

/// The longest class and instance in the field, quoted: it is at most 512 bytes long.
const CLASS: usize = 200;
const INSTANCE: usize = 100;

impl Timing<'_> {
    /// W3C Server Timing: metrics with `dur` in milliseconds and `desc` as a quoted string.
    fn field(&self) -> String {
        let millis = |d: Duration| d.as_secs_f64() * 1e3;
        let Judgement { lane, pinned, prediction, .. } = self.judgement;
        let by = if pinned { ": rule" } else { "" };
        let held = prediction.held;
        format!(
            "queue;dur={:.1}, app;dur={:.1}, class;desc={}, lane;desc=\"{}{by}\", \
             predicted;dur={:.1};desc=\"{}, {:.0} seen\", instance;desc={}",
            millis(self.queue),
            millis(self.app),
            quoted(self.class, "", CLASS),
            lane.name(),
            held.mean.min(1e6) * 1e3,
            held.from.as_str(),
            held.samples.min(1e6),
            quoted(self.instance, &format!(": {}", self.why.as_str()), INSTANCE),
        )
    }
}

/// `text` and `after` it as a quoted string (RFC 9110, 5.6.4) in printable ASCII; of a long `text` the
/// beginning, so that it takes no more than `most` bytes.
fn quoted(text: &str, after: &str, most: usize) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        let (escape, c) = match c {
            '"' | '\\' => ("\\", c),
            ' '..='~' => ("", c),
            _ => ("", '?'),
        };
        if out.len() + escape.len() + 1 > most {
            out.push_str("...");
            break;
        }
        out.push_str(escape);
        out.push(c);
    }
    out.push_str(after);
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::dispatch::Lane;
    use crate::decide::predict::{Estimate, Prediction, Source};

    fn timing<'a>(class: &'a str, instance: &'a str) -> Timing<'a> {
        let estimate = |mean| Estimate { mean, samples: 12.0, from: Source::Class };
        let prediction = Prediction { held: estimate(1.5), bytes: estimate(1e6) };
        Timing {
            queue: Duration::from_micros(1_234),
            app: Duration::from_millis(30),
            class,
            judgement: Judgement { lane: Lane::LARGE, pinned: false, prediction, known_short: false },
            instance,
            why: Why::Dedicated,
        }
    }

    #[test]
    fn it_tells_times_and_decisions() {
        assert_eq!(
            timing("GET /x/{n}", "zope-1").field(),
            "queue;dur=1.2, app;dur=30.0, class;desc=\"GET /x/{n}\", lane;desc=\"large\", \
             predicted;dur=1500.0;desc=\"class, 12 seen\", instance;desc=\"zope-1: dedicated\""
        );
    }

    #[test]
    fn what_clients_sent_stays_within_its_quotes_and_bounds() {
        let field = timing("GET /a\"b\\c, d;é", "i").field();
        assert!(field.contains(r#"class;desc="GET /a\"b\\c, d;?", lane"#), "{field}");
        let long = "\"".repeat(1000);
        let mut worst = timing(&long, &long);
        worst.judgement.prediction.held = Estimate { mean: f64::MAX, samples: 1e9, from: Source::Extension };
        worst.judgement.pinned = true;
        let field = worst.field();
        assert!(field.len() <= 512, "{}: {field}", field.len());
        assert!(HeaderValue::try_from(&field).is_ok());
    }
}
