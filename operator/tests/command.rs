//! The command line: from the environment it reads only its own settings, not those of other programs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::process::Command;

#[test]
fn the_definition_is_printed_whatever_other_programs_are_told() {
    let printed = Command::new(env!("CARGO_BIN_EXE_eventplatform-operator"))
        .arg("crd")
        .envs([("PUBLIC_URL", "x"), ("LISTEN_ADDR", "x"), ("REQUEST_TIMEOUT_SECONDS", "x")])
        .output()
        .unwrap();

    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), eventplatform_operator::crdgen::yaml().unwrap());
}
