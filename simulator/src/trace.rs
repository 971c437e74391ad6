//! The account of a run, line by line: printed, or only hashed to compare two runs.

use std::sync::Arc;

use parking_lot::Mutex;

/// Where the lines go; clones are the same trace.
#[derive(Clone)]
pub struct Trace {
    sink: Option<Arc<Mutex<Sink>>>,
}

struct Sink {
    print: bool,
    hash: u64,
    lines: u64,
}

impl Trace {
    /// Nowhere: lines are not even made.
    pub fn off() -> Trace {
        Trace { sink: None }
    }

    /// Into a hash.
    pub fn hashed() -> Trace {
        Trace {
            sink: Some(Arc::new(Mutex::new(Sink { print: false, hash: 0xcbf2_9ce4_8422_2325, lines: 0 }))),
        }
    }

    /// To standard output, and into a hash.
    pub fn printed() -> Trace {
        let trace = Trace::hashed();
        if let Some(sink) = &trace.sink {
            sink.lock().print = true;
        }
        trace
    }

    /// Adds a line.
    pub fn note(&self, line: impl FnOnce() -> String) {
        let Some(sink) = &self.sink else { return };
        let line = line();
        let mut sink = sink.lock();
        sink.lines += 1;
        for byte in line.bytes().chain([b'\n']) {
            sink.hash = (sink.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if sink.print {
            println!("{line}");
        }
    }

    /// The hash of all lines so far and their number; zeros if the trace is off.
    pub fn fingerprint(&self) -> (u64, u64) {
        self.sink.as_ref().map_or((0, 0), |sink| {
            let sink = sink.lock();
            (sink.hash, sink.lines)
        })
    }
}
