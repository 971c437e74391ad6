use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{World, check, check_twice, compare};

/// Adds numbers up.
#[derive(Default)]
struct Sum(i64);

impl World for Sum {
    fn run(&mut self, command: &str, rest: &mut dyn Iterator<Item = &str>) -> Vec<String> {
        match command {
            "all" => self.0 += rest.take_while(|line| *line != "end").map(super::number).sum::<i64>(),
            "show" => return vec![format!("sum {}", self.0)],
            number => self.0 += super::number(number),
        }
        vec![format!("{command} added")]
    }
}

const RIGHT: &str = "\
# Comments stay where they are.

1
show
----
1 added
sum 1

all
2
0x10
end
show
----
all added
sum 19

# At the end, too.
";

const EFFECTS: &str = "2\nshow\n----\n2 added\nsum 2\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn place(folder: &Path, name: &str, line: usize) -> String {
    format!("{}:{line}: ", folder.join(name).display())
}

#[test]
fn each_file_begins_with_a_fresh_world_and_other_files_are_left_alone() {
    let folder = folder(&[("a.txt", RIGHT), ("b.txt", EFFECTS), ("README.md", "no\n----\nscenario\n")]);
    check::<Sum>(folder.path());
    check_twice::<Sum>(folder.path());
}

#[test]
fn every_difference_is_named_with_its_file_and_line() {
    let wrong = RIGHT.replace("sum 1\n", "sum 2\n").replace("all added\nsum 19\n", "all added\n");
    let folder = folder(&[("a.txt", &wrong), ("b.txt", EFFECTS), ("c.txt", "1\n----\n1 added\nmore\n")]);
    let complaints = compare::<Sum>(folder.path(), false);
    let places =
        [("a.txt", 7), ("a.txt", 16), ("c.txt", 4)].map(|(name, line)| place(folder.path(), name, line));
    assert_eq!(complaints.len(), places.len(), "{complaints:#?}");
    for (complaint, place) in complaints.iter().zip(places) {
        assert!(complaint.starts_with(&place), "{complaint} is at {place}");
    }
    assert!(
        complaints[0].contains("expected:\n  1 added\n  sum 2\nseen:\n  1 added\n  sum 1"),
        "{}",
        complaints[0]
    );
    assert_eq!(fs::read_to_string(folder.path().join("a.txt")).unwrap(), wrong, "nobody asked for a rewrite");
}

#[test]
#[should_panic(expected = "a.txt:4: after")]
fn a_wrong_expectation_fails_the_test() {
    // `UPDATE_EXPECT` may be set for other tests, hence not `check`.
    let complaints = compare::<Sum>(folder(&[("a.txt", "2\nshow\n----\nsum 2\n")]).path(), false);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn effects_that_are_written_down_are_those_that_are_expected_next_time() {
    let without = RIGHT.replace("1 added\nsum 1\n", "").replace("----\nall added\nsum 19\n", "");
    let folder = folder(&[("a.txt", &without), ("b.txt", EFFECTS)]);
    assert_eq!(compare::<Sum>(folder.path(), true), [""; 0]);
    assert_eq!(fs::read_to_string(folder.path().join("a.txt")).unwrap(), RIGHT);
    assert_eq!(compare::<Sum>(folder.path(), false), [""; 0]);
}

#[test]
fn a_panic_names_its_command_and_keeps_the_file_as_it_is_and_others_go_on() {
    let broken = "1\n----\nwrong\n\n2\nall\n3\nx\nend\nshow\n----\n";
    let folder = folder(&[("a.txt", broken), ("b.txt", "1\n")]);
    let complaints = compare::<Sum>(folder.path(), true);
    let [complaint] = &complaints[..] else { panic!("{complaints:?}") };
    let start = format!("{}\"all\" panicked: \"x\" is not a number", place(folder.path(), "a.txt", 6));
    assert!(complaint.starts_with(&start) && complaint.ends_with("\n  2 added"), "{complaint}");
    assert_eq!(fs::read_to_string(folder.path().join("a.txt")).unwrap(), broken);
    assert_eq!(fs::read_to_string(folder.path().join("b.txt")).unwrap(), "1\n----\n1 added\n");
}

#[test]
fn effects_without_a_command_fail() {
    let folder = folder(&[("a.txt", "1\n----\n1 added\n\n----\nsum 1\n")]);
    let complaints = compare::<Sum>(folder.path(), true);
    let [complaint] = &complaints[..] else { panic!("{complaints:?}") };
    assert!(complaint.starts_with(&place(folder.path(), "a.txt", 5)), "{complaint}");
}

#[test]
#[should_panic(expected = "holds no scenario")]
fn a_folder_without_scenarios_fails() {
    check::<Sum>(folder(&[("README.md", "")]).path());
}

/// What it shows depends on what was shown before.
#[derive(Default)]
struct Moody;

impl World for Moody {
    fn run(&mut self, _: &str, _: &mut dyn Iterator<Item = &str>) -> Vec<String> {
        static MOOD: AtomicU64 = AtomicU64::new(0);
        vec![MOOD.fetch_add(1, Ordering::Relaxed).to_string()]
    }
}

#[test]
#[should_panic(expected = "a.txt:3: once")]
fn effects_that_differ_from_run_to_run_fail() {
    check_twice::<Moody>(folder(&[("a.txt", "look\n----\n0\n")]).path());
}
