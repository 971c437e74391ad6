//! Scenarios of whole ensembles: text files in `testdata/ensemble` that say what happens and what is then to be seen.
//!
//! A file is a list of blocks. A block is a few commands, a line `----`, the effects that they must have, and an
//! empty line. Lines that start with `#` between blocks are comments. The commands are described in
//! `testdata/ensemble/README.md`; `UPDATE_EXPECT=1 cargo test -p zab ensemble_scenarios` writes the effects that were seen into
//! the files, to be read before they are committed. The invariants are checked after every command.

mod command;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protocol::{Epoch, ServerId, Zxid};

use crate::action::Action;
use crate::peer::Peer;
use world::World;

/// Commands, and the effects that they must have.
struct Block {
    /// Comments and empty lines in front.
    preamble: Vec<String>,
    commands: Vec<String>,
    expected: Vec<String>,
    line: usize,
}

fn parse(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while lines.peek().is_some() {
        let mut block = Block { preamble: Vec::new(), commands: Vec::new(), expected: Vec::new(), line: 0 };
        while let Some((_, line)) = lines.next_if(|(_, line)| line.is_empty() || line.starts_with('#')) {
            block.preamble.push(line.to_owned());
        }
        block.line = lines.peek().map_or(0, |(at, _)| at + 1);
        while let Some((_, line)) = lines.next_if(|(_, line)| *line != "----" && !line.is_empty()) {
            block.commands.push(line.to_owned());
        }
        if lines.next_if(|(_, line)| *line == "----").is_some() {
            while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
                block.expected.push(line.to_owned());
            }
        }
        blocks.push(block);
    }
    blocks
}

/// Runs a file; returns it as it should be, and what differs.
fn run(text: &str) -> (String, Vec<String>) {
    let mut world = World::default();
    let (mut rewritten, mut differences) = (String::new(), Vec::new());
    for block in parse(text) {
        for line in &block.preamble {
            rewritten += &format!("{line}\n");
        }
        if block.commands.is_empty() {
            continue;
        }
        for line in &block.commands {
            let went = catch_unwind(AssertUnwindSafe(|| command::run(&mut world, line)));
            if let Err(payload) = went {
                differences.push(format!("line {}: {line:?} panicked", block.line));
                let seen = world.take_seen();
                eprintln!("seen before: {:#?}", &seen[seen.len().saturating_sub(20)..]);
                if std::env::var_os("UPDATE_EXPECT").is_none() {
                    resume_unwind(payload);
                }
                return (text.to_owned(), differences);
            }
        }
        let seen = world.take_seen();
        rewritten += &format!("{}\n----\n", block.commands.join("\n"));
        for line in &seen {
            rewritten += &format!("{line}\n");
        }
        if seen != block.expected {
            differences.push(format!(
                "line {}:\n  {}\nexpected:\n  {}\nseen:\n  {}\n",
                block.line,
                block.commands.join("\n  "),
                block.expected.join("\n  "),
                seen.join("\n  ")
            ));
        }
        if let Some(broken) = world.broken() {
            differences.push(format!("line {}: {broken}", block.line));
        }
    }
    (rewritten, differences)
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testdata/ensemble");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

#[test]
fn ensemble_scenarios_have_the_effects_that_they_say() {
    let files = files();
    assert!(!files.is_empty());
    let mut complaints = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (rewritten, mut differences) = run(&text);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, rewritten).unwrap();
            differences.retain(|difference| !difference.contains("expected:"));
        }
        if !differences.is_empty() {
            complaints += &format!("== {} {}", file.display(), differences.join("\n"));
        }
    }
    assert!(complaints.is_empty(), "{complaints}\nUPDATE_EXPECT=1 rewrites the files");
}

#[test]
fn the_same_ensemble_scenario_gives_the_same_effects_twice() {
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(run(&text).0, run(&text).0, "{}", file.display());
    }
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
