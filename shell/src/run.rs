//! The life of a shell: where its lines come from, and its end.

use std::io::{self, BufRead, IsTerminal, Read};
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::invocation::Invocation;
use crate::output::{self, Form};
use crate::screen::{Screen, Streams};
use crate::shell::{Next, Shell};
use crate::terminal;

/// Bytes of a line that is read from a pipe: twice what a server accepts in a request. A longer one is refused.
const LINE_BYTES_MAX: u64 = 2 << 20;

/// Runs a shell to its end. `version` is what the command `version` says. Returns the exit code: that of the last command,
/// as zkCli's: 0, 1 for a failure, 127 for a command that does not exist.
pub fn run(invocation: Invocation, version: &str) -> io::Result<u8> {
    // One thread besides this one: it keeps the session alive while this one waits for a line.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let command = invocation.command.clone();
    let form = invocation.form;
    let is_dialogue = command.is_empty() && io::stdin().is_terminal();
    if is_dialogue {
        for complaint in &invocation.complaints {
            eprintln!("{complaint}");
        }
        return terminal::run(&runtime, invocation, version);
    }
    let screen: Arc<dyn Screen> = Arc::new(Streams::default());
    for complaint in &invocation.complaints {
        output::warn(&*screen, form, complaint);
    }
    let mut shell = match runtime.block_on(Shell::open(invocation, version, Arc::clone(&screen))) {
        Ok(shell) => shell,
        Err(failure) => {
            output::fail(&*screen, form, &failure);
            return Ok(failure.code);
        }
    };
    if command.is_empty() {
        read_lines(&runtime, &mut shell, &*screen)?;
    } else {
        runtime.block_on(shell.command(command));
    }
    Ok(runtime.block_on(shell.leave()))
}

fn read_lines(runtime: &Runtime, shell: &mut Shell, screen: &dyn Screen) -> io::Result<()> {
    if shell.form() == Form::Text {
        screen.out("Welcome to Ferrokeeper!");
    }
    let mut stdin = io::stdin().lock();
    loop {
        let mut bytes = Vec::new();
        let length = stdin.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        if length as u64 == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            let reason = format!("a line is longer than {LINE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if runtime.block_on(shell.line(line)) == Next::End {
            return Ok(());
        }
    }
}
