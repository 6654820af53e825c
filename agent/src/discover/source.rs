use std::{fmt, str::FromStr};

use sluice_process::discover::Name;

use crate::config::{BalancerUrl, BalancerUrlError};

/// What `--balancer` names: one balancer, or a name in DNS that stands for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// `http://HOST:PORT`: a host with several addresses is still one balancer, reached at any of them.
    One(BalancerUrl),
    /// `dns+http://NAME:PORT` or `srv+http://NAME`: every address is a balancer.
    Named(Name),
}

/// Why a value of `--balancer` was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Url(#[from] BalancerUrlError),
    #[error("{0:?} names no host with a port: give it as in dns+http://balancers.example:9900")]
    Host(String),
    /// What a name stands for is reached by address, which certificates do not name.
    #[error(
        "{0:?}: balancers that are found in DNS are reached by plain HTTP; for TLS name each: https://lb-1.example:9900"
    )]
    Https(String),
    #[error("{0:?} names no service: give it as in srv+http://_sluice._tcp.example, without a port")]
    Service(String),
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let trimmed = text.trim().trim_end_matches('/');
        if let Some(rest) = trimmed.strip_prefix("dns+http://") {
            return Name::host(rest).map(Self::Named).ok_or_else(|| SourceError::Host(text.to_owned()));
        }
        if let Some(rest) = trimmed.strip_prefix("srv+http://") {
            return Name::service(rest).map(Self::Named).ok_or_else(|| SourceError::Service(text.to_owned()));
        }
        if ["dns+https://", "srv+https://"].iter().any(|scheme| trimmed.starts_with(scheme)) {
            return Err(SourceError::Https(text.to_owned()));
        }
        Ok(Self::One(text.parse()?))
    }
}

impl Source {
    pub fn is_https(&self) -> bool {
        matches!(self, Self::One(url) if url.is_https())
    }
}

impl From<BalancerUrl> for Source {
    fn from(url: BalancerUrl) -> Self {
        Self::One(url)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(url) => url.fmt(f),
            Self::Named(name) => write!(f, "{}+http://{name}", name.scheme()),
        }
    }
}

sluice_process::serde_as_text!(Source, "a URL such as \"http://127.0.0.1:9900\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_one_balancer_or_a_name() {
        for (text, printed) in [
            ("http://lb.example:9900/", "http://lb.example:9900"),
            ("https://lb.example:9900", "https://lb.example:9900"),
            ("dns+http://LB.example:9900", "dns+http://lb.example:9900"),
            (
                " dns+http://balancers.sluice.svc.cluster.local.:9900/ ",
                "dns+http://balancers.sluice.svc.cluster.local.:9900",
            ),
            ("srv+http://_sluice._tcp.example", "srv+http://_sluice._tcp.example"),
            ("srv+http://_9900._tcp.balancers.sluice.svc.", "srv+http://_9900._tcp.balancers.sluice.svc."),
        ] {
            let source: Source = text.parse().expect(text);
            assert_eq!(source.to_string(), printed);
            assert_eq!(printed.parse(), Ok(source), "what is printed is read the same");
        }
    }

    #[test]
    fn a_refusal_says_how_it_is_written() {
        let long = format!("dns+http://{}:1", "a.".repeat(150));
        for (text, example) in [
            ("dns+http://lb.example", "dns+http://balancers.example:9900"),
            ("dns+http://lb.example:0", "dns+http://balancers.example:9900"),
            ("dns+http://10.0.0.1:9900", "dns+http://balancers.example:9900"),
            ("dns+http://[::1]:9900", "dns+http://balancers.example:9900"),
            ("dns+http://lb/v1:9900", "dns+http://balancers.example:9900"),
            ("dns+http://a..b:9900", "dns+http://balancers.example:9900"),
            (&long, "dns+http://balancers.example:9900"),
            ("srv+http://lb.example", "srv+http://_sluice._tcp.example"),
            ("srv+http://_sluice._tcp.example:9900", "srv+http://_sluice._tcp.example"),
            ("srv+http://_sluice.example", "srv+http://_sluice._tcp.example"),
            ("dns+https://lb.example:9900", "https://lb-1.example:9900"),
            ("srv+https://_sluice._tcp.example", "https://lb-1.example:9900"),
            ("consul://lb", "http://127.0.0.1:9900"),
        ] {
            let message = text.parse::<Source>().expect_err(text).to_string();
            assert!(message.contains(example), "{text}: {message}");
        }
    }
}
