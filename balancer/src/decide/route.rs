//! Which service a request belongs to, by host and path prefix. **A routing rule goes here.**

use sluice_proto::ServiceName;

/// One service's claim on requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub service: ServiceName,
    pub host: HostPattern,
    /// Matches whole segments: `/app` matches `/app` and `/app/x`, not `/apple`. Empty: every path.
    pub path_prefix: String,
}

/// Which hosts a rule is for. Written in lower case, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    Any,
    /// `www.example.org`
    Exact(String),
    /// `*.example.org`: any host below it, held here as `.example.org`.
    Below(String),
}

/// The rules, most specific first.
#[derive(Clone, Debug)]
pub struct Routes {
    rules: Vec<Rule>,
    fallback: ServiceName,
}

impl Routes {
    /// `fallback` gets what no rule matches.
    pub fn new(mut rules: Vec<Rule>, fallback: ServiceName) -> Self {
        rules.sort_by_key(|rule| std::cmp::Reverse((rule.host.specificity(), rule.path_prefix.len())));
        Self { rules, fallback }
    }

    /// The service of a request. `host` is the `Host` field, with or without a port; `path` has no
    /// query. An exact host beats a wildcard, the longer prefix beats the shorter.
    pub fn service(&self, host: &str, path: &str) -> &ServiceName {
        let host = without_port(host);
        let matching =
            self.rules.iter().find(|rule| rule.host.matches(host) && has_prefix(path, &rule.path_prefix));
        matching.map_or(&self.fallback, |rule| &rule.service)
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
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

    fn specificity(&self) -> (u8, usize) {
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

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

fn has_prefix(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(service: &str, host: &str, path_prefix: &str) -> Rule {
        Rule {
            service: service.parse().expect("a name"),
            host: host.parse().expect("a host"),
            path_prefix: path_prefix.to_owned(),
        }
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let routes = Routes::new(
            vec![
                rule("any-api", "*", "/api"),
                rule("wild", "*.example.org", ""),
                rule("www", "www.example.org", ""),
                rule("www-shop", "www.example.org", "/shop/"),
                rule("deep", "*.deep.example.org", ""),
                rule("six", "[::1]", ""),
            ],
            ServiceName::default(),
        );
        for (host, path, service) in [
            ("www.example.org", "/", "www"),
            ("WWW.Example.ORG:8080", "/", "www"),
            ("www.example.org", "/shop", "www-shop"),
            ("www.example.org", "/shop/cart", "www-shop"),
            ("www.example.org", "/shopping", "www"),
            ("a.example.org", "/api", "wild"),
            ("a.deep.example.org", "/", "deep"),
            ("example.org", "/", "default"),
            ("other.net", "/api/x", "any-api"),
            ("[::1]:80", "/", "six"),
            ("", "/", "default"),
        ] {
            assert_eq!(routes.service(host, path).as_str(), service, "{host} {path}");
        }
    }

    #[test]
    fn hosts_are_checked() {
        for bad in ["", "a b", "http://x", "*.", "a/b"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad:?}");
        }
    }
}
