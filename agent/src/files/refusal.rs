//! Why a file that an application named is not sent.

use std::fmt;

use http::{HeaderValue, Response, StatusCode, header};
use sluice_relay::{Observer, ReplyBody};

/// One metric label each. What a client sees tells only the status: a path that leads out of the roots looks like one
/// that leads nowhere, whether there is something or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No directory or URI is configured for that kind of field.
    NoRoot,
    /// The application relies on something that is not offered, or names several files.
    Unsupported,
    /// The value is no path: relative, with `..`, badly escaped, too long, with a NUL.
    Malformed,
    /// It leads out of the configured directories, by its text or by a symbolic link.
    Outside,
    /// There is no such file.
    Missing,
    /// A directory, a pipe, a socket, a device.
    NotAFile,
    /// The agent may not read it.
    Forbidden,
    /// The disk, the file system or this process's limits.
    Unreadable,
}

impl Refusal {
    /// All of them, for registering their labels.
    pub const ALL: [Self; 8] = [
        Self::NoRoot,
        Self::Unsupported,
        Self::Malformed,
        Self::Outside,
        Self::Missing,
        Self::NotAFile,
        Self::Forbidden,
        Self::Unreadable,
    ];

    /// The metric label and log field.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoRoot => "no_root",
            Self::Unsupported => "unsupported",
            Self::Malformed => "malformed",
            Self::Outside => "outside",
            Self::Missing => "missing",
            Self::NotAFile => "not_a_file",
            Self::Forbidden => "forbidden",
            Self::Unreadable => "unreadable",
        }
    }

    /// 500 if an operator has something to mend, else 404.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NoRoot | Self::Unsupported | Self::Forbidden | Self::Unreadable => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Malformed | Self::Outside | Self::Missing | Self::NotAFile => StatusCode::NOT_FOUND,
        }
    }

    /// One line of text, in the application's stead. Nothing of its response stays.
    pub fn response<O: Observer>(self) -> Response<ReplyBody<O>> {
        let text = match self.status() {
            StatusCode::NOT_FOUND => "there is no such file\n",
            _ => "the file can not be sent\n",
        };
        let mut response = Response::new(ReplyBody::text(text.to_owned()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// For the log: what is wrong, and which knob to turn.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoot => "no directory is configured: see --xsendfile-root and --xsendfile-uri",
            Self::Unsupported => "only one X-Sendfile or X-Accel-Redirect is obeyed",
            Self::Malformed => "not an absolute path, percent-encoded once, without . and ..",
            Self::Outside => "it leads out of the directories of --xsendfile-root and --xsendfile-uri",
            Self::Missing => "there is no such file",
            Self::NotAFile => "it is not a regular file",
            Self::Forbidden => "this agent's user may not read it",
            Self::Unreadable => "it can not be read",
        })
    }
}
