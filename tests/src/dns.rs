//! A DNS server that says what a test wants (RFC 1035, RFC 2782), over UDP.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// Of every record, in seconds: asked for again as often as that is possible.
const TTL: u32 = 1;

/// What a name has.
#[derive(Clone, Debug)]
pub enum Record {
    Address(IpAddr),
    Service { priority: u16, port: u16, target: &'static str },
}

impl Record {
    fn kind(&self) -> u16 {
        match self {
            Self::Address(IpAddr::V4(_)) => A,
            Self::Address(IpAddr::V6(_)) => AAAA,
            Self::Service { .. } => SRV,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Self::Address(IpAddr::V4(ip)) => ip.octets().to_vec(),
            Self::Address(IpAddr::V6(ip)) => ip.octets().to_vec(),
            Self::Service { priority, port, target } => {
                let mut data = [*priority, 0, *port].map(u16::to_be_bytes).concat();
                for label in target.split('.').filter(|label| !label.is_empty()) {
                    data.push(label.len() as u8);
                    data.extend(label.as_bytes());
                }
                data.push(0);
                data
            }
        }
    }
}

#[derive(Debug, Default)]
struct Zone {
    names: Mutex<HashMap<String, Vec<Record>>>,
    broken: Mutex<bool>,
    asked: AtomicUsize,
}

/// Serves until dropped.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Zone>,
    _serving: JoinSet<()>,
}

impl Dns {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("bound");
        let zone = Arc::new(Zone::default());
        let mut serving = JoinSet::new();
        let served = zone.clone();
        serving.spawn(async move {
            let mut query = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut query).await {
                if let Some(answer) = served.answer(&query[..length]) {
                    // Whoever asked may be gone.
                    let _sent = socket.send_to(&answer, peer).await;
                }
            }
        });
        Self { address, zone, _serving: serving }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `name` has these records and no others.
    pub fn set(&self, name: &str, records: impl IntoIterator<Item = Record>) {
        let records = records.into_iter().collect();
        self.zone.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), records);
    }

    /// Whether from now on every question fails.
    pub fn set_broken(&self, broken: bool) {
        *self.zone.broken.lock().unwrap_or_else(PoisonError::into_inner) = broken;
    }

    /// Questions until now.
    pub fn asked(&self) -> usize {
        self.zone.asked.load(Relaxed)
    }
}

impl Zone {
    /// `None`: that is no question.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, after) = question(query)?;
        let end = after + 4;
        let kind = u16::from_be_bytes(query.get(after..after + 2)?.try_into().ok()?);
        self.asked.fetch_add(1, Relaxed);
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let broken = *self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let (code, records): (u8, Vec<&Record>) = match names.get(&name) {
            _ if broken => (SERVFAIL, vec![]),
            None => (NXDOMAIN, vec![]),
            Some(records) => (0, records.iter().filter(|record| record.kind() == kind).collect()),
        };
        // Id; response, authoritative, recursion desired and available; one question, answers.
        let mut answer = query[..2].to_vec();
        answer.extend([0x85, 0x80 | code, 0, 1]);
        answer.extend((records.len() as u16).to_be_bytes());
        answer.extend([0, 0, 0, 0]);
        answer.extend(query.get(12..end)?);
        for record in records {
            let data = record.data();
            // The name: that of the question.
            answer.extend([0xc0, 12]);
            answer.extend([record.kind(), 1].map(u16::to_be_bytes).concat());
            answer.extend(TTL.to_be_bytes());
            answer.extend((data.len() as u16).to_be_bytes());
            answer.extend(data);
        }
        Some(answer)
    }
}

/// The name asked for, in lower case, and where it ends.
fn question(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (vec![], 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}
