//! A certificate and its key, as PEM files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::VerifierBuilderError;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys, RootCertStore};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertFiles {
    /// The certificate, followed by those between it and one that clients know.
    pub cert: PathBuf,
    /// May be the same file.
    pub key: PathBuf,
}

/// Why a certificate can not be used.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    #[error("{file} can not be read: {source}", file = .file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{file} is not PEM: {source}", file = .file.display())]
    NotPem { file: PathBuf, source: pem::Error },
    #[error("{file} holds no certificate: a PEM file with BEGIN CERTIFICATE is needed", file = .0.display())]
    NoCertificate(PathBuf),
    #[error("{file} holds no private key: a PEM file with BEGIN PRIVATE KEY (or RSA, EC PRIVATE KEY) is needed", file = .0.display())]
    NoKey(PathBuf),
    #[error("the key in {file} is encrypted: Sluice asks for no passphrase; decrypt it (openssl pkey) and protect the file", file = .0.display())]
    Encrypted(PathBuf),
    #[error("the key in {key} does not belong to the certificate in {cert}", key = .0.key.display(), cert = .0.cert.display())]
    Mismatch(CertFiles),
    #[error("the key in {file} can not be used: {source}", file = .file.display())]
    Key { file: PathBuf, source: TlsError },
    #[error("the certificate in {file} can not be understood: {source}", file = .file.display())]
    Certificate { file: PathBuf, source: x509_cert::der::Error },
    #[error("a certificate in {file} can not be an authority: {source}", file = .file.display())]
    Authority { file: PathBuf, source: TlsError },
    #[error("the authorities in {file} can not vouch for clients: {source}", file = .file.display())]
    Clients { file: PathBuf, source: VerifierBuilderError },
    #[error(
        "this system has no certificates of authorities (package ca-certificates): give a file with the authority's"
    )]
    NoSystemAuthorities,
}

/// A certificate that can be used.
pub struct Loaded {
    pub key: Arc<CertifiedKey>,
    /// The DNS names it is for, in lower case.
    pub names: Vec<String>,
    /// Its end, in Unix time.
    pub not_after: Duration,
}

/// Tells whether a file is still the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl Stamp {
    /// `None` if there is no such file.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { inode: metadata.ino(), length: metadata.len(), changed })
    }
}

/// `CERT:KEY`.
impl FromStr for CertFiles {
    type Err = NotTwoFiles;

    fn from_str(text: &str) -> Result<Self, NotTwoFiles> {
        let files = text.split_once(':');
        let files = files.filter(|(cert, key)| !cert.is_empty() && !key.is_empty() && !key.contains(':'));
        let (cert, key) = files.ok_or(NotTwoFiles)?;
        Ok(Self { cert: cert.into(), key: key.into() })
    }
}

/// Why a text is not [`CertFiles`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("give two files, the certificate and its key, as CERT:KEY")]
pub struct NotTwoFiles;

impl CertFiles {
    /// Whether this certificate can be used.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn check(&self) -> Result<(), CertError> {
        self.load().map(drop)
    }

    /// Of both files, as they are now.
    pub fn stamps(&self) -> [Option<Stamp>; 2] {
        [Stamp::of(&self.cert), Stamp::of(&self.key)]
    }

    /// Reads both files.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn load(&self) -> Result<Loaded, CertError> {
        let chain = certificates(&self.cert)?;
        let Some(leaf) = chain.first() else { return Err(CertError::NoCertificate(self.cert.clone())) };
        let unclear = |source| CertError::Certificate { file: self.cert.clone(), source };
        let (names, not_after) = describe(leaf).map_err(unclear)?;
        let key = CertifiedKey::from_der(chain, self.private_key()?, &ring::default_provider());
        let key = key.map_err(|source| match source {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertError::Mismatch(self.clone()),
            source => CertError::Key { file: self.key.clone(), source },
        })?;
        Ok(Loaded { key: Arc::new(key), names, not_after })
    }

    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, CertError> {
        let text = read(&self.key)?;
        if is_encrypted(&text) {
            return Err(CertError::Encrypted(self.key.clone()));
        }
        PrivateKeyDer::from_pem_slice(&text).map_err(|source| match source {
            pem::Error::NoItemsFound => CertError::NoKey(self.key.clone()),
            source => CertError::NotPem { file: self.key.clone(), source },
        })
    }
}

/// All certificates of a PEM file, which may hold other things too.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let certificates = CertificateDer::pem_slice_iter(&read(file)?).collect::<Result<_, _>>();
    certificates.map_err(|source| CertError::NotPem { file: file.to_owned(), source })
}

/// The authorities of a PEM file.
pub(super) fn authorities(file: &Path) -> Result<RootCertStore, CertError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        let unclear = |source| CertError::Authority { file: file.to_owned(), source };
        roots.add(certificate).map_err(unclear)?;
    }
    if roots.is_empty() { Err(CertError::NoCertificate(file.to_owned())) } else { Ok(roots) }
}

fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    fs::read(path).map_err(|source| CertError::Unreadable { file: path.to_owned(), source })
}

/// PKCS #8 says it in the label, the older forms in a line below it (RFC 1421, 4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// The DNS names of a certificate and its end. Its common name is not looked at: no client does any more.
fn describe(certificate: &CertificateDer<'_>) -> Result<(Vec<String>, Duration), x509_cert::der::Error> {
    let certificate = Certificate::from_der(certificate)?;
    let certificate = certificate.tbs_certificate();
    let subject =
        certificate.get_extension::<SubjectAltName>()?.map(|(_, names)| names.0).unwrap_or_default();
    let dns_name = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    };
    let names = subject.iter().filter_map(dns_name).collect();
    Ok((names, certificate.validity().not_after.to_unix_duration()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use std::time::UNIX_EPOCH;
    use tempfile::TempDir;

    fn made(names: &[&str]) -> CertifiedKey<rcgen::KeyPair> {
        generate_simple_self_signed(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
            .expect("made")
    }

    fn files(dir: &TempDir, cert: &str, key: &str) -> CertFiles {
        let files = CertFiles { cert: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        fs::write(&files.cert, cert).expect("written");
        fs::write(&files.key, key).expect("written");
        files
    }

    #[test]
    fn a_certificate_tells_its_names_and_its_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = made(&["Site.Example", "*.site.example"]);
        let files = files(&dir, &made.cert.pem(), &made.signing_key.serialize_pem());
        let loaded = files.load().expect("usable");
        assert_eq!(loaded.names, ["site.example", "*.site.example"]);
        assert!(loaded.not_after > UNIX_EPOCH.elapsed().expect("after 1970"));
        files.check().expect("usable");
    }

    #[test]
    fn one_file_may_hold_both() {
        let dir = tempfile::tempdir().expect("a directory");
        let made = made(&["a"]);
        let both = made.signing_key.serialize_pem() + &made.cert.pem();
        let mut files = files(&dir, &both, "");
        files.key = files.cert.clone();
        files.check().expect("usable");
    }

    #[test]
    fn what_can_not_be_used_says_why() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (made(&["a"]), made(&["a"]));
        let (cert, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (cert, key, part) in [
            (cert.as_str(), other.signing_key.serialize_pem().as_str(), "does not belong"),
            (&cert, encrypted, "is encrypted"),
            (&cert, old_encrypted, "is encrypted"),
            (&cert, &cert, "no private key"),
            (&key, &key, "no certificate"),
            ("", &key, "no certificate"),
            (broken, &key, "can not be understood"),
            ("-----BEGIN CERTIFICATE-----\n???\n", &key, "not PEM"),
        ] {
            let error = files(&dir, cert, key).check().expect_err(part).to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
        let missing = CertFiles { cert: dir.path().join("none.pem"), key: dir.path().join("none.key") };
        let error = missing.check().expect_err("missing").to_string();
        assert!(error.contains("none.pem") && error.contains("can not be read"), "{error}");
    }
}
