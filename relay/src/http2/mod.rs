//! HTTP/2 towards clients.
//!
//! The library knows the protocol; what it does not know is when a client only costs. That is here:
//!
//! | attack | answer | where |
//! |---|---|---|
//! | rapid reset (CVE-2023-44487), before a request is looked at | [`Http2Limits::unseen_resets`], then GOAWAY | library |
//! | the same, a little later | [`Http2Limits::abandoned`]; the instance's work is cancelled | `streams` |
//! | MadeYouReset (CVE-2025-8671) | [`Http2Limits::provoked_resets`], and as above | library, `streams` |
//! | CONTINUATION flood (VU#421644), HPACK bomb, large header lists | [`ClientLimits::head_bytes`], which bounds the number of frames too | library |
//! | many fields | [`ClientLimits::fields`] | `request` |
//! | empty and tiny DATA frames (CVE-2019-9518, RUSTSEC-2026-0258) | h2 0.4.18 or later has a budget | library |
//! | PING, SETTINGS, PRIORITY, WINDOW_UPDATE floods | [`Http2Limits::IDLE_BYTES`] | `peer` |
//! | windows that never open (CVE-2019-9517) | [`ClientLimits::write_stall`] and [`ClientLimits::min_download_rate`] per stream and per connection | `streams`, `peer` |
//! | bodies that never come | [`ClientLimits::body_stall`] and [`ClientLimits::min_upload_rate`] per stream | `upload` |
//! | many streams | [`Http2Limits::streams`] | library |
//! | memory by windows | [`Http2Limits::connection_window`]; responses are queued 16 KiB at a time | library, `body` |
//! | connections that do nothing, or for ever | [`ClientLimits::keep_alive`], [`ClientLimits::requests`], [`Http2Limits::age`], `ping` | `serve` |
//!
//! WebSocket over HTTP/2 (RFC 8441) is not offered: the setting that would allow it is not sent, so that browsers open
//! an HTTP/1.1 connection for it. CONNECT is refused as everywhere.
//!
//! [`Http2Limits::unseen_resets`]: crate::limits::Http2Limits::unseen_resets
//! [`Http2Limits::abandoned`]: crate::limits::Http2Limits::abandoned
//! [`Http2Limits::provoked_resets`]: crate::limits::Http2Limits::provoked_resets
//! [`Http2Limits::streams`]: crate::limits::Http2Limits::streams
//! [`Http2Limits::connection_window`]: crate::limits::Http2Limits::connection_window
//! [`Http2Limits::IDLE_BYTES`]: crate::limits::Http2Limits::IDLE_BYTES
//! [`Http2Limits::age`]: crate::limits::Http2Limits::age
//! [`ClientLimits::head_bytes`]: crate::limits::ClientLimits::head_bytes
//! [`ClientLimits::fields`]: crate::limits::ClientLimits::fields
//! [`ClientLimits::write_stall`]: crate::limits::ClientLimits::write_stall
//! [`ClientLimits::body_stall`]: crate::limits::ClientLimits::body_stall
//! [`ClientLimits::min_upload_rate`]: crate::limits::ClientLimits::min_upload_rate
//! [`ClientLimits::min_download_rate`]: crate::limits::ClientLimits::min_download_rate
//! [`ClientLimits::requests`]: crate::limits::ClientLimits::requests
//! [`ClientLimits::keep_alive`]: crate::limits::ClientLimits::keep_alive

mod request;
mod serve;
mod sniff;
mod streams;
#[cfg(test)]
mod tests;

pub(crate) use sniff::{Spoken, sniff};
pub(crate) use streams::StreamWatch;
