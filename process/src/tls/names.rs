use std::net::IpAddr;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::{Decode as _, asn1::OctetString},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// The names that a client's certificate proves: DNS names in lower case and IP addresses of its SAN, or, if it has
/// no SAN, its common name. May be empty: such a certificate proves only that the authority knows its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertNames(Vec<String>);

impl CertNames {
    /// Of a certificate that was verified. What can not be read proves no name.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Certificate::from_der(certificate).ok().map(|parsed| names(&parsed)).unwrap_or_default())
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl<const N: usize> From<[&str; N]> for CertNames {
    fn from(names: [&str; N]) -> Self {
        Self(names.map(str::to_owned).to_vec())
    }
}

fn names(certificate: &Certificate) -> Vec<String> {
    let certificate = certificate.tbs_certificate();
    match certificate.get_extension::<SubjectAltName>() {
        Ok(Some((_, san))) => san.0.iter().filter_map(name).collect(),
        Ok(None) => {
            let name = certificate.subject().common_name().ok().flatten();
            name.map(|name| name.value().to_ascii_lowercase()).into_iter().collect()
        }
        Err(_) => Vec::new(),
    }
}

fn name(general: &GeneralName) -> Option<String> {
    match general {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(address) => ip(address).map(|address| address.to_string()),
        _ => None,
    }
}

fn ip(octets: &OctetString) -> Option<IpAddr> {
    let octets = octets.as_bytes();
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}
