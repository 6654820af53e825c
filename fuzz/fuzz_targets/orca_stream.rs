#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluice_fuzzing::targets::peers::orca_stream(bytes));
