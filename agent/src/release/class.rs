//! What is known of one class.

use sluice_proto::{ClassName, ClassRelease, ReleaseEvidence, ReleaseFound, ReleasePoint};

use super::{handover::Handover, usual::Usual};

#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    pub(super) usual: Usual,
    /// Of responses whose length is known beforehand.
    known_length: Handover,
    /// Of the others.
    unknown_length: Handover,
}

impl Class {
    /// What is known of such responses, and the length that they count as in it.
    pub(super) fn of(&self, length: Option<u64>) -> (&Handover, u64) {
        match length {
            Some(length) => (&self.known_length, length),
            None => (&self.unknown_length, 0),
        }
    }

    pub(super) fn of_mut(&mut self, length: Option<u64>) -> (&mut Handover, u64) {
        match length {
            Some(length) => (&mut self.known_length, length),
            None => (&mut self.unknown_length, 0),
        }
    }

    /// Whether the server is rid of such a response at its first byte.
    pub(super) fn is_free(&self, length: Option<u64>) -> bool {
        let (handover, length) = self.of(length);
        handover.is_free(length)
    }

    /// What balancers are told. `None`: nothing is known.
    pub(super) fn claim(&self, class: &ClassName) -> Option<ClassRelease> {
        let (up_to_bytes, unknown_length) = (self.known_length.free_to(), self.unknown_length.is_free(0));
        let is_free = up_to_bytes.is_some() || unknown_length;
        let is_held = self.known_length.is_held() || self.unknown_length.is_held();
        (is_free || is_held).then(|| ClassRelease {
            class: class.clone(),
            point: if is_free { ReleasePoint::FirstByte } else { ReleasePoint::End },
            found: ReleaseFound::Learned,
            up_to_bytes,
            unknown_length,
            evidence: self.evidence(),
        })
    }

    fn evidence(&self) -> ReleaseEvidence {
        let sum = |count: fn(&Handover) -> u64| count(&self.known_length) + count(&self.unknown_length);
        ReleaseEvidence {
            answered: sum(|handover| handover.answered),
            waited: sum(|handover| handover.waited),
            contradicted: sum(|handover| handover.contradicted),
        }
    }
}
