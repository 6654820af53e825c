//! How many descriptors (files and sockets) this process may have open.
//!
//! Two limits hold: a soft one, by custom 1024 for the sake of programs that use `select`, and a hard one, up to which
//! a process may raise its own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many there may be after [`raise`].
pub fn most() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    limit.maximum.or(limit.current).unwrap_or(u64::MAX)
}

/// Raises the soft limit to the hard one.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_had_is_had() {
        raise();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), most());
    }
}
