//! Where the shell's words go.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;

/// Standard output and standard error, or whatever stands in for them. Commands and watch events write from different
/// threads; what is written at once stays together.
pub trait Screen: Send + Sync {
    /// A result. The line break at the end is added.
    fn out(&self, text: &str);
    /// A complaint, or what zkCli takes for one: it also says there what it has created.
    fn err(&self, text: &str);
    /// How far something is, which the next text of this kind replaces; nothing when it is over. Only a terminal shows it.
    fn progress(&self, _text: &str) {}
    /// Whether somebody looks at it, so that a picture may be drawn anew over and over.
    fn is_terminal(&self) -> bool {
        false
    }
    /// A watch event, which may come while a line is typed.
    fn event(&self, text: &str) {
        self.out(text);
    }
}

/// The process's own streams.
#[derive(Debug, Default)]
pub struct Streams {
    /// Keeps the two streams in order where they end in the same place.
    turn: Mutex<()>,
}

impl Screen for Streams {
    fn out(&self, text: &str) {
        let _turn = self.turn.lock();
        let mut stdout = io::stdout().lock();
        // Whoever read it may have gone; commands are carried out nevertheless.
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    }

    fn err(&self, text: &str) {
        let _turn = self.turn.lock();
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    fn progress(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            // Back to the beginning of the line; what remains of the old text goes.
            let _ = write!(stderr, "\r{text}\x1b[K").and_then(|()| stderr.flush());
        }
    }
}
