//! What is taken in by the agent itself, of which classes, and how much room there is for it.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sluice_process::{ByteSize, ConfigError};
use sluice_relay::spool::{Allowance, SpoolLimits};

use super::Options;

/// On a disk wherever the system follows the file system standard; /tmp is memory on many.
const SPOOL_DIR: &str = "/var/tmp";

/// Responses and uploads, and the classes that are an exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffering {
    pub responses: Switch,
    pub uploads: Switch,
    /// The first one that matches a class and says something decides.
    pub rules: Vec<BufferingRule>,
    pub spool: SpoolLimits,
}

/// What is done for one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffered {
    /// Responses are read as fast as the instance writes them.
    pub responses: bool,
    /// Uploads are taken in before they get a worker.
    pub uploads: bool,
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    On,
    Off,
}

/// A `[[buffering]]` table of the file: some classes are treated differently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BufferingRule {
    /// The name of a class, such as `POST /upload`; `*` stands for anything.
    pub class: String,
    /// `on` or `off`, instead of --response-buffering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responses: Option<Switch>,
    /// `on` or `off`, instead of --upload-buffering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploads: Option<Switch>,
}

impl Buffering {
    /// What is done for the class of that name.
    pub fn of(&self, class: &str) -> Buffered {
        let rules = || self.rules.iter().filter(|rule| matches(&rule.class, class));
        let responses = rules().find_map(|rule| rule.responses).unwrap_or(self.responses);
        let uploads = rules().find_map(|rule| rule.uploads).unwrap_or(self.uploads);
        Buffered { responses: responses == Switch::On, uploads: uploads == Switch::On }
    }
}

pub(super) fn buffering(options: &Options) -> Result<Buffering, ConfigError> {
    if let Some(rule) = options.buffering.iter().find(|rule| rule.class.is_empty()) {
        let said = format!("{rule:?}");
        return Err(ConfigError::value("[[buffering]]", said, "a class, such as class = \"POST /upload*\""));
    }
    Ok(Buffering {
        responses: options.response_buffering.unwrap_or(Switch::On),
        uploads: options.upload_buffering.unwrap_or(Switch::On),
        rules: options.buffering.clone(),
        spool: spool(options)?,
    })
}

fn spool(options: &Options) -> Result<SpoolLimits, ConfigError> {
    let default = SpoolLimits::default();
    let allowance = |[each, total]: [(&str, Option<ByteSize>); 2], default: Allowance| {
        let size = |given: Option<ByteSize>, default| given.map_or(default, |size| size.as_u64());
        let allowance = Allowance { each: size(each.1, default.each), total: size(total.1, default.total) };
        if allowance.each > allowance.total {
            let (each, total) = (each.0, total.0);
            let given = ByteSize::bytes(allowance.each);
            return Err(ConfigError::value(each, given, format!("at most what {total} says")));
        }
        Ok(allowance)
    };
    Ok(SpoolLimits {
        memory: allowance(
            [("--buffer-size", options.buffer_size), ("--buffer-total", options.buffer_total)],
            default.memory,
        )?,
        files: allowance(
            [("--spool-size", options.spool_size), ("--spool-total", options.spool_total)],
            default.files,
        )?,
        directory: Some(options.spool_dir.clone().unwrap_or_else(|| PathBuf::from(SPOOL_DIR))),
    })
}

/// Whether `name` is what `pattern` says, where `*` stands for anything, also for nothing.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("POST /upload", "POST /upload", true),
            ("POST /upload", "POST /uploads", false),
            ("POST /upload*", "POST /upload", true),
            ("POST /upload*", "POST /uploads/new", true),
            ("POST *", "PUT /upload", false),
            ("*/upload", "POST /a/upload", true),
            ("*/upload", "POST /upload/a", false),
            ("*", "", true),
            ("* /a*b*c", "GET /a-b-c", true),
            ("* /a*b*c", "GET /a-c-b", false),
            ("aa*a", "aa", false),
            ("a*a*a", "aa", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} and {name:?}");
        }
    }

    #[test]
    fn the_first_rule_that_says_something_decides() {
        let rule =
            |class: &str, responses, uploads| BufferingRule { class: class.into(), responses, uploads };
        let buffering = Buffering {
            responses: Switch::On,
            uploads: Switch::Off,
            rules: vec![
                rule("GET /live*", Some(Switch::Off), None),
                rule("* /live/log", Some(Switch::On), Some(Switch::On)),
            ],
            spool: SpoolLimits::default(),
        };
        let of = |class| {
            let Buffered { responses, uploads } = buffering.of(class);
            (responses, uploads)
        };
        assert_eq!(of("GET /"), (true, false));
        assert_eq!(of("GET /live/log"), (false, true));
        assert_eq!(of("PUT /live/log"), (true, true));
    }
}
