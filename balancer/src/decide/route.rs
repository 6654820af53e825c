//! Which service a request belongs to, by host and path prefix. **A routing rule goes here.**

use sluice_proto::host::without_port;
use sluice_proto::{HostPattern, ServiceName};

/// One service's claim on requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub service: ServiceName,
    pub host: HostPattern,
    /// Matches whole segments: `/app` matches `/app` and `/app/x`, not `/apple`. Empty: every path.
    pub path_prefix: String,
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
}
