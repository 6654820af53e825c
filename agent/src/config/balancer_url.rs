use std::{fmt, str::FromStr};

use reqwest::Url;

/// Where a balancer takes reports: `http://HOST:PORT` or `https://HOST:PORT`, without a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BalancerUrl {
    url: Url,
    /// As people write it, without the trailing slash.
    text: String,
}

/// Why a balancer's URL was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BalancerUrlError {
    #[error("{0:?} is not a balancer's URL: give its admin address, such as http://127.0.0.1:9900")]
    Invalid(String),
    /// Not repeated: what is before the `@` is a password.
    #[error("a balancer's URL has no user and no password: give --token-file or --client-cert")]
    Credentials,
}

impl BalancerUrl {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Where reports go.
    pub fn report_url(&self) -> Url {
        let mut url = self.url.clone();
        url.set_path("/v1/report");
        url
    }
}

impl FromStr for BalancerUrl {
    type Err = BalancerUrlError;

    fn from_str(text: &str) -> Result<Self, BalancerUrlError> {
        let invalid = || BalancerUrlError::Invalid(text.to_owned());
        let url = Url::parse(text.trim()).map_err(|_| invalid())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BalancerUrlError::Credentials);
        }
        let plain = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain || url.host_str().is_none() {
            return Err(invalid());
        }
        let text = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { url, text })
    }
}

impl fmt::Display for BalancerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

sluice_process::serde_as_text!(BalancerUrl, "a URL such as \"http://127.0.0.1:9900\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_address_is_taken() {
        for (text, kept) in [
            ("http://127.0.0.1:9900", "http://127.0.0.1:9900"),
            ("http://lb.example:9900/", "http://lb.example:9900"),
            (" http://[::1]:9900 ", "http://[::1]:9900"),
            ("HTTP://LB", "http://lb"),
            ("https://lb:9900", "https://lb:9900"),
        ] {
            let url: BalancerUrl = text.parse().expect(text);
            assert_eq!(url.as_str(), kept);
            assert_eq!(url.report_url().as_str(), format!("{kept}/v1/report"));
        }
        for text in [
            "",
            "127.0.0.1:9900",
            "lb:9900",
            "ftp://lb",
            "http://lb/v1/report",
            "http://lb?x",
            "http://lb#x",
            "http://",
        ] {
            let message = text.parse::<BalancerUrl>().expect_err(text).to_string();
            assert!(message.contains("http://127.0.0.1:9900"), "{text}: {message}");
        }
        let message = "http://user:s3cret@lb".parse::<BalancerUrl>().expect_err("credentials").to_string();
        assert!(message.contains("--token-file") && !message.contains("s3cret"), "{message}");
    }
}
