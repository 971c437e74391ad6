//! A session's reads see what the session wrote. Judged by the stats alone, without the model.

use std::collections::BTreeMap;

use protocol::{Stat, Zxid};

use super::{Verdict, ensure};

const PROMISE: &str = "read your writes";

/// One session's writes.
#[derive(Default)]
pub struct ReadYourWrites {
    written: BTreeMap<String, Zxid>,
}

impl ReadYourWrites {
    /// A write of data to this path was acknowledged.
    pub fn on_written(&mut self, path: &str, zxid: Zxid) {
        self.written.insert(path.to_owned(), zxid);
    }

    /// A read showed this stat.
    pub fn on_read(&self, path: &str, stat: &Stat) -> Verdict {
        let Some(&written) = self.written.get(path) else { return Ok(()) };
        ensure(stat.mzxid >= written, PROMISE, || {
            format!("{path} was written at {written}, and a later read shows it as of {}", stat.mzxid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_read_is_seen() {
        let mut writes = ReadYourWrites::default();
        writes.on_written("/a", Zxid::from_wire(5));
        let stat = |mzxid| Stat { mzxid: Zxid::from_wire(mzxid), ..Stat::default() };
        assert!(writes.on_read("/a", &stat(5)).is_ok());
        assert!(writes.on_read("/a", &stat(4)).is_err());
        assert!(writes.on_read("/b", &stat(1)).is_ok());
    }
}
