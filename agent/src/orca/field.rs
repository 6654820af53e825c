//! Header fields with a report in them.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use clap::ValueEnum;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use sluice_relay::{field_names, names::Names};

use super::{
    json, protobuf,
    report::{LoadReport, OrcaError},
    text,
};

const NAME: HeaderName = HeaderName::from_static("endpoint-load-metrics");
const NAME_BIN: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");

/// All that emitters use or have used, and what each holds.
static NAMES: Names<6> = field_names![
    "endpoint-load-metrics",
    "endpoint-load-metrics-bin",
    "endpoint-load-metrics-json",
    "x-endpoint-load-metrics",
    "x-endpoint-load-metrics-bin",
    "x-endpoint-load-metrics-json",
];
const HELD: [Holds; 6] =
    [Holds::Prefixed, Holds::Binary, Holds::Json, Holds::Prefixed, Holds::Binary, Holds::Json];

/// gRPC leaves the padding away, others do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Clone, Copy)]
enum Holds {
    /// `TEXT`, `JSON` or `BIN` says which form follows.
    Prefixed,
    Json,
    Binary,
}

/// `--orca`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `endpoint-load-metrics: TEXT cpu_utilization:0.3,...`
    Text,
    /// `endpoint-load-metrics: JSON {"cpu_utilization":0.3,...}`
    Json,
    /// `endpoint-load-metrics-bin`, protobuf in base64.
    Binary,
}

/// Takes every report out of a head. The first that can be read is what it says.
///
/// # Errors
/// There are some, and none can be read.
pub(super) fn take(headers: &mut HeaderMap) -> Result<Option<LoadReport>, OrcaError> {
    let mut result = Ok(None);
    // Nearly all heads have none.
    if !NAMES.is_any_in(headers) {
        return result;
    }
    for (name, holds) in NAMES.iter().zip(HELD) {
        let Some(value) = headers.remove(name) else { continue };
        if !matches!(result, Ok(Some(_))) {
            result = value.to_str().map_err(|_| OrcaError::Form).and_then(|text| read(holds, text)).map(Some);
        }
    }
    result
}

fn read(holds: Holds, value: &str) -> Result<LoadReport, OrcaError> {
    match holds {
        Holds::Json => json::read(value),
        Holds::Binary => binary(value),
        Holds::Prefixed => {
            let (form, rest) = value.trim_start().split_once(' ').ok_or(OrcaError::Form)?;
            match form {
                "TEXT" => text::read(rest),
                "JSON" => json::read(rest),
                "BIN" => binary(rest.trim()),
                _ => Err(OrcaError::Form),
            }
        }
    }
}

fn binary(value: &str) -> Result<LoadReport, OrcaError> {
    match BASE64.decode(value).map_err(|_| OrcaError::Base64)? {
        empty if empty.is_empty() => Err(OrcaError::Empty),
        bytes => protobuf::read(&bytes),
    }
}

/// Puts a report into a head. Nothing if it says nothing.
pub(super) fn put(headers: &mut HeaderMap, report: &LoadReport, form: Form) {
    let (name, value) = match form {
        Form::Text => (NAME, format!("TEXT {}", text::write(report))),
        Form::Json => (NAME, format!("JSON {}", json::write(report))),
        Form::Binary => (NAME_BIN, BASE64.encode(protobuf::write(report))),
    };
    if *report != LoadReport::default() {
        let value = HeaderValue::try_from(value).expect("names are printable, and so is the rest");
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> LoadReport {
        LoadReport {
            cpu_utilization: Some(0.25),
            mem_utilization: Some(0.5),
            application_utilization: Some(1.5),
            rps_fractional: Some(12.5),
            eps: Some(0.125),
            named_metrics: [("queued".to_owned(), 3.0)].into(),
            ..LoadReport::default()
        }
    }

    #[test]
    fn each_form_is_read_as_it_is_written() {
        for (form, name, value) in [
            (
                Form::Text,
                NAME,
                Some(
                    "TEXT cpu_utilization:0.25,mem_utilization:0.5,application_utilization:1.5,\
                     rps_fractional:12.5,eps:0.125,named_metrics.queued:3",
                ),
            ),
            (
                Form::Json,
                NAME,
                Some(
                    r#"JSON {"cpu_utilization":0.25,"mem_utilization":0.5,"application_utilization":1.5,"rps_fractional":12.5,"eps":0.125,"named_metrics":{"queued":3.0}}"#,
                ),
            ),
            (Form::Binary, NAME_BIN, None),
        ] {
            let mut headers = HeaderMap::new();
            put(&mut headers, &report(), form);
            let field = headers.get(&name).expect("it is there");
            assert!(value.is_none_or(|value| field == value), "{form:?}: {field:?}");
            assert_eq!(take(&mut headers), Ok(Some(report())), "{form:?}");
            assert!(headers.is_empty(), "{form:?}");
        }
        let mut headers = HeaderMap::new();
        put(&mut headers, &LoadReport::default(), Form::Text);
        assert!(headers.is_empty(), "nothing is said of nothing");
    }

    #[test]
    fn whatever_the_name_it_is_read_and_goes_no_further() {
        let cpu = Some(Some(0.5));
        for (fields, said) in [
            (&[("endpoint-load-metrics", "TEXT cpu_utilization=0.5")] as &[_], cpu),
            (&[("endpoint-load-metrics", "JSON {\"cpu_utilization\":0.5}")], cpu),
            (&[("endpoint-load-metrics", "BIN CQAAAAAAAOA/")], cpu),
            (&[("endpoint-load-metrics-bin", "CQAAAAAAAOA/")], cpu),
            (&[("x-endpoint-load-metrics-bin", "CQAAAAAAAOA/")], cpu),
            (&[("endpoint-load-metrics-json", "{\"cpu_utilization\":0.5}")], cpu),
            (&[("x-endpoint-load-metrics", "TEXT cpu_utilization:0.5")], cpu),
            (&[("endpoint-load-metrics", "what?"), ("endpoint-load-metrics-bin", "CQAAAAAAAOA/")], cpu),
            (&[("endpoint-load-metrics-bin", "%"), ("x-endpoint-load-metrics", "TEXT a")], None),
            (&[("endpoint-load-metrics", "text cpu_utilization:0.5")], None),
            (&[("endpoint-load-metrics", "TEXT")], None),
            (&[("endpoint-load-metrics-bin", "")], None),
            (&[], Some(None)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let taken = take(&mut headers);
            let got = taken.as_ref().ok().map(|report| report.as_ref().and_then(|r| r.cpu_utilization));
            assert_eq!(got, said, "{fields:?}: {taken:?}");
            assert!(headers.is_empty(), "{fields:?}");
        }
    }
}
