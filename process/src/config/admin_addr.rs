use std::net::SocketAddr;

use super::ConfigError;

/// Refuses an admin address that others can reach while nothing tells friend from stranger.
pub fn check_admin(addr: SocketAddr, has_token: bool) -> Result<(), ConfigError> {
    // ::ffff:127.0.0.1 is loopback as well, which `IpAddr::is_loopback` alone does not see.
    if has_token || addr.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(ConfigError::value(
        "--admin",
        addr,
        "it can be reached from other machines; set --token-file, or bind to loopback (127.0.0.1 or [::1])",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        for (addr, open_without_token) in [
            ("127.0.0.1:9900", true),
            ("127.8.8.8:9900", true),
            ("[::1]:9900", true),
            ("[::ffff:127.0.0.1]:9900", true),
            ("0.0.0.0:9900", false),
            ("[::]:9900", false),
            ("10.0.0.1:9900", false),
        ] {
            let addr: SocketAddr = addr.parse().expect("a socket address");
            assert!(check_admin(addr, true).is_ok(), "{addr}");
            assert_eq!(check_admin(addr, false).is_ok(), open_without_token, "{addr}");
        }
    }

    #[test]
    fn the_refusal_names_both_cures() {
        let addr = SocketAddr::from(([0, 0, 0, 0], 9900));
        let message = check_admin(addr, false).expect_err("open to all").to_string();
        for part in ["--admin", "0.0.0.0:9900", "--token-file", "loopback"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
