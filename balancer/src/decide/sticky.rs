//! Sticky sessions: which instance a cookie means, and the cookie that means one.

use std::fmt;

use sluice_proto::InstanceName;

use crate::decide::hash::{rendezvous, stable};

/// Sessions of a rule's requests stay at one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickySpec {
    cookie: Box<str>,
    /// Hash of the cookie's name, so that two rules' tokens of one instance differ.
    salt: u64,
    source: CookieSource,
}

/// Whose cookie it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieSource {
    /// Sluice sets it, to a token of the instance that answered first.
    Sluice,
    /// The application sets it, to a session of its own; each value has its instance.
    Application,
}

/// What a request's cookie says. Small and `Copy`: it goes with the request into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// The instance with this token.
    Token { salt: u64, token: Token },
    /// The instance that wins the draw for this session.
    Session(u64),
}

/// Stands for an instance's name. Not a secret: whoever has one may be served by that instance, and
/// learns no more than that it exists. The same at every balancer and after every restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u64);

impl StickySpec {
    /// `cookie` must be a cookie's name: see [`is_cookie_name`].
    pub fn new(cookie: &str, source: CookieSource) -> Self {
        Self { cookie: cookie.into(), salt: stable(cookie.as_bytes()), source }
    }

    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    pub fn source(&self) -> CookieSource {
        self.source
    }

    /// What the cookie among a request's `Cookie` fields says; `None` if it is not there, or Sluice
    /// has not written it.
    pub fn preference<'a>(&self, fields: impl IntoIterator<Item = &'a str>) -> Option<Preference> {
        let value = fields.into_iter().find_map(|field| cookie_value(field, &self.cookie))?;
        match self.source {
            CookieSource::Sluice => {
                Token::parse(value).map(|token| Preference::Token { salt: self.salt, token })
            }
            CookieSource::Application => Some(Preference::Session(stable(value.as_bytes()))),
        }
    }

    /// The `Set-Cookie` value for a response of `instance`; `None` if the client has it, or the cookie
    /// is the application's. `secure`: the request came by https.
    pub fn set_cookie(
        &self,
        given: Option<Preference>,
        instance: &InstanceName,
        secure: bool,
    ) -> Option<String> {
        let token = Token::of(self.salt, instance);
        if self.source == CookieSource::Application
            || given == Some(Preference::Token { salt: self.salt, token })
        {
            return None;
        }
        // A session's cookie: without a lifetime, it ends with the browser, as sessions do.
        let secure = if secure { "; Secure" } else { "" };
        Some(format!("{}={token}; Path=/; HttpOnly; SameSite=Lax{secure}", self.cookie))
    }
}

impl Preference {
    /// The instance that is meant among those that may serve the request.
    ///
    /// For a session: rendezvous hashing (Thaler, Ravishankar, "A name-based mapping scheme for
    /// rendezvous", 1996). When an instance leaves, only its own sessions move, evenly over the rest. Each instance
    /// comes with its share of the sessions, of which only the ratio counts; the weights are those of Schindelhauer,
    /// Schomaker, "Weighted distributed hash tables" (2005): a session moves only to where the share has grown.
    pub fn among<'a>(
        self,
        eligible: impl IntoIterator<Item = (&'a InstanceName, f64)>,
    ) -> Option<&'a InstanceName> {
        let mut eligible = eligible.into_iter();
        let found = match self {
            Self::Token { salt, token } => eligible.find(|(name, _)| Token::of(salt, name) == token),
            Self::Session(session) => eligible
                .map(|(name, weight)| (score(session, name, weight), (name, weight)))
                .max_by(|(a, (one, _)), (b, (other, _))| {
                    a.total_cmp(b).then(one.as_str().cmp(other.as_str()))
                })
                .map(|(_, found)| found),
        };
        found.map(|(name, _)| name)
    }
}

/// The higher, the sooner a session is an instance's: `-weight / ln(u)` with a `u` from 0 to 1 that is theirs.
fn score(session: u64, name: &InstanceName, weight: f64) -> f64 {
    let drawn = rendezvous(session, stable(name.as_str().as_bytes()));
    // The 53 bits that a float has, and neither 0 nor 1.
    let uniform = ((drawn >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -weight / uniform.ln()
}

impl Token {
    fn of(salt: u64, instance: &InstanceName) -> Self {
        Self(rendezvous(salt, stable(instance.as_str().as_bytes())))
    }

    fn parse(text: &str) -> Option<Self> {
        let canonical = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        canonical.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// RFC 6265, 4.1.1: a cookie's name is a token.
pub fn is_cookie_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The value of one cookie in a `Cookie` field (RFC 6265, 4.2.1), without quotes around it.
fn cookie_value<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    let pairs = field.split(';').filter_map(|pair| pair.trim().split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name)?.1;
    Some(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<InstanceName> {
        (1..=n).map(|i| format!("zope-{i}").parse().expect("a name")).collect()
    }

    #[test]
    fn a_client_comes_back_to_the_instance_whose_cookie_it_got() {
        let spec = StickySpec::new("SLUICE", CookieSource::Sluice);
        let names = names(5);
        for name in &names {
            let set = spec.set_cookie(None, name, false).expect("a new client");
            let (pair, attributes) = set.split_once("; ").expect("attributes");
            assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
            assert!(!pair.contains(name.as_str()), "{pair}");
            let field = format!("a=b; {pair}; c=d");
            let preference = spec.preference(["x=y", &field]);
            assert_eq!(preference.and_then(|p| p.among(names.iter().map(even))), Some(name));
            assert_eq!(spec.set_cookie(preference, name, false), None, "it has it");
            let others = || names.iter().filter(|other| *other != name);
            assert_eq!(preference.and_then(|p| p.among(others().map(even))), None, "{name} is gone");
            let next = others().next().expect("four others");
            assert!(spec.set_cookie(preference, next, true).expect("a new one").ends_with("; Secure"));
        }
        let other = StickySpec::new("OTHER", CookieSource::Sluice);
        assert_ne!(other.salt, spec.salt, "another rule's cookie means nothing");
    }

    #[test]
    fn only_what_sluice_writes_is_a_token() {
        let spec = StickySpec::new("S", CookieSource::Sluice);
        for field in
            ["", "S", "S=", "S=zope-1", "S=+123456789012345", "S=ABCDEF0123456789", "T=0123456789abcdef"]
        {
            assert_eq!(spec.preference([field]), None, "{field}");
        }
        for field in ["S=0123456789abcdef", " S=\"0123456789abcdef\" ", "T=1;S=0123456789abcdef"] {
            assert!(spec.preference([field]).is_some(), "{field}");
        }
    }

    #[test]
    fn sessions_spread_evenly_and_only_those_of_a_lost_instance_move() {
        let spec = StickySpec::new("__ac", CookieSource::Application);
        let names = names(4);
        let home = |session: u32, names: &[InstanceName]| {
            let preference = spec.preference([&*format!("__ac=user-{session}")]).expect("a session");
            assert_eq!(spec.set_cookie(Some(preference), &names[0], false), None);
            preference.among(names.iter().map(even)).expect("some").clone()
        };
        let mut counts = [0; 4];
        for session in 0..4000 {
            let before = home(session, &names);
            let after = home(session, &names[..3]);
            assert!(before == after || before == names[3], "session {session}");
            counts[names.iter().position(|name| *name == before).expect("one of them")] += 1;
        }
        // The standard deviation of each is sqrt(4000 * 1/4 * 3/4) = 27; five of them.
        assert!(counts.iter().all(|count| (865..=1135).contains(count)), "{counts:?}");
        let reversed: Vec<_> = names.iter().rev().cloned().collect();
        assert_eq!(home(7, &names), home(7, &reversed));
    }

    fn even(name: &InstanceName) -> (&InstanceName, f64) {
        (name, 0.25)
    }

    #[test]
    fn sessions_are_divided_by_shares_and_move_only_to_where_a_share_grows() {
        let names = names(2);
        let home = |session: u64, share: f64| {
            let weighted = [(&names[0], 1.0 - share), (&names[1], share)];
            Preference::Session(stable(&session.to_le_bytes())).among(weighted).expect("some") == &names[1]
        };
        let mut counts = [0; 2];
        for session in 0..4000 {
            let (tenth, half) = (home(session, 0.1), home(session, 0.5));
            assert!(half || !tenth, "session {session} must not leave what gets more");
            counts[0] += u32::from(tenth);
            counts[1] += u32::from(half);
        }
        // Five standard deviations: of 400, sqrt(4000 * 0.1 * 0.9) = 19; of 2000, 32.
        assert!((305..=495).contains(&counts[0]) && (1840..=2160).contains(&counts[1]), "{counts:?}");
        assert!(!home(1, 0.0));
    }

    #[test]
    fn tokens_are_the_same_for_ever() {
        let token = Token::of(stable(b"SLUICE"), &"zope-1".parse().expect("a name"));
        assert_eq!(token.to_string(), TOKEN_OF_RELEASE_0_1);
    }

    /// A change logs every session out of its instance, and parts balancers of two releases.
    const TOKEN_OF_RELEASE_0_1: &str = "1f66aa2236fadf6b";
}
