//! Sets of bytes, as tables: one look-up per byte.

/// `true` for the bytes that belong to the set.
pub(super) type Set = [bool; 256];

/// Letters, digits and `others`.
const fn alphanumeric_and(others: &[u8]) -> Set {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        set[others[at] as usize] = true;
        at += 1;
    }
    set
}

/// `tchar` (RFC 9110, 5.6.2).
pub(super) const TOKEN: Set = alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// `field-vchar`, space and tab (RFC 9110, 5.5).
pub(super) const FIELD_VALUE: Set = {
    let mut set = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        set[byte] = byte == b'\t' as usize;
        byte += 1;
    }
    set[0x7f] = false;
    set
};

/// `pchar` and `/` (RFC 3986, 3.3), and what browsers send beside them. No backslash: some servers take it for a
/// slash. No `#`: a target has no fragment, and servers differ on what one means.
pub(super) const PATH: Set = alphanumeric_and(b"-._~%!$&'()*+,;=:@/[]|{}^\"");

/// The same for a query (RFC 3986, 3.4).
pub(super) const QUERY: Set = alphanumeric_and(b"-._~%!$&'()*+,;=:@/?[]|{}^\"`\\");

/// `reg-name` and `IPv4address` (RFC 3986, 3.2.2).
pub(super) const REG_NAME: Set = alphanumeric_and(b"-._~%!$&'()*+,;=");

pub(super) fn all_in(bytes: &[u8], set: &Set) -> bool {
    bytes.iter().all(|byte| set[usize::from(*byte)])
}
