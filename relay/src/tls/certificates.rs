//! The certificates of one listener, and which of them a client gets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, version};

use sluice_process::tls::{CertError, CertFiles, Loaded, Stamp};

use super::metrics::TlsMetrics;

/// By ALPN, the better one first.
pub(crate) const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Certificates by name, replaced while they are in use.
pub struct Certificates {
    pub(super) config: Arc<ServerConfig>,
    pub(super) metrics: TlsMetrics,
    table: Arc<Table>,
    /// In the order of the configuration.
    entries: Mutex<Vec<Entry>>,
}

/// One certificate: what is in use, and the files as they were when they were last looked at.
struct Entry {
    files: CertFiles,
    stamps: [Option<Stamp>; 2],
    loaded: Loaded,
}

impl Certificates {
    /// Loads them all; there must be at least one.
    ///
    /// # Errors
    /// The first that can not be used.
    ///
    /// # Panics
    /// Without any file.
    pub fn load(files: &[CertFiles], metrics: &TlsMetrics) -> Result<Arc<Self>, CertError> {
        let entries = files.iter().map(Entry::load).collect::<Result<Vec<_>, _>>()?;
        entries.iter().for_each(|entry| entry.tell(metrics));
        let table = Arc::new(Table(ArcSwap::from_pointee(Names::of(&entries))));
        let config = Arc::new(server_config(table.clone()));
        Ok(Arc::new(Self { config, metrics: metrics.clone(), table, entries: Mutex::new(entries) }))
    }

    /// Reads again what has changed since it was last looked at. What can not be used is logged and counted, and
    /// what is in use stays.
    pub fn refresh(&self) {
        let mut entries = self.entries.lock().expect("nothing panics while it holds the lock");
        let mut changed = false;
        for entry in entries.iter_mut() {
            changed |= entry.refresh(&self.metrics);
        }
        if changed {
            self.table.0.store(Arc::new(Names::of(&entries)));
        }
    }
}

impl Entry {
    fn load(files: &CertFiles) -> Result<Self, CertError> {
        // Before reading: what changes meanwhile is read again.
        let stamps = files.stamps();
        Ok(Self { files: files.clone(), stamps, loaded: files.load()? })
    }

    /// Whether something else is in use now.
    fn refresh(&mut self, metrics: &TlsMetrics) -> bool {
        let stamps = self.files.stamps();
        if stamps == self.stamps {
            return false;
        }
        // Kept also if it fails: certificate and key are often written one after the other, and the second change is
        // what makes them fit.
        self.stamps = stamps;
        match self.files.load() {
            Ok(loaded) => {
                tracing::info!("the certificate in {} was read again", self.files.cert.display());
                self.loaded = loaded;
                self.tell(metrics);
                metrics.reloads.with_label_values(&["loaded"]).inc();
                true
            }
            Err(error) => {
                tracing::error!("the certificate in use stays, as the new one can not be used: {error}");
                metrics.reloads.with_label_values(&["failed"]).inc();
                false
            }
        }
    }

    fn tell(&self, metrics: &TlsMetrics) {
        metrics.set_expiry(&self.files.cert, self.loaded.not_after);
    }
}

fn server_config(resolver: Arc<Table>) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .expect("the provider has ciphers for both versions")
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
    // Tickets are resumed by every thread, and nothing is kept per client.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match ring::Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!(%error, "TLS sessions can not be resumed"),
    }
    config
}

/// What handshakes look at.
#[derive(Debug)]
struct Table(ArcSwap<Names>);

#[derive(Debug)]
struct Names {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// Of `*.example.org` under `example.org`.
    wildcards: HashMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl Names {
    /// A name that several have belongs to the first of them.
    fn of(entries: &[Entry]) -> Self {
        let default = entries.first().expect("at least one certificate").loaded.key.clone();
        let mut names = Self { exact: HashMap::new(), wildcards: HashMap::new(), default };
        for loaded in entries.iter().map(|entry| &entry.loaded) {
            for name in &loaded.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut names.wildcards, parent),
                    None => (&mut names.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_insert_with(|| loaded.key.clone());
            }
        }
        names
    }

    /// RFC 6125, 6.4.3: a wildcard stands for one label. Who asks for a name that none has gets the default, and
    /// decides by itself what to make of it.
    fn choose(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.wildcards.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(wildcard).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Table {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let names = self.0.load();
        Some(hello.server_name().map_or(&names.default, |name| names.choose(name)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;
    use std::fs;
    use tempfile::TempDir;

    fn write(files: &CertFiles, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("made");
        fs::write(&files.cert, made.cert.pem()).expect("written");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    }

    fn files(dir: &TempDir, name: &str) -> CertFiles {
        CertFiles {
            cert: dir.path().join(format!("{name}.pem")),
            key: dir.path().join(format!("{name}.key")),
        }
    }

    #[test]
    fn the_name_that_a_client_asks_for_chooses() {
        let dir = tempfile::tempdir().expect("a directory");
        let all = [files(&dir, "a"), files(&dir, "b"), files(&dir, "c")];
        write(&all[0], &["a.example"]);
        write(&all[1], &["*.b.example", "a.example"]);
        write(&all[2], &["b.example", "x.b.example"]);
        let entries: Vec<_> = all.iter().map(|files| Entry::load(files).expect("usable")).collect();
        let names = Names::of(&entries);
        for (name, index) in [
            ("a.example", 0),
            ("A.Example", 0),
            ("y.b.example", 1),
            ("x.b.example", 2),
            ("b.example", 2),
            ("z.y.b.example", 0),
            ("example", 0),
            ("elsewhere.example", 0),
        ] {
            assert!(Arc::ptr_eq(names.choose(name), &entries[index].loaded.key), "{name}");
        }
    }

    #[test]
    fn changed_files_are_read_again_and_bad_ones_change_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let all = [files(&dir, "a"), files(&dir, "b")];
        all.iter().for_each(|files| write(files, &["a.example"]));
        let metrics = TlsMetrics::register(&Registry::new());
        let certificates = Certificates::load(&all, &metrics).expect("usable");
        let in_use = || certificates.table.0.load().default.clone();
        let first = in_use();
        certificates.refresh();
        assert!(Arc::ptr_eq(&first, &in_use()), "nothing has changed");

        fs::write(&all[0].cert, "half a certif").expect("written");
        certificates.refresh();
        certificates.refresh();
        assert!(Arc::ptr_eq(&first, &in_use()));
        assert_eq!(metrics.reloads.with_label_values(&["failed"]).get(), 1, "looked at once");

        fs::remove_file(&all[0].key).expect("removed");
        certificates.refresh();
        assert!(Arc::ptr_eq(&first, &in_use()));

        write(&all[0], &["b.example"]);
        certificates.refresh();
        assert!(!Arc::ptr_eq(&first, &in_use()));
        assert!(certificates.table.0.load().exact.contains_key("b.example"));
        assert_eq!(metrics.reloads.with_label_values(&["loaded"]).get(), 1);
    }
}
