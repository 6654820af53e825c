//! Names of the header fields that balancer and agent use between themselves.
//!
//! Both strip them from whatever comes from outside, and from whatever leaves Sluice.

/// The class that the balancer gave to a request; the agent measures under this name.
pub const CLASS: &str = "x-sluice-class";

/// On a response: this agent did not let the instance see the request, so it may be sent elsewhere
/// whatever its method. The value is the reason, as metrics name it.
pub const REFUSED: &str = "x-sluice-refused";

/// On a response: it is the agent's own, as the instance was asked and gave none. The request may be
/// sent elsewhere if its method allows that. The value is the reason, as metrics name it.
pub const FAILED: &str = "x-sluice-failed";

/// On a response: when the balancer may take the worker for free, if that is not the release point of the instance. The
/// only value is [`FIRST_BYTE`]: the agent reads the rest at once, however slow the client, or sends what is its own.
pub const RELEASE: &str = "x-sluice-release";

/// Of [`RELEASE`]: with the first byte of the body.
pub const FIRST_BYTE: &str = "first-byte";

/// On `OPTIONS *`: the balancer asks whether the agent runs. The agent answers by itself, at once, and says no more than
/// that. What the kernel of a stopped process goes on doing for it, such as accepting connections, is no answer.
pub const PROBE: &str = "x-sluice-probe";

/// All of them, for stripping.
pub const ALL: [&str; 5] = [CLASS, REFUSED, FAILED, RELEASE, PROBE];
