//! `sluice-simulate` as a person runs it.

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-simulate"));
    command.args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_table_has_its_seeds_a_row_per_policy_and_a_column_per_load() {
    let output =
        simulate(&["--scenario=d", "--load=0.5,0.7", "--policy=lc,central", "--scale=0.01", "--seed=7"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.contains("seeds [7, 8, 9]"), "{table}");
    assert!(table.contains("| policy | load 0.50 | load 0.70 |"), "{table}");
    assert_eq!(table.lines().filter(|l| l.starts_with("| lc |") || l.starts_with("| central |")).count(), 2);
}

#[test]
fn json_has_every_run() {
    let output = simulate(&["--scenario=exports", "--policy=darc", "--scale=0.01", "--seeds=2", "--json"]);
    let cells: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(cells[0]["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(cells[0]["runs"][0]["classes"][1]["name"], "GET /export/{n}");
}

#[test]
fn what_is_not_there_is_named() {
    let cases = [
        (["--scenario=nowhere", "--policy=lc"], "nowhere"),
        (["--scenario=d", "--policy=nobody"], "nobody"),
        (["--scenario=d", "--load=-1"], "-1"),
        (["--scenario=d", "--scale=0"], "--scale"),
    ];
    for (arguments, complaint) in cases {
        let output = simulate(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(complaint), "{arguments:?}: {}", text(&output.stderr));
    }
}
