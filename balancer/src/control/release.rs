//! When workers are free, in words.

use sluice_proto::{ClassRelease, Release, ReleaseEvidence, ReleaseFound, ReleasePoint};

/// Of one class's responses.
pub(super) fn words(claim: &ClassRelease) -> String {
    let ReleaseEvidence { answered, waited, contradicted } = claim.evidence;
    let when = match (claim.point, claim.up_to_bytes, claim.unknown_length) {
        (ReleasePoint::End, ..) | (_, None, false) => "at the end".to_owned(),
        (_, None, true) => "at the first byte, if its length is not known".to_owned(),
        (_, Some(bytes), false) => format!("at the first byte, up to {bytes} bytes"),
        (_, Some(bytes), true) => format!("at the first byte, up to {bytes} bytes or of unknown length"),
    };
    let mut evidence = vec![];
    let mut add = |count: u64, what: &str| {
        if count > 0 {
            evidence.push(format!("{count} {what}"));
        }
    };
    add(answered, "answered beside one");
    add(waited, "had to wait for one");
    add(contradicted, "times taken back");
    format!(
        "free {when}: {}",
        if evidence.is_empty() { "its agent says so".to_owned() } else { evidence.join(", ") }
    )
}

/// Of all responses of which nothing else is known.
pub(super) fn words_of_all(release: &Release) -> String {
    let when = match release.point {
        ReleasePoint::FirstByte => "free at the first byte",
        ReleasePoint::End => "free at the end",
    };
    let how = match release.found {
        ReleaseFound::Configured => "configured",
        ReleaseFound::Assumed => "assumed, as it is true of every server",
        ReleaseFound::Learned => "learned",
    };
    format!("{when}: {how}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_proto::ClassName;

    #[test]
    fn words_say_when_and_why() {
        let evidence = ReleaseEvidence { answered: 12, ..ReleaseEvidence::default() };
        let held = ReleaseEvidence { waited: 2, contradicted: 1, ..ReleaseEvidence::default() };
        let none = ReleaseEvidence::default();
        let (first, end) = (ReleasePoint::FirstByte, ReleasePoint::End);
        for (point, up_to_bytes, unknown_length, evidence, expected) in [
            (
                first,
                Some(9),
                false,
                evidence,
                "free at the first byte, up to 9 bytes: 12 answered beside one",
            ),
            (
                first,
                None,
                true,
                none,
                "free at the first byte, if its length is not known: its agent says so",
            ),
            (
                first,
                Some(9),
                true,
                none,
                "free at the first byte, up to 9 bytes or of unknown length: its agent says so",
            ),
            (end, None, false, held, "free at the end: 2 had to wait for one, 1 times taken back"),
        ] {
            let (class, found) = (ClassName::other(), ReleaseFound::Learned);
            let claim = ClassRelease { class, point, found, up_to_bytes, unknown_length, evidence };
            assert_eq!(words(&claim), expected);
        }
    }
}
