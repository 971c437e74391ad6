//! The shell at a terminal: line editing, completion of commands and paths, events while a line is typed.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use ferrokeeper_client::{Client, child_path};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use tokio::runtime::{Handle, Runtime};

use crate::catalogue::all;
use crate::invocation::Invocation;
use crate::screen::{Screen, Streams};
use crate::shell::{Next, Shell};

/// Runs a dialogue. What is typed is remembered while it lasts, and not on the disk: it may hold passwords.
pub fn run(runtime: &Runtime, invocation: Invocation, version: &str) -> io::Result<u8> {
    let broken = |error: ReadlineError| io::Error::other(error);
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(true).build();
    let mut editor: Editor<Assistant, MemHistory> =
        Editor::with_history(config.clone(), MemHistory::with_config(&config)).map_err(broken)?;
    let printer = editor.create_external_printer().map_err(broken)?;
    let screen: Arc<dyn Screen> =
        Arc::new(Terminal { streams: Streams::default(), printer: Mutex::new(printer) });
    let mut shell = match runtime.block_on(Shell::open(invocation, version, Arc::clone(&screen))) {
        Ok(shell) => shell,
        Err(failure) => {
            screen.err(&failure.message);
            return Ok(failure.code);
        }
    };
    screen.out("Welcome to Ferrokeeper! Tab completes commands and paths, Ctrl-D leaves.");
    runtime.block_on(shell.glance());
    loop {
        let client = runtime.block_on(shell.completing_client());
        editor.set_helper(Some(Assistant { runtime: runtime.handle().clone(), client }));
        match editor.readline(&shell.prompt()) {
            Ok(line) => {
                if runtime.block_on(line_or_interruption(&mut shell, &line)) == Next::End {
                    break;
                }
            }
            // The line is given up, not the shell.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(runtime.block_on(shell.leave()))
}

/// Carries out a line, unless it is interrupted: then the command is given up where it waits, and the shell goes on. What was
/// sent to a server may happen nevertheless.
async fn line_or_interruption(shell: &mut Shell, line: &str) -> Next {
    let interruption = tokio::signal::ctrl_c();
    tokio::select! {
        next = shell.line(line.trim_end_matches(['\r', '\n'])) => next,
        Ok(()) = interruption => Next::Line,
    }
}

/// Prints events above the line that is being typed.
struct Terminal<P> {
    streams: Streams,
    printer: Mutex<P>,
}

impl<P: ExternalPrinter + Send> Screen for Terminal<P> {
    fn out(&self, text: &str) {
        self.streams.out(text);
    }

    fn err(&self, text: &str) {
        self.streams.err(text);
    }

    fn progress(&self, text: &str) {
        self.streams.progress(text);
    }

    fn is_terminal(&self) -> bool {
        self.streams.is_terminal()
    }

    fn event(&self, text: &str) {
        let mut printer = self.printer.lock().unwrap_or_else(PoisonError::into_inner);
        if printer.print(format!("{text}\n")).is_err() {
            self.streams.out(text);
        }
    }
}

/// Completes what is typed.
struct Assistant {
    runtime: Handle,
    client: Option<Client>,
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let begin = line[..at].rfind(' ').map_or(0, |space| space + 1);
        let word = &line[begin..at];
        let names = match word.rfind('/') {
            Some(slash) if word.starts_with('/') => {
                let parent = if slash == 0 { "/" } else { &word[..slash] };
                self.paths(parent, &word[slash + 1..])
            }
            _ => commands(word),
        };
        Ok((begin, names))
    }
}

fn commands(begin: &str) -> Vec<String> {
    all().filter(|entry| entry.name.starts_with(begin)).map(|entry| entry.name.into()).collect()
}

impl Assistant {
    /// The children of a node whose names begin so. What cannot be read is not completed.
    fn paths(&self, parent: &str, begin: &str) -> Vec<String> {
        let Some(client) = &self.client else { return Vec::new() };
        let mut names = self.runtime.block_on(client.children(parent)).unwrap_or_default();
        names.retain(|name| name.starts_with(begin));
        names.sort_unstable();
        names.iter().map(|name| child_path(parent, name)).collect()
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Validator for Assistant {}

impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_completed() {
        assert_eq!(commands("get"), ["get", "getAcl", "getAllChildrenNumber", "getEphemerals"]);
        assert_eq!(commands("tr"), ["tree"]);
        assert_eq!(commands("x"), [""; 0]);
    }
}
