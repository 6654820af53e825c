//! What is known of one class.

use sluice_proto::{ClassName, ClassRelease, ReleaseEvidence, ReleaseFound, ReleasePoint};

use super::{handover::Handover, intake::Intake, usual::Usual};

#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    pub(super) usual: Usual,
    sized: Track,
    unsized_: Track,
}

/// Of responses whose length is known beforehand, or of the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    pub(super) handover: Handover,
    pub(super) intake: Intake,
}

impl Class {
    /// The track of such responses, and the length that they count as in it.
    pub(super) fn track(&self, length: Option<u64>) -> (&Track, u64) {
        match length {
            Some(length) => (&self.sized, length),
            None => (&self.unsized_, 0),
        }
    }

    pub(super) fn track_mut(&mut self, length: Option<u64>) -> (&mut Track, u64) {
        match length {
            Some(length) => (&mut self.sized, length),
            None => (&mut self.unsized_, 0),
        }
    }

    /// Whether the server is rid of such a response at its first byte.
    pub(super) fn is_free(&self, length: Option<u64>) -> bool {
        let (track, length) = self.track(length);
        track.handover.is_free(length)
    }

    /// What balancers are told. `None`: nothing is known.
    pub(super) fn claim(&self, class: &ClassName) -> Option<ClassRelease> {
        let (up_to_bytes, unknown_length) = (self.sized.free_to(), self.unsized_.free_to().is_some());
        let is_free = up_to_bytes.is_some() || unknown_length;
        let is_held = self.sized.handover.is_held() || self.unsized_.handover.is_held();
        (is_free || is_held).then(|| ClassRelease {
            class: class.clone(),
            point: if is_free { ReleasePoint::FirstByte } else { ReleasePoint::End },
            found: ReleaseFound::Learned,
            up_to_bytes,
            unknown_length,
            evidence: self.sized.evidence().plus(self.unsized_.evidence()),
        })
    }
}

impl Track {
    fn free_to(&self) -> Option<u64> {
        self.handover.free_to().max(self.intake.free_to())
    }

    fn evidence(&self) -> ReleaseEvidence {
        ReleaseEvidence {
            answered: self.handover.answered,
            waited: self.handover.waited,
            taken_in: self.intake.taken_in,
            contradicted: self.handover.contradicted + self.intake.contradicted,
        }
    }
}
