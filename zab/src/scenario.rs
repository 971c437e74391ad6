//! Scenarios of whole ensembles: text files in `testdata/ensemble` that say what happens and what is then to be seen.
//!
//! The crate `scenario` says what such a file looks like, `testdata/ensemble/README.md` what the commands are.
//! `UPDATE_EXPECT=1 cargo test -p zab ensemble_scenarios` writes the effects that were seen into the files. The
//! invariants are checked after every command.

mod command;
mod world;

use bytes::Bytes;
use protocol::{Epoch, ServerId, Zxid};

use crate::action::Action;
use crate::peer::Peer;
use world::World;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testdata/ensemble");

#[test]
fn ensemble_scenarios_have_the_effects_that_they_say() {
    scenario::check::<World>(FOLDER);
}

#[test]
fn the_same_ensemble_scenario_gives_the_same_effects_twice() {
    scenario::check_twice::<World>(FOLDER);
}

#[test]
fn a_lone_server_begins_another_epoch_when_the_zxids_are_used_up() {
    let last = Zxid::new(Epoch::new(3), 0xffff_fffd);
    let mut peer = Peer::alone(0, ServerId::new(1), last);
    let mut zxids = Vec::new();
    for _ in 0..3 {
        let (zxid, mut out) = (peer.next_zxid().unwrap(), Vec::new());
        peer.propose(0, zxid, Bytes::new(), &mut out);
        peer.on_synced(0, zxid, &mut out);
        assert_eq!(out, [Action::Committed { up_to: zxid }]);
        zxids.push((zxid.epoch().get(), zxid.counter()));
    }
    // 0xffffffff is never used (ZOOKEEPER-1277).
    assert_eq!(zxids, [(3, 0xffff_fffe), (4, 1), (4, 2)]);
}
