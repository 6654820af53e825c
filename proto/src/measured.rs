//! Which of a report's figures were measured, and by whom.

use serde::{Deserialize, Serialize};

use crate::Mode;

/// The word of an agent on its figures, by the names that they have in the report.
///
/// Holds for all classes; of a single request a figure may still be missing, so that a sketch counts fewer values
/// than its class has requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// Who told the agent. Empty: nobody at present.
    pub by: Vec<Source>,
    /// Time that a worker was held.
    pub held_us: Quality,
    /// Time to the head of the response.
    pub ttfb_us: Quality,
    /// Body bytes of responses.
    pub response_bytes: Quality,
    /// Failed requests.
    pub errors: Quality,
    /// [`crate::Now::in_flight`].
    pub in_flight: Quality,
    /// The URLs that made up most of the bytes.
    pub heavy_urls: Quality,
}

/// How much a figure says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// It is what it is called.
    Measured,
    /// Taken from what is near it: a log's response time for the time that a worker was held, the middle of a
    /// histogram's bucket for each value in it.
    Estimated,
    /// Says nothing, whatever its value. Also what a newer agent says and this reader does not know.
    #[default]
    #[serde(other)]
    Unmeasured,
}

/// Where an agent has its figures from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Requests go through it.
    Agent,
    /// The application tells them: `POST /v1/observe`.
    Application,
    /// The access log of the application server.
    AccessLog,
    /// A Prometheus endpoint of the application.
    Metrics,
    /// What a newer agent names.
    #[serde(other)]
    Other,
}

impl Quality {
    pub fn is_known(self) -> bool {
        self != Self::Unmeasured
    }
}

impl Default for Measured {
    /// [`Measured::nothing`]: what a report leaves out was not measured.
    fn default() -> Self {
        Self::nothing()
    }
}

impl Measured {
    /// What an agent of that mode measures, if it does not say anything else.
    pub fn by(mode: Mode) -> Self {
        match mode {
            Mode::Inline => Self::by_agent(),
            Mode::Passive => Self::by_application(),
        }
    }

    /// An agent that the requests go through.
    pub fn by_agent() -> Self {
        Self { by: vec![Source::Agent], ..Self::with(Quality::Measured) }
    }

    /// An application that tells of each request when it is over.
    pub fn by_application() -> Self {
        Self {
            by: vec![Source::Application],
            in_flight: Quality::Unmeasured,
            ..Self::with(Quality::Measured)
        }
    }

    /// No figure says anything.
    pub fn nothing() -> Self {
        Self::with(Quality::Unmeasured)
    }

    fn with(quality: Quality) -> Self {
        Self {
            by: Vec::new(),
            held_us: quality,
            ttfb_us: quality,
            response_bytes: quality,
            errors: quality,
            in_flight: quality,
            heavy_urls: quality,
        }
    }
}
