//! Inputs that once broke a decoder, or nearly did, never do so again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use simulator::fuzz::{TARGETS, driver, target};

fn regressions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/regressions")
}

#[test]
fn every_input_of_the_regression_corpus_is_taken_well() {
    let mut inputs = 0;
    for folder in std::fs::read_dir(regressions()).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let target = target(&name).unwrap_or_else(|| panic!("there is no target {name}"));
        for file in std::fs::read_dir(folder).unwrap() {
            let input = std::fs::read(file.unwrap().path()).unwrap();
            (target.run)(&input);
            inputs += 1;
        }
    }
    assert!(inputs > 0);
}

#[test]
fn every_target_has_a_folder_of_regressions_and_a_libfuzzer_target() {
    for target in TARGETS {
        assert!(regressions().join(target.name).is_dir(), "{}", target.name);
        let file = regressions().join(format!("../fuzz_targets/{}.rs", target.name));
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("run(\"{}\"", target.name)), "{text}");
    }
}

#[test]
fn ten_thousand_mutants_break_no_decoder() {
    let artifacts = std::env::temp_dir().join("ferrokeeper-fuzz-artifacts");
    driver::run(&driver::Plan { target: "all".to_owned(), inputs: 10_000, seed: 99, artifacts }).unwrap();
}
