//! Where the shell's words go.

use std::io::{self, Write as _};
use std::sync::Mutex;

/// Standard output and standard error, or whatever stands in for them. Commands and watch events write from different
/// threads; what is written at once stays together.
pub trait Screen: Send + Sync {
    /// A result. The line break at the end is added.
    fn out(&self, text: &str);
    /// A complaint, or what zkCli takes for one: it also says there what it has created.
    fn err(&self, text: &str);
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
}
