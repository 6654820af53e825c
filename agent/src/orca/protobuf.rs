//! The binary form: eight fields of doubles and maps of doubles, so the wire format is written and read here rather than
//! by a generator and its build step.

use super::report::{LoadReport, Map, OrcaError};

/// A field's type on the wire.
mod wire {
    pub(super) const VARINT: u64 = 0;
    pub(super) const FIXED64: u64 = 1;
    pub(super) const BYTES: u64 = 2;
    pub(super) const FIXED32: u64 = 5;
}

/// Of `OrcaLoadReport`; 3 is the deprecated `rps`, a whole number.
const SINGLE: [(u64, &str); 5] = [
    (1, "cpu_utilization"),
    (2, "mem_utilization"),
    (6, "rps_fractional"),
    (7, "eps"),
    (9, "application_utilization"),
];
const RPS: u64 = 3;
const MAPS: [(u64, Map); 3] = [(4, Map::RequestCost), (5, Map::Utilization), (8, Map::NamedMetrics)];

pub(super) fn write(report: &LoadReport) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in report.metrics() {
        let known = SINGLE.iter().find(|(_, field)| *field == name);
        let (field, _) = known.expect("the same five as those of the report");
        double(&mut out, *field, value);
    }
    for (field, map) in MAPS {
        let entries = match map {
            Map::RequestCost => &report.request_cost,
            Map::Utilization => &report.utilization,
            Map::NamedMetrics => &report.named_metrics,
        };
        for (name, value) in entries {
            let mut entry = Vec::new();
            bytes(&mut entry, 1, name.as_bytes());
            double(&mut entry, 2, *value);
            bytes(&mut out, field, &entry);
        }
    }
    out
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    varint(out, field << 3 | wire::FIXED64);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | wire::BYTES);
    varint(out, value.len() as u64);
    out.extend(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Unknown fields are passed over; of a field that comes again, the last holds.
pub(super) fn read(bytes: &[u8]) -> Result<LoadReport, OrcaError> {
    let mut report = LoadReport::default();
    let mut reader = Reader::new(bytes);
    while let Some((field, value)) = reader.field()? {
        match value {
            Value::Fixed64(bits) => {
                if let Some((_, name)) = SINGLE.iter().find(|(number, _)| *number == field) {
                    report.set(name, f64::from_bits(bits))?;
                }
            }
            Value::Varint(rps) if field == RPS && report.rps_fractional.is_none() => {
                report.set("rps_fractional", rps as f64)?;
            }
            Value::Bytes(entry) => {
                if let Some((_, map)) = MAPS.iter().find(|(number, _)| *number == field) {
                    let (name, value) = entry_of(entry)?;
                    report.add(*map, name, value)?;
                }
            }
            Value::Varint(_) | Value::Fixed32 => {}
        }
    }
    Ok(report)
}

/// What is left out of an entry is empty, or zero.
fn entry_of(bytes: &[u8]) -> Result<(&str, f64), OrcaError> {
    let (mut name, mut value) = ("", 0.0);
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.field()? {
        match field {
            (1, Value::Bytes(bytes)) => name = str::from_utf8(bytes).map_err(|_| OrcaError::Protobuf)?,
            (2, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok((name, value))
}

/// Field by field.
pub(super) struct Reader<'a>(&'a [u8]);

pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The next field and its number; `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, OrcaError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            wire::VARINT => Value::Varint(self.varint()?),
            wire::FIXED64 => {
                let bytes = self.take(8)?.try_into().map_err(|_| OrcaError::Protobuf)?;
                Value::Fixed64(u64::from_le_bytes(bytes))
            }
            wire::BYTES => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| OrcaError::Protobuf)?)?)
            }
            wire::FIXED32 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return Err(OrcaError::Protobuf),
        };
        match tag >> 3 {
            0 => Err(OrcaError::Protobuf),
            field => Ok(Some((field, value))),
        }
    }

    /// At most ten bytes.
    fn varint(&mut self) -> Result<u64, OrcaError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(OrcaError::Protobuf)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], OrcaError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(OrcaError::Protobuf)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_protobuf() {
        let report = LoadReport {
            cpu_utilization: Some(0.5),
            application_utilization: Some(2.0),
            named_metrics: [("q".to_owned(), 1.0)].into(),
            ..LoadReport::default()
        };
        let expected = [
            &[0x09, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f][..],
            &[0x49, 0, 0, 0, 0, 0, 0, 0, 0x40],
            &[0x42, 12, 0x0a, 1, b'q', 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
        ];
        assert_eq!(write(&report), expected.concat());
    }

    #[test]
    fn odd_cases_of_the_binary_form() {
        let rps = |rps| LoadReport { rps_fractional: Some(rps), ..LoadReport::default() };
        for (bytes, expected) in [
            (&[] as &[u8], Some(LoadReport::default())),
            (&[0x18, 0xac, 0x02], Some(rps(300.0))),
            (&[0x1d, 0, 0, 0, 0], Some(LoadReport::default())), // a type that the field does not have
            (&[0x7a, 1, 0xff], Some(LoadReport::default())),    // field 15
            (&[0xf8, 0xff, 0xff, 0xff, 0xff, 1, 7], Some(LoadReport::default())),
            (&[0x42, 0], Some(LoadReport::default())), // an entry without a name
            (&[0x09, 0, 0], None),
            (&[0x42, 5, 0x0a], None),
            (&[0x42, 3, 0x0a, 1, 0xff], None), // no UTF-8
            (&[0x42, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], None),
            (&[0xff; 11], None),
            (&[0x0b], None), // groups are of another age
            (&[0x00, 0x00], None),
            (&[0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f], None), // NaN
        ] {
            assert_eq!(read(bytes).ok(), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let whole = write(&LoadReport {
            eps: Some(1.0),
            named_metrics: [("queue".to_owned(), 3.0)].into(),
            ..LoadReport::default()
        });
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
            bytes.truncate(rng.usize(..=bytes.len()));
            if let Ok(report) = read(&bytes) {
                assert_eq!(read(&write(&report)), Ok(report), "{bytes:x?}");
            }
        }
    }
}
