//! From a request to the name of its class. **The learned templates will go behind this.**

use sluice_proto::class;

/// What a class may depend on.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
}

/// Writes the class name of a request to `out`: method and path template.
///
/// The caller keeps `out`, so that classifying allocates nothing once it has grown.
pub fn classify(request: RequestLine<'_>, out: &mut String) {
    class::write_name(request.method, request.path, out);
}
