//! What has instances that come and go: names in DNS, services of Kubernetes.

use std::fmt;
use std::str::FromStr;

use sluice_process::config::ConfigError;
use sluice_process::discover::Name;
use sluice_process::serde_as_text;

use crate::config::{InstanceSpec, Place, ServiceSpec, Terms};

/// Where to look for instances, again and again. Written as it is in `/v1/instances` and metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    Dns(Name),
    Kubernetes(KubernetesService),
}

/// A service of Kubernetes whose endpoints are instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesService {
    pub namespace: String,
    pub name: String,
    pub port: Port,
}

/// Which port of the endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// The only one that the service has.
    Only,
    Number(u16),
    /// As the service calls it.
    Named(String),
}

/// `--kubernetes-service NAMESPACE/NAME[:PORT][,workers=N][,release=first-byte|end][,service=NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSpec {
    pub service: KubernetesService,
    pub terms: Terms,
}

const ACCEPTED: &str = "NAMESPACE/NAME[:PORT][,workers=N][,release=first-byte|end][,service=NAME]";

serde_as_text!(KubernetesSpec, ACCEPTED);

impl FromStr for KubernetesSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let service = KubernetesService::parse(parts.next().unwrap_or_default())
            .ok_or_else(|| format!("{text:?}: give it as in default/zope:http, a namespace and a service"))?;
        let mut terms = Terms::default();
        parts.try_for_each(|part| terms.set(part, ACCEPTED))?;
        Ok(Self { service, terms })
    }
}

impl KubernetesService {
    fn parse(text: &str) -> Option<Self> {
        let (namespace, rest) = text.split_once('/')?;
        let (name, port) = match rest.split_once(':') {
            None => (rest, Port::Only),
            Some((name, port)) => (name, Port::parse(port)?),
        };
        let service = Self { namespace: namespace.to_owned(), name: name.to_owned(), port };
        [namespace, name].into_iter().all(is_label).then_some(service)
    }
}

impl Port {
    fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(0) => None,
            Ok(number) => Some(Self::Number(number)),
            Err(_) => is_label(text).then(|| Self::Named(text.to_owned())),
        }
    }
}

/// RFC 1123, 2.1, in lower case, as Kubernetes has it for names of namespaces, services and ports.
fn is_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

impl From<KubernetesSpec> for InstanceSpec {
    fn from(KubernetesSpec { service, terms }: KubernetesSpec) -> Self {
        Self { place: Place::Source(Source::Kubernetes(service)), terms }
    }
}

impl fmt::Display for KubernetesSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.service, self.terms)
    }
}

impl fmt::Display for KubernetesService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, port } = self;
        write!(f, "{namespace}/{name}")?;
        match port {
            Port::Only => Ok(()),
            Port::Number(number) => write!(f, ":{number}"),
            Port::Named(name) => write!(f, ":{name}"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "{}:{name}", name.scheme()),
            Self::Kubernetes(service) => write!(f, "kubernetes:{service}"),
        }
    }
}

/// The services must exist, and the program must have been built for it.
pub(super) fn check(specs: &[KubernetesSpec], services: &[ServiceSpec]) -> Result<(), ConfigError> {
    for spec in specs {
        if !cfg!(feature = "kubernetes") {
            let accepted = "a program that was built with --features kubernetes";
            return Err(ConfigError::value("kubernetes-service", spec, accepted));
        }
        spec.terms.check("kubernetes-service", spec, services)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_as_they_are_written() {
        for (text, source) in [
            ("dns:Zope.example:8080", "dns:zope.example:8080"),
            ("srv:_http._tcp.zope.example", "srv:_http._tcp.zope.example"),
        ] {
            let spec: InstanceSpec = text.parse().expect(text);
            assert!(matches!(&spec.place, Place::Source(found) if found.to_string() == source), "{spec:?}");
            assert_eq!(spec.to_string().parse(), Ok(spec), "{text}");
        }
        for text in ["default/zope", "default/zope:8080", "default/zope:http"] {
            let spec: KubernetesSpec = format!("{text},workers=4,release=first-byte").parse().expect(text);
            assert_eq!((spec.terms.workers.get(), spec.service.to_string()), (4, text.to_owned()));
            assert_eq!(spec.to_string().parse(), Ok(spec), "{text}");
        }
    }

    #[test]
    fn a_host_may_be_called_as_a_scheme_is() {
        for text in ["dns:8080", "srv:80"] {
            let spec: InstanceSpec = text.parse().expect(text);
            assert!(matches!(&spec.place, Place::One { target, .. } if target.as_str() == text), "{spec:?}");
        }
    }

    #[test]
    fn a_refusal_says_how_it_is_written() {
        for (text, example) in [
            ("dns:zope.example", "dns:zope.example:8080"),
            ("dns:10.0.0.1:8080", "dns:zope.example:8080"),
            ("srv:zope.example", "srv:_http._tcp.zope.example"),
            ("srv:_http._tcp.zope.example:80", "srv:_http._tcp.zope.example"),
            ("dns:zope.example:80,name=zope", "by its address"),
            ("dns:zope.example:80,wrokers=2", "workers=N"),
        ] {
            let message = text.parse::<InstanceSpec>().expect_err(text);
            assert!(message.contains(example), "{text}: {message}");
        }
        for text in ["zope", "default/", "default/zope:", "default/zope:0", "Default/zope", "a/b/c", "a/-b"] {
            let message = text.parse::<KubernetesSpec>().expect_err(text);
            assert!(message.contains("default/zope:http"), "{text}: {message}");
        }
    }
}
