//! A door for fuzzers into what is nobody else's to call.

use super::{Encoding, negotiate};

/// The coding for a client with that `Accept-Encoding`.
pub fn negotiate(field: &str, offered: &[Encoding]) -> Option<Encoding> {
    negotiate::negotiate([field].into_iter(), offered)
}
