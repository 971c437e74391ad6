//! The commands that zkCli does not have. None of them hides one of its, whose names stand in [`crate::catalogue`].

use crate::catalogue::{Command, Entry, own};
use crate::options::{Flag, switch, valued};

const DEPTH: Flag = valued("d", "How many levels below the path to look at");
const FORCE: Flag = switch("f", "Overwrite what exists");

const FIND: &[Flag] = &[
    DEPTH,
    valued("name", "The last part of the path; * and ? stand for other characters"),
    valued("data", "Text that the data holds"),
    switch("ephemeral", "Only ephemeral nodes"),
    valued("owner", "Only ephemeral nodes of this session (0x...)"),
];
const GREP: &[Flag] = &[DEPTH, switch("i", "Whatever the case of letters")];
const IMPORT: &[Flag] = &[FORCE, switch("n", "Check the file and say what would be done")];
const COPY: &[Flag] = &[FORCE, switch("r", "With everything below; ephemeral nodes are left out")];
const WATCH: &[Flag] = &[
    switch("r", "Everything below, too"),
    valued("n", "End after this many events, rather than with Ctrl-C"),
];
const TOP: &[Flag] = &[
    valued("n", "How often to look; without it until Ctrl-C at a terminal, else once"),
    valued("i", "Seconds between two looks (2)"),
];

/// The commands, sorted as the others are.
pub const OWN: &[Entry] = &[
    own(Command::Copy, "cp", "[-r] [-f] path|file:name path|file:name", COPY),
    own(Command::DiskUsage, "du", "path", &[]),
    own(Command::Export, "export", "[-f] path file", &[FORCE]),
    own(
        Command::Find,
        "find",
        "[-d depth] [-name glob] [-data text] [-ephemeral] [-owner session] path",
        FIND,
    ),
    own(Command::Grep, "grep", "[-d depth] [-i] text path", GREP),
    own(Command::Import, "import", "[-n] [-f] file path", IMPORT),
    own(Command::Move, "mv", "path path", &[]),
    own(Command::Top, "top", "[-n times] [-i seconds]", TOP),
    own(Command::Tree, "tree", "[-d depth] path", &[DEPTH]),
    own(
        Command::Transaction,
        "txn",
        "[\"operation\"...] # without operations: one a line, then commit or abort",
        &[],
    ),
    own(Command::Watch, "watch", "[-r] [-n events] path", WATCH),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{CATALOGUE, OLD_NAMES};

    #[test]
    fn no_command_hides_one_of_zkclis() {
        for entry in OWN {
            assert!(CATALOGUE.iter().all(|other| other.name != entry.name), "{}", entry.name);
            assert!(OLD_NAMES.iter().all(|(old, ..)| *old != entry.name), "{}", entry.name);
            assert_ne!(entry.name, "exit");
        }
        assert!(OWN.is_sorted_by_key(|entry| entry.name));
    }

    #[test]
    fn the_usage_of_a_command_explains_its_options() {
        let usage = |name| crate::catalogue::find(name).unwrap().usage();
        assert_eq!(
            usage("grep"),
            "grep [-d depth] [-i] text path\n -d <arg>   How many levels below the path to look at\n \
             -i         Whatever the case of letters"
        );
        assert_eq!(usage("du"), "du path");
    }
}
