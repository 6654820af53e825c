//! The stored corpus, and mutations of it, through every target. `SLUICE_FUZZ_SECS` says for how long each is mutated;
//! `SLUICE_FUZZ_SEED` repeats a run, `SLUICE_FUZZ_TARGET` takes one.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sluice_fuzzing::mutate::mutated;
use sluice_fuzzing::{TARGETS, Target};

/// Long enough for some thousand inputs each, and short enough for every run of the tests.
const SECS: f64 = 0.5;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn stored(target: &Target) -> Vec<Vec<u8>> {
    let directory = corpus().join(target.name);
    let files =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a directory's entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect()
}

#[test]
fn everything_stored_passes() {
    for target in TARGETS {
        let inputs = stored(&target);
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        inputs.iter().for_each(|input| run(&target, input, None));
    }
}

#[test]
fn every_directory_is_a_targets() {
    for directory in std::fs::read_dir(corpus()).expect("the corpus") {
        let name = directory.expect("a directory's entry").file_name();
        assert!(TARGETS.iter().any(|target| name == target.name), "{name:?} is no target's name");
    }
}

#[test]
fn mutations_pass() {
    let variable = |name: &str| std::env::var(name).ok();
    let secs = variable("SLUICE_FUZZ_SECS").map_or(SECS, |text| text.parse().expect("seconds"));
    let seed = variable("SLUICE_FUZZ_SEED")
        .map_or_else(|| fastrand::u64(..), |text| text.parse().expect("a number"));
    let only = variable("SLUICE_FUZZ_TARGET");
    println!("SLUICE_FUZZ_SEED={seed}");
    for target in TARGETS.iter().filter(|target| only.as_deref().is_none_or(|only| only == target.name)) {
        let (inputs, mut rng) = (stored(target), fastrand::Rng::with_seed(seed));
        let (end, mut count) = (Instant::now() + Duration::from_secs_f64(secs), 0_u64);
        while Instant::now() < end {
            run(target, &mutated(&inputs, &mut rng), Some(seed));
            count += 1;
        }
        println!("{}: {count} inputs", target.name);
    }
}

/// A finding says its input, to be stored in the corpus once it is mended.
fn run(target: &Target, input: &[u8], seed: Option<u64>) {
    if catch_unwind(|| (target.run)(input)).is_err() {
        let file = std::env::temp_dir().join(format!("sluice-fuzz-{}", target.name));
        std::fs::write(&file, input).expect("a temporary file");
        panic!("{}: {} (seed {seed:?}, also in {})", target.name, input.escape_ascii(), file.display());
    }
}
