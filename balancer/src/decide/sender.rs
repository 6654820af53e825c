//! Who may speak for an instance.
//!
//! A name belongs to who reported under it first, until nobody has for as long as a lease lasts, or its agent has said
//! that it is down, or the operator lets it go. What tells senders apart is the best that there is: the names in a
//! client certificate, or else the address that reports come from. The latter tells hosts apart and no more: agents on
//! one host could speak for each other, and their restart needs no proof.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_proto::{InstanceName, Target};

/// Who sent a report, by what its connection proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sender {
    /// The names in its certificate: in lower case, IP addresses as text.
    Certificate(Arc<[String]>),
    /// Nothing but where it came from.
    Address(IpAddr),
}

/// Why a report may not be this sender's: 403, and nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    #[error(
        "other_sender: the client certificate is for {certificate}: it may report as an instance of that name, or of \
         that name, a colon and anything, and not as {name}"
    )]
    Certificate {
        name: InstanceName,
        /// Its names, as text.
        certificate: String,
    },
    #[error(
        "other_sender: {name} is bound to {owner}, and this report is from {sender}; it can be taken over when its agent \
         has been silent for {silence:?} or says down, or after POST /v1/instances/{name}/unbind"
    )]
    Bound {
        name: InstanceName,
        owner: Sender,
        sender: Sender,
        /// After which the name is free.
        silence: Duration,
    },
    #[error(
        "other_instance: {address} is the address of {owner}: give each agent an address of its own (--listen, \
         --advertise), or wait until {owner} is forgotten"
    )]
    OtherInstance { address: Target, owner: InstanceName },
}

impl Sender {
    /// One host may come by IPv4, by IPv4 in IPv6, and locally by either.
    pub fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Self::Address(Ipv4Addr::LOCALHOST.into()),
            address => Self::Address(address),
        }
    }

    /// Whether it may report under `name` at all.
    ///
    /// # Errors
    /// [`Misplaced::Certificate`] if its certificate is for others.
    pub fn may_be(&self, name: &InstanceName) -> Result<(), Misplaced> {
        let Self::Certificate(names) = self else { return Ok(()) };
        if names.iter().any(|own| covers(own, name.as_str())) {
            return Ok(());
        }
        let certificate = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
        Err(Misplaced::Certificate { name: name.clone(), certificate })
    }

    /// Whether a name that `self` reports under is `other`'s too. Of certificates their names decide, wherever they
    /// come from: an agent that moves takes its name along.
    pub fn shares_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(own), Self::Address(other)) => own == other,
            (_, Self::Certificate(_)) => true,
            (Self::Certificate(_), Self::Address(_)) => false,
        }
    }
}

impl std::fmt::Display for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate(names) => write!(f, "a certificate for {}", names.join(", ")),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Whether a certificate for `own` is one for the instance `name`: `own` itself, or `own:PORT` and the like, as several
/// instances may be on one host, and as their addresses are their names if they have no other. `*.` stands for one
/// label (RFC 6125, 6.4.3).
fn covers(own: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if own.contains(':') {
        // IPv6: brackets keep it apart from what follows.
        let bracketed = format!("[{own}]");
        return name == own || is_or_begins(&name, &bracketed);
    }
    match own.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && !label.contains(':') && is_or_begins(rest, parent)
        }),
        None => is_or_begins(&name, own),
    }
}

fn is_or_begins(name: &str, own: &str) -> bool {
    name.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Sender {
        Sender::Certificate(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_certificate_is_for_its_names_and_what_is_behind_a_colon() {
        for (own, name, allowed) in [
            ("zope-1", "zope-1", true),
            ("zope-1", "Zope-1", true),
            ("zope-1", "zope-1:8081", true),
            ("zope-1", "zope-10", false),
            ("zope-1", "zope-1.evil", false),
            ("zope-1", "a:zope-1", false),
            ("10.0.0.7", "10.0.0.7:8081", true),
            ("10.0.0.7", "10.0.0.70:8081", false),
            ("::1", "[::1]:8081", true),
            ("::1", "::1", true),
            ("::1", "::1:2", false),
            ("*.app.example", "a.app.example", true),
            ("*.app.example", "a.app.example:1", true),
            ("*.app.example", "b.a.app.example", false),
            ("*.app.example", "app.example", false),
            ("*.app.example", "a:b.app.example", false),
        ] {
            let name: InstanceName = name.parse().expect("a name");
            assert_eq!(certificate(&[own]).may_be(&name).is_ok(), allowed, "{own} for {name}");
        }
        let name: InstanceName = "b".parse().expect("a name");
        assert!(certificate(&["a", "b"]).may_be(&name).is_ok(), "any of its names");
        assert!(certificate(&[]).may_be(&name).is_err(), "a certificate without names is for nobody");
        assert!(Sender::at([10, 0, 0, 1].into()).may_be(&name).is_ok(), "an address says nothing of names");
    }

    #[test]
    fn hosts_are_told_apart_by_address_and_no_further() {
        let at = |text: &str| Sender::at(text.parse().expect("an address"));
        for (a, b, same) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("127.0.0.1", "::1", true),
            ("10.0.0.1", "10.0.0.2", false),
        ] {
            assert_eq!(at(a).shares_with(&at(b)), same, "{a} {b}");
        }
        let certificate = certificate(&["a"]);
        assert!(at("10.0.0.1").shares_with(&certificate), "a certificate is the better proof");
        assert!(!certificate.shares_with(&at("10.0.0.1")), "and an address the worse");
    }
}
