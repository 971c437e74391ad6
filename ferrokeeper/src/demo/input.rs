//! What the person at the prompt does: lines, the end of them, and signals.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Bytes of a line that are read. The longest command has twenty; the rest of a longer line is dropped.
const LINE_BYTES_MAX: u64 = 256;

/// Events that wait. While one command is being carried out, the next line is read and the others stay in the pipe.
const EVENTS_MAX: usize = 1;

/// Something happened at the prompt.
#[derive(PartialEq, Eq, Debug)]
pub enum Event {
    /// A line, without its end.
    Line(String),
    /// There are no more lines.
    End,
    /// Ctrl-C, or another signal that asks to end.
    Interrupt,
}

/// Where the events come from.
pub struct Input {
    events: Receiver<Event>,
    interrupted: Arc<AtomicBool>,
}

impl Input {
    /// Starts to listen to standard input and to SIGINT, SIGTERM and SIGHUP.
    pub fn listen() -> anyhow::Result<Input> {
        let (sender, events) = sync_channel(EVENTS_MAX);
        let interrupted = Arc::new(AtomicBool::new(false));
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
        let (flag, interrupts) = (Arc::clone(&interrupted), sender.clone());
        spawn("signals", move || {
            for _ in signals.forever() {
                flag.store(true, Ordering::SeqCst);
                if interrupts.send(Event::Interrupt).is_err() {
                    break;
                }
            }
        })?;
        spawn("input", move || read_lines(&mut io::stdin().lock(), &sender))?;
        Ok(Input { events, interrupted })
    }

    /// The next event; `None` if there is none within `wait`.
    pub fn next(&self, wait: Duration) -> Option<Event> {
        let event = match self.events.recv_timeout(wait) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return self.is_interrupted().then_some(Event::Interrupt),
            Err(RecvTimeoutError::Disconnected) => Event::End,
        };
        // A signal does not wait for the lines before it.
        Some(if self.is_interrupted() { Event::Interrupt } else { event })
    }

    /// Whether a signal has asked to end.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).context("cannot start a thread")?;
    Ok(())
}

/// Sends every line and then the end, as long as somebody listens. An error is an end, too.
fn read_lines(reader: &mut impl BufRead, events: &SyncSender<Event>) {
    while let Ok(Some(line)) = read_line(reader) {
        if events.send(Event::Line(line)).is_err() {
            return;
        }
    }
    // If nobody listens any more, nobody misses it.
    let _ = events.send(Event::End);
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let bytes = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if bytes == 0 {
        return Ok(None);
    }
    if bytes as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
        reader.skip_until(b'\n')?;
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8]) -> Vec<Event> {
        let (sender, events) = sync_channel(100);
        read_lines(&mut input, &sender);
        drop(sender);
        events.iter().collect()
    }

    #[test]
    fn lines_come_one_by_one_and_then_the_end() {
        let line = |text: &str| Event::Line(text.to_owned());
        assert_eq!(lines(b""), [Event::End]);
        assert_eq!(lines(b"status\r\n\nkill 1"), [line("status"), line(""), line("kill 1"), Event::End]);
        assert_eq!(lines(b"\xff\n"), [line("\u{fffd}"), Event::End]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let mut input = vec![b'x'; 100_000];
        input.extend_from_slice(b"\nquit\n");
        let long = "x".repeat(LINE_BYTES_MAX as usize);
        assert_eq!(lines(&input), [Event::Line(long), Event::Line("quit".to_owned()), Event::End]);
    }
}
