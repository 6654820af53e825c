//! What was learned, in a file per service: its format, and what may be wrong with one.

mod dir;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_proto::{InstanceName, ServiceName, Templates};

pub use dir::StateDir;

use crate::decide::membership::Word;
use crate::decide::schedule::SchedulerState;

/// Grows when an older program would read a file wrongly, or this one an older file.
pub const SCHEMA: u32 = 1;

/// One service's file. Holds the key to the URLs in it: only the operator may read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedService {
    pub schema: u32,
    /// Of the program that wrote it; for people.
    pub version: String,
    /// Unix time in milliseconds; for people.
    pub saved_at_ms: u64,
    pub service: ServiceName,
    /// What the operator said of instances, unless they are to be as their agents say.
    pub operator: BTreeMap<InstanceName, Word>,
    /// Under which paths names are too many to tell apart.
    pub templates: Templates,
    pub learned: SchedulerState,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("it can not be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("it is {0} bytes long, which is more than this program writes")]
    TooLong(u64),
    #[error("it is not what this program writes, or damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("it is of schema {0}, and this program reads {SCHEMA}")]
    Schema(u32),
    #[error("it is of the service {0}")]
    OtherService(ServiceName),
}

/// What every schema has in common.
#[derive(Deserialize)]
struct Header {
    schema: u32,
    service: ServiceName,
}

impl SavedService {
    /// # Errors
    /// [`Unusable`], if this is not `service`'s file in this program's schema.
    pub fn parse(text: &[u8], service: &ServiceName) -> Result<Self, Unusable> {
        let header: Header = serde_json::from_slice(text)?;
        if header.schema != SCHEMA {
            return Err(Unusable::Schema(header.schema));
        }
        if header.service != *service {
            return Err(Unusable::OtherService(header.service));
        }
        Ok(serde_json::from_slice(text)?)
    }
}
