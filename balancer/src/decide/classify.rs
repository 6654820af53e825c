//! From a request to the name of its class, the same code as passive agents run: operator's rules, then
//! learned templates, then static rules. **Another classification goes into `proto`**, beside these.

pub use sluice_proto::classify::{Origin, Request, classify};
