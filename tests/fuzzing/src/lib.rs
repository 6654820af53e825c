//! What must hold of everything of Sluice's that reads bytes from outside, whatever the bytes are.
//!
//! ```text
//!  fuzz/corpus/NAME/*  ──► targets::NAME(bytes)  ◄── tests/corpus.rs    each stored file, and mutations of them: cargo test
//!                              │                 ◄── fuzz/fuzz_targets  cargo fuzz run NAME
//!                              ▼
//!                          returns, or panics: a finding
//! ```
//!
//! A target reads its bytes as the program does, and asserts more than that nothing panics: what was read can be
//! written and read again, stays within its bounds, and is the same however the bytes are cut.

#![forbid(unsafe_code)]

pub mod mutate;
pub mod targets;

/// A target by its name, which is also its directory in the corpus.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 22] = [
    Target { name: "access_format", run: targets::logs::access_format },
    Target { name: "access_log", run: targets::logs::access_log },
    Target { name: "agent_config", run: targets::config::agent },
    Target { name: "balancer_config", run: targets::config::balancer },
    Target { name: "class", run: targets::classes::class },
    Target { name: "cookie", run: targets::http::cookie },
    Target { name: "cron", run: targets::config::cron },
    Target { name: "encoding", run: targets::http::encoding },
    Target { name: "metrics_page", run: targets::logs::metrics_page },
    Target { name: "observe", run: targets::peers::observe },
    Target { name: "orca", run: targets::peers::orca },
    Target { name: "orca_stream", run: targets::peers::orca_stream },
    Target { name: "plan_reply", run: targets::classes::plan_reply },
    Target { name: "proxy", run: targets::http::proxy },
    Target { name: "range", run: targets::files::range },
    Target { name: "replay", run: targets::state::replay },
    Target { name: "report", run: targets::report::report },
    Target { name: "response", run: targets::http::response },
    Target { name: "saved", run: targets::state::saved },
    Target { name: "screen", run: targets::http::screen },
    Target { name: "sendfile", run: targets::files::sendfile },
    Target { name: "xds", run: targets::peers::xds },
];
