//! Mode passive: learns what the instance did from what it writes down anyway.
//!
//! ```text
//!  access log ─► tail ─► lines ─► format ─► Entry ─► tally ─► measure::Recorder ─► report
//!  Prometheus page ─► scrape::text ─► scrape::deltas ─► scrape::sums ───┘
//! ```
//!
//! | module | what | I/O |
//! |---|---|---|
//! | [`mod@format`] | a line to an entry, by presets, Apache's, gunicorn's or nginx's directives | none |
//! | [`lines`] | bytes to lines, in bounded memory | none |
//! | [`tail`] | rotation, truncation, files that come late | blocking, on a thread that may wait |
//! | [`tally`] | an entry to its class, counted | none |
//! | [`log`] | the four together, several times a second | the timer |
//! | [`scrape`] | pages to figures | one request at a time, on the control thread |

pub mod format;
pub mod lines;
pub mod log;
mod metrics;
mod own;
pub mod scrape;
mod standing;
pub mod tail;
pub mod tally;

pub use format::{Entry, Format};
pub use log::LogFollower;
pub use metrics::FollowMetrics;
pub use own::OwnRequests;
pub use scrape::Scraper;
