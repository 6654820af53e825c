use prometheus::{IntCounter, IntCounterVec, Registry};
use sluice_process::metrics::counters;

use super::{Encoding, judge::Skip};

/// Handles into the registry.
#[derive(Clone)]
pub(super) struct CompressMetrics {
    encodings: [EncodingMetrics; Encoding::ALL.len()],
    skipped: [IntCounter; Skip::ALL.len()],
}

/// One coding's handles.
#[derive(Clone)]
pub(super) struct EncodingMetrics {
    pub(super) responses: IntCounter,
    pub(super) bytes_in: IntCounter,
    pub(super) bytes_out: IntCounter,
}

impl CompressMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let responses = counters(
            registry,
            "sluice_agent_compressed_responses_total",
            "Responses that the agent compressed, by content coding.",
            &["encoding"],
        );
        let bytes = counters(
            registry,
            "sluice_agent_compressed_bytes_total",
            "Body bytes of those responses, by content coding: in, as the instance sent them, and out, as clients got them.",
            &["encoding", "side"],
        );
        let skipped = counters(
            registry,
            "sluice_agent_uncompressed_responses_total",
            "Responses that passed as they were, by reason. Many that were busy: raise --compress-threads if there is processor time to spare.",
            &["reason"],
        );
        Self {
            encodings: Encoding::ALL.map(|encoding| EncodingMetrics::of(encoding, &responses, &bytes)),
            skipped: Skip::ALL.map(|skip| skipped.with_label_values(&[skip.label()])),
        }
    }

    pub(super) fn of(&self, encoding: Encoding) -> &EncodingMetrics {
        &self.encodings[encoding as usize]
    }

    pub(super) fn skipped(&self, skip: Skip) {
        self.skipped[skip as usize].inc();
    }
}

impl EncodingMetrics {
    fn of(encoding: Encoding, responses: &IntCounterVec, bytes: &IntCounterVec) -> Self {
        let token = encoding.token();
        Self {
            responses: responses.with_label_values(&[token]),
            bytes_in: bytes.with_label_values(&[token, "in"]),
            bytes_out: bytes.with_label_values(&[token, "out"]),
        }
    }
}
