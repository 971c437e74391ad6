//! Scenarios of elections: text files in `testdata/election` that say what happens and what is then to be seen.
//!
//! The crate `scenario` says what such a file looks like, `testdata/election/README.md` what the commands are.
//! `UPDATE_EXPECT=1 cargo test -p zab election_scenarios` writes the effects that were seen into the files.

mod command;
mod show;
mod world;

use world::World;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testdata/election");

#[test]
fn election_scenarios_have_the_effects_that_they_say() {
    scenario::check::<World>(FOLDER);
}

#[test]
fn the_same_election_scenario_gives_the_same_effects_twice() {
    scenario::check_twice::<World>(FOLDER);
}
