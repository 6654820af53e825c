//! What operators write. They mean well, and still a file must never be read as something else than it says.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta};
use sluice_agent::clock::{Schedule, Zone};
use sluice_process::config::to_toml;
use sluice_process::{ByteSize, Span};
use sluice_proto::{HostPattern, InstanceName, ServiceName, Target};

/// A balancer's file that is taken, with what it leaves open filled in, is taken again and is the same.
pub fn balancer(bytes: &[u8]) {
    use sluice_balancer::config::{Config, Options};
    let Ok(text) = str::from_utf8(bytes) else { return };
    texts(text);
    let Ok(mut options) = toml::from_str::<Options>(text) else { return };
    // Looked for on the disk.
    (options.state_dir, options.decision_log, options.token_file) = (None, None, None);
    options.listen.iter_mut().for_each(|listen| listen.tls.clear());
    if Config::try_from(options.clone()).is_err() {
        return;
    }
    let effective = options.with_defaults();
    let again: Options = toml::from_str(&to_toml(&effective)).expect("what the program prints, it reads");
    assert_eq!(again, effective);
    assert!(Config::try_from(again).is_ok(), "what is in effect is taken:\n{}", to_toml(&effective));
}

/// The same of an agent's.
pub fn agent(bytes: &[u8]) {
    use sluice_agent::config::{Config, Options};
    let Ok(text) = str::from_utf8(bytes) else { return };
    texts(text);
    let Ok(mut options) = toml::from_str::<Options>(text) else { return };
    // Looked for on the disk.
    options.token_file = None;
    (options.xsendfile_root, options.xsendfile_uri) = (Vec::new(), Vec::new());
    options.clock.clear();
    let Ok(config) = Config::try_from(options) else { return };
    let effective = config.effective();
    let again: Options = toml::from_str(&to_toml(&effective)).expect("what the program prints, it reads");
    assert_eq!(again, effective);
    assert!(Config::try_from(again).is_ok(), "what is in effect is taken:\n{}", to_toml(&effective));
}

/// Values within flags and files, each line as each kind of them.
fn texts(text: &str) {
    for line in text.lines().take(20) {
        same_again::<ByteSize>(line);
        same_again::<Span>(line);
        same_again::<ServiceName>(line);
        same_again::<InstanceName>(line);
        same_again::<Target>(line);
        same_again::<sluice_relay::listen::ListenSpec>(line);
        same_again::<sluice_balancer::config::InstanceSpec>(line);
        same_again::<sluice_balancer::config::KubernetesSpec>(line);
        if let Ok(pattern) = HostPattern::from_str(line) {
            let below = format!("sub.{line}");
            pattern.matches(&below);
            assert!(pattern.specificity() <= (u8::MAX, line.len()));
        }
    }
}

/// What is read is written as what is read as the same.
fn same_again<T: FromStr<Err: fmt::Debug> + fmt::Display + fmt::Debug + PartialEq>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    let written = value.to_string();
    assert_eq!(written.parse::<T>().as_ref().expect(&written), &value, "{text:?} is written {written:?}");
}

/// An expression that is taken is due in the future, again and again.
pub fn cron(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(schedule) = Schedule::cron(text, Zone::Utc) else { return };
    let mut now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    for _ in 0..5 {
        let Some(next) = schedule.next(now) else { return };
        assert!(next > now, "{text:?}: {next} is not after {now}");
        now = next;
    }
}
