//! Live state that data path and control plane share.

pub mod classes;
pub mod directory;
pub mod instance;
pub mod limits;
pub mod service;
pub mod slot;
pub mod traffic;
mod versions;

pub use classes::{ClassEntry, ClassTable};
pub use directory::Directory;
pub use instance::Instance;
pub use limits::ServiceLimits;
pub use service::Service;
pub use slot::Slot;

/// The one clock of the program (tokio's, which tests can pause), as `decide` takes it.
pub fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
