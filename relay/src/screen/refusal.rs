use std::fmt;

use http::StatusCode;

/// Why a request is not read on: what to answer, and what to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    status: u16,
    phrase: &'static str,
}

impl Refusal {
    /// It can be read in more than one way, or in none.
    pub const fn malformed(phrase: &'static str) -> Self {
        Self { status: 400, phrase }
    }

    /// `status`: of the error that RFC 9110, section 15.5 or 15.6, has for this case.
    pub(crate) const fn with_status(status: StatusCode, phrase: &'static str) -> Self {
        Self { status: status.as_u16(), phrase }
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phrase)
    }
}

impl std::error::Error for Refusal {}
