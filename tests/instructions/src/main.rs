//! The decision path and the reading of reports, to be counted in instructions: `./check instructions`.
//!
//! `sluice-instructions CASE N` does the work of a case N times, after a preparation that does not depend on N. Under
//! callgrind, the difference of two runs over the difference of their N is what one costs, whatever else the machine
//! does. Without a case it names them all.

mod agent;
mod cases;
#[path = "../../../balancer/benches/decide/fleet.rs"]
mod fleet;
mod sample;

use std::process::ExitCode;

use cases::CASES;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (name, times) = (args.next(), args.next().and_then(|times| times.parse().ok()));
    let case = CASES.iter().find(|(case, _)| Some(*case) == name.as_deref());
    match (case, times) {
        (Some((_, run)), Some(times)) => {
            run(times);
            ExitCode::SUCCESS
        }
        (None, None) => {
            CASES.iter().for_each(|(case, _)| println!("{case}"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: sluice-instructions [CASE N]");
            ExitCode::from(2)
        }
    }
}
