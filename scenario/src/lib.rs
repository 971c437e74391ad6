//! Scenarios: text files that say what happens and what is then to be seen. This crate reads, plays, compares and
//! rewrites them; what a command means is up to a [`World`].
//!
//! A file is a list of blocks. A block is a few commands, a line `----`, the effects that they must have, and an
//! empty line. Lines that start with `#` between blocks are comments. Each file starts with a fresh world.
//!
//! With `UPDATE_EXPECT=1` the effects that were seen are written into the files, to be read before they are committed.
//! That holds for all scenarios that a test run goes through: filter by a runner's own name to rewrite only its files.
//!
//! This is a tool for tests: it is nobody's dependency but a dev-dependency. It must never know what a world does,
//! never let an effect pass that differs from the text, never write to a file unless told to, and never write down
//! what was seen in a file whose commands panicked.

#[cfg(test)]
mod tests;
mod text;

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What the commands of a scenario act on; `default` is the beginning of every file.
pub trait World: Default {
    /// Carries out a command and returns its effects, each of them one line that is not empty. A command of several
    /// lines takes the others from `rest`.
    ///
    /// # Panics
    /// If the command makes no sense, or breaks what must hold: that fails the scenario, whether or not files are
    /// rewritten.
    fn run(&mut self, command: &str, rest: &mut dyn Iterator<Item = &str>) -> Vec<String>;
}

/// Plays every `.txt` file of the folder, and compares what is seen with what is written there, or writes it there if
/// `UPDATE_EXPECT` is 1.
///
/// # Panics
/// With file and line of each difference and of each command that panicked, or if there is no such file.
#[track_caller]
pub fn check<W: World>(folder: impl AsRef<Path>) {
    let updates = std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
    let complaints = compare::<W>(folder.as_ref(), updates);
    assert!(complaints.is_empty(), "{}\nUPDATE_EXPECT=1 rewrites the files", complaints.join("\n"));
}

/// Plays every `.txt` file of the folder twice: what is seen depends on nothing but the file.
///
/// # Panics
/// With the file, and the line from where on two runs differ.
#[track_caller]
pub fn check_twice<W: World>(folder: impl AsRef<Path>) {
    for file in files(folder.as_ref()) {
        let text = read(&file);
        let (once, again) = (play::<W>(&text).rewritten, play::<W>(&text).rewritten);
        let line = 1 + once.lines().zip(again.lines()).take_while(|(one, other)| one == other).count();
        assert!(once == again, "{}:{line}: once\n{once}\nand then\n{again}", file.display());
    }
}

/// A command's name and its other words.
///
/// # Panics
/// If there are only spaces.
pub fn words(command: &str) -> (&str, Vec<&str>) {
    let mut words = command.split_whitespace();
    (words.next().unwrap_or_else(|| panic!("no command in {command:?}")), words.collect())
}

/// A number in a command: decimal, or hexadecimal after `0x`.
///
/// # Panics
/// If it is none.
pub fn number(word: &str) -> i64 {
    let number = match word.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    number.unwrap_or_else(|_| panic!("{word:?} is not a number"))
}

/// Every complaint, with file and line.
fn compare<W: World>(folder: &Path, updates: bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files(folder) {
        let text = read(&file);
        let Played { rewritten, mut differences, panic } = play::<W>(&text);
        if updates {
            differences.clear();
        }
        if updates && panic.is_none() && rewritten != text {
            fs::write(&file, rewritten).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        let all = differences.into_iter().chain(panic);
        complaints.extend(all.map(|(line, what)| format!("{}:{line}: {what}", file.display())));
    }
    complaints
}

/// What came of a file. Complaints come with their lines.
struct Played {
    /// The file as it should be, up to where a command panicked.
    rewritten: String,
    differences: Vec<(usize, String)>,
    panic: Option<(usize, String)>,
}

fn play<W: World>(text: &str) -> Played {
    let mut world = W::default();
    let mut played = Played { rewritten: String::new(), differences: Vec::new(), panic: None };
    for block in text::blocks(text) {
        let (mut seen, mut rest) = (Vec::new(), block.commands.iter().copied());
        while let Some(command) = rest.next() {
            let line = block.line_of_command(block.commands.len() - rest.len() - 1);
            match catch_unwind(AssertUnwindSafe(|| world.run(command, &mut rest))) {
                Ok(effects) => seen.extend(effects),
                Err(panic) => {
                    let (why, before) = (message(&*panic), list(&seen));
                    played.panic = Some((
                        line,
                        format!("{command:?} panicked: {why}\nseen before in this block:{before}"),
                    ));
                    return played;
                }
            }
        }
        if let Some(line) = block.first_difference(&seen) {
            let (expected, shown) = (list(&block.expected), list(&seen));
            let what = format!("after{}\nexpected:{expected}\nseen:{shown}", list(&block.commands));
            played.differences.push((line, what));
        }
        block.write(&seen, &mut played.rewritten);
    }
    played
}

fn list<T: AsRef<str>>(lines: &[T]) -> String {
    lines.iter().map(|line| format!("\n  {}", line.as_ref())).collect()
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// In the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no scenario", folder.display());
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
