//! Numbers and addresses as text, past the machinery of `format!`: each request has half a dozen of them, and it took
//! a fifteenth of what the balancer computes for one.

use std::net::IpAddr;

use http::HeaderValue;

/// Lower-case hexadecimal digits of `value`, which has room in `N` of them.
pub(crate) fn hex<const N: usize>(mut value: u128) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 0xf) as usize];
        value >>= 4;
    }
    digits
}

/// Text of at most `N` bytes, on the stack.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    /// Appends `more`, for which there must be room.
    pub(crate) fn push(&mut self, more: &[u8]) -> &mut Self {
        self.bytes[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
        self
    }

    /// Appends decimal digits.
    pub(crate) fn push_decimal(&mut self, mut value: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                return self.push(&digits[start..]);
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// What was pushed must be visible ASCII.
    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).expect("digits, letters and punctuation only")
    }
}

/// As `Display` writes it; 45 bytes are the longest.
pub(crate) fn address(address: IpAddr) -> Text<45> {
    let mut text = Text::new();
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            text.push_decimal(a.into());
            for octet in [b, c, d] {
                text.push(b".").push_decimal(octet.into());
            }
        }
        IpAddr::V6(address) => {
            text.push(address.to_string().as_bytes());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_that_format_makes() {
        for value in [0, 1, 9, 10, 255, 1_700_000_000_000_001, u64::MAX] {
            assert_eq!(hex::<16>(value.into()), format!("{value:016x}").as_bytes());
            assert_eq!(Text::<20>::new().push_decimal(value).as_bytes(), value.to_string().as_bytes());
        }
        assert_eq!(hex::<32>(u128::MAX - 1), format!("{:032x}", u128::MAX - 1).as_bytes());
    }

    #[test]
    fn addresses_are_those_that_display_makes() {
        for text in ["0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "2001:db8::17", "::ffff:1.2.3.4"] {
            let parsed: IpAddr = text.parse().expect("an address");
            assert_eq!(address(parsed).as_bytes(), parsed.to_string().as_bytes());
        }
        let longest = IpAddr::from([0xffff_u16, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff]);
        assert_eq!(address(longest).as_bytes(), longest.to_string().as_bytes());
    }
}
