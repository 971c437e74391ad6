//! Scenarios: text files in `testdata` that say what happens and what is then to be seen.
//!
//! The crate `scenario` says what such a file looks like, `testdata/README.md` what the commands are.
//! `UPDATE_EXPECT=1 cargo test -p tree --lib scenario` writes the effects that were seen into the files.
//!
//! Every command runs the whole way: request, `prepare`, the encoded transaction, `apply`, watches. After each applied
//! transaction the tree's digest must be the one in the transaction, and everything that the tree keeps twice
//! is computed again and compared.

mod command;
mod show;
mod words;
mod world;

use world::World;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testdata");

#[test]
fn scenarios_have_the_effects_that_they_say() {
    scenario::check::<World>(FOLDER);
}

#[test]
fn the_same_scenario_gives_the_same_effects_twice() {
    scenario::check_twice::<World>(FOLDER);
}
