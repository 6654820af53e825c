//! Whether the access log tells anything at present. Pure: the caller says what it saw.

use sluice_proto::Measured;

/// Malformed lines in a row that say that the format is another. Servers log what is no request as well, now and then.
const NOT_OURS: u64 = 20;

/// The most of a line that is shown, in characters.
const SHOWN: usize = 200;

/// What is known of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is read, and what is read is understood.
    Followed,
    /// It can not be opened, for that reason.
    Unreadable(String),
    /// Its lines are not of the format; such as this one.
    Foreign(String),
}

/// Follows a log's standing through what was read of it.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Since the last line that was understood.
    malformed: u64,
}

/// The lines of one turn.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) understood: u64,
    pub(super) malformed: u64,
    /// Of these, since the last one that was understood.
    malformed_last: u64,
    /// The last malformed one.
    pub(super) example: Option<String>,
}

impl Judge {
    /// After a turn. `unreadable`: the path can not be opened, and nothing is open. `None`: what it was holds.
    pub(super) fn judge(&mut self, lines: &Lines, unreadable: Option<String>) -> Option<Standing> {
        if let Some(reason) = unreadable {
            return Some(Standing::Unreadable(reason));
        }
        let before = if lines.understood > 0 { 0 } else { self.malformed };
        self.malformed = before.saturating_add(lines.malformed_last);
        if self.malformed < NOT_OURS {
            return Some(Standing::Followed);
        }
        lines.example.clone().map(Standing::Foreign)
    }
}

impl Lines {
    pub(super) fn understood(&mut self) {
        self.understood += 1;
        self.malformed_last = 0;
    }

    pub(super) fn malformed(&mut self, line: &str) {
        self.malformed += 1;
        self.malformed_last += 1;
        let shown: String = line.chars().take(SHOWN).collect();
        self.example = Some(shown.escape_debug().to_string());
    }
}

impl Standing {
    /// Whether the figures are the same in kind: another reason or another example is no news.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// What the figures are worth, where `told` is what the log's lines tell.
    pub(super) fn measured(&self, told: &Measured) -> Measured {
        match self {
            Self::Followed => told.clone(),
            Self::Unreadable(_) | Self::Foreign(_) => Measured::nothing(),
        }
    }

    /// In words, for the status.
    pub(super) fn words(&self, log: &str, format: &str) -> String {
        match self {
            Self::Followed => format!("access log {log}, format {format}"),
            Self::Unreadable(reason) => format!("nothing: access log {log} can not be read: {reason}"),
            Self::Foreign(example) => {
                format!(
                    "nothing: the lines of access log {log} are not of format {format}, such as: {example}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(understood: u64, malformed: u64) -> Lines {
        let mut lines = Lines::default();
        (0..understood).for_each(|_| lines.understood());
        (0..malformed).for_each(|_| lines.malformed("what\tis it"));
        lines
    }

    #[test]
    fn a_log_of_another_format_is_told_from_one_with_odd_lines() {
        let foreign = Standing::Foreign(r"what\tis it".into());
        let mut judge = Judge::default();
        for (understood, malformed, standing) in [
            (0, 0, Some(Standing::Followed)),
            (0, NOT_OURS - 1, Some(Standing::Followed)),
            (0, 0, Some(Standing::Followed)),
            (0, 1, Some(foreign.clone())),
            (0, 0, None),
            (1, NOT_OURS - 1, Some(Standing::Followed)),
            (1, 0, Some(Standing::Followed)),
            (1, NOT_OURS, Some(foreign)),
        ] {
            assert_eq!(
                judge.judge(&lines(understood, malformed), None),
                standing,
                "{understood} {malformed}"
            );
        }
        let gone = judge.judge(&lines(0, 0), Some("it is not there".into()));
        assert_eq!(gone, Some(Standing::Unreadable("it is not there".into())));
        assert_eq!(gone.map(|gone| gone.measured(&Measured::by_agent())), Some(Measured::nothing()));
    }

    #[test]
    fn what_is_shown_of_a_line_is_short_and_harmless() {
        let mut lines = Lines::default();
        lines.malformed(&"\u{1b}é".repeat(500));
        let shown = lines.example.expect("one");
        assert!(shown.chars().all(|c| !c.is_control()) && shown.len() < 2000, "{shown}");
    }
}
