//! A request's sticky session: read off its cookie, written to its response.

use std::sync::Arc;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use sluice_proto::InstanceName;

use crate::decide::sticky::Preference;
use crate::pool::ClassEntry;

/// What the request's cookie says, in a class that is sticky.
pub(super) struct Session {
    class: Arc<ClassEntry>,
    pub(super) preference: Option<Preference>,
    /// The client's side is https, as the request says by now.
    secure: bool,
}

impl Session {
    /// `headers` are those of the request after policing, which settles `X-Forwarded-Proto`.
    /// `None`: the class is not sticky.
    pub(super) fn of(class: &Arc<ClassEntry>, headers: &HeaderMap) -> Option<Self> {
        let spec = class.treatment.sticky.as_ref()?;
        let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
        let preference = spec.preference(fields);
        let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        Some(Self { class: class.clone(), preference, secure })
    }

    /// Tells the client where its session is, unless it knows.
    pub(super) fn mark(&self, instance: &InstanceName, headers: &mut HeaderMap) {
        let spec = self.class.treatment.sticky.as_ref();
        if let Some(cookie) = spec.and_then(|spec| spec.set_cookie(self.preference, instance, self.secure)) {
            headers.append(SET_COOKIE, HeaderValue::try_from(cookie).expect("a token and fixed words"));
        }
    }
}
