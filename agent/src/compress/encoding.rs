use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A content coding (RFC 9110, 8.4.1) that responses can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Gzip,
    #[value(name = "br")]
    #[serde(rename = "br")]
    Brotli,
    Zstd,
}

impl Encoding {
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Brotli, Self::Zstd];

    /// As in `Accept-Encoding` and `Content-Encoding`; also the metric label.
    pub fn token(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Of a token in any case. `x-gzip` is gzip (RFC 9110, 8.4.1.3).
    pub(super) fn of_token(token: &str) -> Option<Self> {
        let token = if token.eq_ignore_ascii_case("x-gzip") { "gzip" } else { token };
        Self::ALL.into_iter().find(|encoding| token.eq_ignore_ascii_case(encoding.token()))
    }
}
