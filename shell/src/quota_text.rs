//! Quotas as they are stored: `count=3,bytes=-1=;byteHardLimit=-1;countHardLimit=-1`.

use std::collections::BTreeMap;

/// The soft limit of nodes.
pub const COUNT: &str = "count";
/// The soft limit of bytes.
pub const BYTES: &str = "bytes";
/// The hard limit of nodes.
pub const COUNT_HARD: &str = "countHardLimit";
/// The hard limit of bytes.
pub const BYTES_HARD: &str = "byteHardLimit";

/// Limits, or what is used of them (`StatsTrack`). -1 stands for no limit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Track(BTreeMap<String, i64>);

impl Track {
    /// Reads stored text; `None` if it is malformed.
    pub fn parse(data: &[u8]) -> Option<Track> {
        let text = std::str::from_utf8(data).ok()?;
        let mut track = Track::default();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            // The first list ends with an additional =, by which old readers leave the second one out.
            let (key, value) = pair.trim_end_matches('=').split_once('=')?;
            track.set(key, if value.is_empty() { -1 } else { value.parse().ok()? });
        }
        Some(track)
    }

    /// A value.
    pub fn get(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    /// Sets a value.
    pub fn set(&mut self, key: &str, value: i64) {
        self.0.insert(key.to_owned(), value);
    }

    /// As an object; -1 stands there as it is stored.
    pub fn to_json(&self) -> serde_json::Value {
        self.0.iter().map(|(key, value)| (key.clone(), serde_json::Value::from(*value))).collect()
    }

    /// Takes over the limits that are set in another one.
    pub fn take_over(&mut self, other: &Track) {
        for (key, &value) in &other.0 {
            if value > -1 {
                self.set(key, value);
            }
        }
    }

    /// What is to be said when these limits are put on something that uses this much already.
    pub fn warnings(&self, used: &Track) -> Vec<String> {
        let mut warnings = Vec::new();
        for (soft, hard, name) in [(COUNT, COUNT_HARD, "count"), (BYTES, BYTES_HARD, "bytes")] {
            let used = used.get(soft);
            let is_less = |key| (0..used).contains(&self.get(key));
            if is_less(soft) || is_less(hard) {
                warnings.push(format!(
                    "[Warning]: the {name} quota you create is less than the existing {name}:{used}"
                ));
            }
        }
        warnings
    }
}

impl std::fmt::Display for Track {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "count={},bytes={}", self.get(COUNT), self.get(BYTES))?;
        let others = self.0.iter().filter(|(key, _)| *key != COUNT && *key != BYTES);
        for (at, (key, value)) in others.enumerate() {
            f.write_str(if at == 0 { "=;" } else { ";" })?;
            write!(f, "{key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_text_is_read_and_written_as_java_does() {
        for text in [
            "count=3,bytes=-1",
            "count=3,bytes=-1=;byteHardLimit=-1;countHardLimit=7",
            "count=-1,bytes=5=;x=1",
        ] {
            assert_eq!(Track::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        assert_eq!(Track::parse(b"").unwrap().to_string(), "count=-1,bytes=-1");
        for text in ["count", "count=x", "count=1,bytes"] {
            assert_eq!(Track::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn limits_below_what_is_used_are_warned_of() {
        let used = Track::parse(b"count=4,bytes=10").unwrap();
        let warnings = |text: &str| Track::parse(text.as_bytes()).unwrap().warnings(&used);
        assert_eq!(
            warnings("count=3,bytes=-1=;byteHardLimit=9"),
            [
                "[Warning]: the count quota you create is less than the existing count:4",
                "[Warning]: the bytes quota you create is less than the existing bytes:10"
            ]
        );
        assert_eq!(warnings("count=4,bytes=-1=;byteHardLimit=10"), [""; 0]);
    }

    #[test]
    fn only_limits_that_are_set_are_taken_over() {
        let mut track = Track::parse(b"count=3,bytes=-1").unwrap();
        track.take_over(&Track::parse(b"count=-1,bytes=9").unwrap());
        assert_eq!(track.to_string(), "count=3,bytes=9");
    }
}
