//! What a request asks for besides its method and path, where that changes what it costs.

/// Requests for one URL cost differently by kind: a page of a file, a "has it changed?", the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    #[default]
    Whole,
    /// A `GET` for part of a representation (RFC 9110, 14.2: `Range` is defined for `GET` alone).
    Range,
    /// A `GET` that is usually answered by 304 (RFC 9110, 13.1.2 and 13.1.3).
    Conditional,
    /// Only the head of the response.
    Head,
}

impl Kind {
    /// The kind of a request, where `has` tells whether it carries a header field. A range that is
    /// also conditional counts as a range: what is sent is no more than that.
    pub fn of(method: &str, has: impl Fn(&'static str) -> bool) -> Self {
        match method {
            "HEAD" => Self::Head,
            "GET" if has("range") => Self::Range,
            "GET" if has("if-none-match") || has("if-modified-since") => Self::Conditional,
            _ => Self::Whole,
        }
    }

    /// What is added to the name of a class that begins with its method, which says `HEAD` itself.
    pub(crate) fn after_template(self) -> &'static str {
        match self {
            Self::Whole | Self::Head => "",
            Self::Range => " [range]",
            Self::Conditional => " [conditional]",
        }
    }

    /// What is added to the name of a rule's class.
    pub(crate) fn after_rule(self) -> &'static str {
        match self {
            Self::Head => " [head]",
            other => other.after_template(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_from_method_and_fields() {
        for (method, fields, kind) in [
            ("GET", &[][..], Kind::Whole),
            ("GET", &["range"], Kind::Range),
            ("GET", &["if-none-match"], Kind::Conditional),
            ("GET", &["if-modified-since"], Kind::Conditional),
            ("GET", &["if-none-match", "range"], Kind::Range),
            ("HEAD", &["range", "if-none-match"], Kind::Head),
            ("POST", &["range"], Kind::Whole),
            ("PUT", &["if-none-match"], Kind::Whole),
        ] {
            assert_eq!(Kind::of(method, |name| fields.contains(&name)), kind, "{method} {fields:?}");
        }
    }
}
