//! Which hosts something is for.

/// A host name, or all below one. Written in lower case, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    Any,
    /// `www.example.org`
    Exact(String),
    /// `*.example.org`: any host below it, held here as `.example.org`.
    Below(String),
}

impl HostPattern {
    /// Whether a host, without a port, is one of these.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.eq_ignore_ascii_case(host),
            Self::Below(suffix) => {
                host.len() > suffix.len()
                    && host
                        .get(host.len() - suffix.len()..)
                        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
        }
    }

    /// The greater, the fewer hosts.
    pub fn specificity(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Below(suffix) => (1, suffix.len()),
            Self::Exact(exact) => (2, exact.len()),
        }
    }
}

impl std::str::FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        let valid =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        match (lower.as_str(), valid) {
            ("*", _) => Ok(Self::Any),
            (_, false) => {
                Err("a host name such as www.example.org, *.example.org or *, without a port".to_owned())
            }
            (lower, true) if lower.starts_with("*.") => Ok(Self::Below(lower[1..].to_owned())),
            (lower, true) => Ok(Self::Exact(lower.to_owned())),
        }
    }
}

/// The host of a `Host` field.
pub fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_checked() {
        for bad in ["", "a b", "http://x", "*.", "a/b"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad:?}");
        }
    }
}
