//! Quotas: limits per subtree, usage kept beside them, and the check that a write may ask for.
//!
//! A quota on `/app` consists of two nodes: `/zookeeper/quota/app/zookeeper_limits` with what clients ask for, and
//! `/zookeeper/quota/app/zookeeper_stats` with the usage, which every server maintains by itself: no transaction
//! carries it, no stat or digest shows it, no watch fires. Both hold text, see [`QuotaValues`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use protocol::ErrorCode;

use crate::slab::NodeId;
use crate::tree::{QUOTA, Tree};
use crate::znode;

const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// The subtrees that have limits.
#[derive(Clone, Default)]
pub(crate) struct QuotaPrefixes(BTreeSet<Box<str>>);

impl QuotaPrefixes {
    /// The deepest subtree with limits that the path is in (`PathTrie.findMaxPrefix`).
    fn deepest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut candidate = path;
        while !self.0.is_empty() && !candidate.is_empty() {
            if self.0.contains(candidate) {
                return Some(candidate);
            }
            candidate = protocol::path::split(candidate)?.0;
        }
        None
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|prefix| &**prefix)
    }
}

/// What a limits node or a stats node says (`StatsTrack`): `count=N,bytes=N`, and if there are more keys an `=` and
/// then each of them as `;key=N`, sorted. -1 stands for "not set".
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QuotaValues {
    values: BTreeMap<String, i64>,
}

impl QuotaValues {
    /// Reads the text; `None` if it is malformed. No text is as good as no values.
    pub fn parse(data: Option<&[u8]>) -> Option<QuotaValues> {
        let text = std::str::from_utf8(data.unwrap_or_default()).ok()?;
        let mut values = BTreeMap::new();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            // The writer puts a second `=` behind the number of bytes, to mislead old readers usefully.
            let (key, value) = pair.split_once('=')?;
            let value = value.split('=').next().unwrap_or_default();
            values.insert(key.to_owned(), if value.is_empty() { -1 } else { value.parse().ok()? });
        }
        Some(QuotaValues { values })
    }

    fn usage(count: i64, bytes: i64) -> QuotaValues {
        QuotaValues { values: [("count".to_owned(), count), ("bytes".to_owned(), bytes)].into() }
    }

    fn get(&self, key: &str) -> i64 {
        self.values.get(key).copied().unwrap_or(-1)
    }

    /// Number of nodes: the usage, or the soft limit.
    pub fn count(&self) -> i64 {
        self.get("count")
    }

    /// Bytes of data: the usage, or the soft limit.
    pub fn bytes(&self) -> i64 {
        self.get("bytes")
    }

    /// The hard limit on the number of nodes.
    pub fn count_hard(&self) -> i64 {
        self.get("countHardLimit")
    }

    /// The hard limit on the bytes of data.
    pub fn bytes_hard(&self) -> i64 {
        self.get("byteHardLimit")
    }

    fn encode(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count(), self.bytes());
        let others = self.values.iter().filter(|(key, _)| *key != "count" && *key != "bytes");
        for (at, (key, value)) in others.enumerate() {
            let separator = if at == 0 { "=;" } else { ";" };
            write!(text, "{separator}{key}={value}").expect("writing to a string never fails");
        }
        text
    }
}

/// What a limit is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuotaResource {
    /// The number of nodes in the subtree, its top included.
    Count,
    /// The bytes of their data.
    Bytes,
}

/// A limit that a write would exceed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuotaExcess {
    /// The top of the subtree.
    pub prefix: String,
    /// What would be too much.
    pub resource: QuotaResource,
    /// The usage after the write.
    pub usage: i64,
    /// The limit.
    pub limit: i64,
}

/// What the quotas say about a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QuotaVerdict {
    /// Nothing.
    Within,
    /// Soft limits are exceeded: worth a line in the log. One entry or two.
    SoftExceeded(Vec<QuotaExcess>),
    /// A hard limit is exceeded: the write is refused.
    HardExceeded(QuotaExcess),
    /// The limits or the usage cannot be read: the write is refused as undecodable, as in Java.
    Malformed,
}

impl QuotaVerdict {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<ErrorCode> {
        match self {
            QuotaVerdict::Within | QuotaVerdict::SoftExceeded(_) => None,
            QuotaVerdict::HardExceeded(_) => Some(ErrorCode::QuotaExceeded),
            QuotaVerdict::Malformed => Some(ErrorCode::MarshallingError),
        }
    }
}

/// One quota with its limits and usage, for metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuotaStatus<'t> {
    /// The top of the subtree.
    pub prefix: &'t str,
    /// The limits, if they can be read.
    pub limits: Option<QuotaValues>,
    /// The usage, if it can be read.
    pub usage: Option<QuotaValues>,
}

impl Tree {
    /// Whether a write at `path` that adds so many bytes and nodes stays within the limits
    /// (`ZooKeeperServer.checkQuota`). Compares with the usage that is applied; writes under way do not count.
    pub fn quota_check(&self, path: &str, bytes_diff: i64, count_diff: i64) -> QuotaVerdict {
        let Some(prefix) = self.quota_prefixes.deepest(path) else {
            return QuotaVerdict::Within;
        };
        let Some(limits) = self.find(&limits_path(prefix)) else {
            return QuotaVerdict::Within;
        };
        let Some(limits) = QuotaValues::parse(limits.data()) else {
            return QuotaVerdict::Malformed;
        };
        let checks_count = count_diff != 0 && (limits.count() > -1 || limits.count_hard() > -1);
        let checks_bytes = bytes_diff != 0 && (limits.bytes() > -1 || limits.bytes_hard() > -1);
        if !checks_count && !checks_bytes {
            return QuotaVerdict::Within;
        }
        let Some(stats) = self.find(&stats_path(prefix)) else {
            return QuotaVerdict::Within;
        };
        let Some(usage) = QuotaValues::parse(stats.data()) else {
            return QuotaVerdict::Malformed;
        };
        let counted = (QuotaResource::Count, usage.count(), count_diff, limits.count(), limits.count_hard());
        let measured = (QuotaResource::Bytes, usage.bytes(), bytes_diff, limits.bytes(), limits.bytes_hard());
        let mut soft = Vec::new();
        for (checked, (resource, usage, diff, soft_limit, hard_limit)) in
            [(checks_count, counted), (checks_bytes, measured)]
        {
            // A hard limit makes the soft one meaningless.
            let limit = if hard_limit > -1 { hard_limit } else { soft_limit };
            let usage = usage.saturating_add(diff);
            if !checked || usage <= limit {
                continue;
            }
            let excess = QuotaExcess { prefix: prefix.to_owned(), resource, usage, limit };
            if hard_limit > -1 {
                return QuotaVerdict::HardExceeded(excess);
            }
            soft.push(excess);
        }
        if soft.is_empty() { QuotaVerdict::Within } else { QuotaVerdict::SoftExceeded(soft) }
    }

    /// Every quota, by path.
    pub fn quotas(&self) -> impl Iterator<Item = QuotaStatus<'_>> + '_ {
        let values = |path: String| self.find(&path).and_then(|node| QuotaValues::parse(node.data()));
        self.quota_prefixes.iter().map(move |prefix| QuotaStatus {
            prefix,
            limits: values(limits_path(prefix)),
            usage: values(stats_path(prefix)),
        })
    }

    /// A node was created.
    pub(crate) fn quota_on_create(&mut self, path: &str, parent: &str, name: &str, data_length: u64) {
        if let Some(prefix) = quota_prefix(parent) {
            match name {
                LIMITS => _ = self.quota_prefixes.0.insert(prefix.into()),
                STATS => self.recount(prefix),
                _ => {}
            }
        }
        self.quota_on_change(path, data_length as i64, 1);
    }

    /// A node was deleted.
    pub(crate) fn quota_on_delete(&mut self, path: &str, parent: &str, name: &str, data_length: u64) {
        if name == LIMITS
            && let Some(prefix) = quota_prefix(parent)
        {
            self.quota_prefixes.0.remove(prefix);
        }
        self.quota_on_change(path, -(data_length as i64), -1);
    }

    /// Usage changed: rewrites the data of the deepest stats node above the path.
    pub(crate) fn quota_on_change(&mut self, path: &str, bytes_diff: i64, count_diff: i64) {
        let Some(prefix) = self.quota_prefixes.deepest(path) else {
            return;
        };
        let Some(stats) = self.find(&stats_path(prefix)) else {
            return;
        };
        let Some(mut usage) = QuotaValues::parse(stats.data()) else {
            // A client wrote nonsense over it: start again from the truth, which this change is part of already.
            return self.recount(prefix);
        };
        let (count, bytes) =
            (usage.count().saturating_add(count_diff), usage.bytes().saturating_add(bytes_diff));
        usage.values.insert("count".to_owned(), count);
        usage.values.insert("bytes".to_owned(), bytes);
        self.write_usage(prefix, &usage);
    }

    /// After loading: registers the quotas and counts their usage (`DataTree.setupQuota`).
    pub(crate) fn set_up_quotas(&mut self) {
        let Some(top) = self.lookup(QUOTA) else {
            return;
        };
        let limits: Vec<NodeId> = self
            .subtree(top)
            .filter(|&id| {
                let slot = self.slab.get(id);
                slot.child_count == 0 && znode::name(&slot.block) == LIMITS.as_bytes()
            })
            .collect();
        for id in limits {
            let path = self.path_of(id);
            if let Some(prefix) = protocol::path::split(&path).and_then(|(parent, _)| quota_prefix(parent)) {
                self.recount(prefix);
                self.quota_prefixes.0.insert(prefix.into());
            }
        }
    }

    /// Counts the subtree and writes the sum into its stats node. Takes time in proportion to the subtree.
    fn recount(&mut self, prefix: &str) {
        let (count, bytes) = self.measure(prefix);
        self.write_usage(prefix, &QuotaValues::usage(count, bytes));
    }

    /// The number of nodes in a subtree, its top included, and the bytes of their data.
    pub(crate) fn measure(&self, prefix: &str) -> (i64, i64) {
        let (mut count, mut bytes) = (0, 0);
        for id in self.lookup(prefix).into_iter().flat_map(|top| self.subtree(top)) {
            count += 1;
            bytes += znode::decode(&self.slab.get(id).block).data.map_or(0, |data| data.len() as i64);
        }
        (count, bytes)
    }

    fn write_usage(&mut self, prefix: &str, usage: &QuotaValues) {
        let path = stats_path(prefix);
        if let Some(id) = self.lookup(&path) {
            self.change_data(id, &path, Some(usage.encode().as_bytes()), |_| {});
        }
    }
}

/// The subtree that a quota's nodes under `parent` are about. The root's is not kept: Java fails there.
pub(crate) fn quota_prefix(parent: &str) -> Option<&str> {
    parent.strip_prefix(QUOTA).filter(|prefix| prefix.starts_with('/'))
}

fn limits_path(prefix: &str) -> String {
    format!("{QUOTA}{prefix}/{LIMITS}")
}

fn stats_path(prefix: &str) -> String {
    format!("{QUOTA}{prefix}/{STATS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_java_writes_them() {
        for text in ["count=5,bytes=-1", "count=-1,bytes=7=;byteHardLimit=9;countHardLimit=3"] {
            assert_eq!(QuotaValues::parse(Some(text.as_bytes())).unwrap().encode(), text);
        }
        let values = QuotaValues::parse(Some(b"bytes=;;count=2,")).unwrap();
        assert_eq!((values.count(), values.bytes(), values.bytes_hard()), (2, -1, -1));
        assert_eq!(QuotaValues::parse(None), Some(QuotaValues::default()));
        for malformed in [&b"count"[..], b"count=x", b"\xff=1"] {
            assert_eq!(QuotaValues::parse(Some(malformed)), None);
        }
    }

    #[test]
    fn the_deepest_prefix_counts() {
        let prefixes = QuotaPrefixes(["/a".into(), "/a/b".into()].into());
        for (path, prefix) in [
            ("/a", Some("/a")),
            ("/a/bc/d", Some("/a")),
            ("/a/b/c/d", Some("/a/b")),
            ("/ab", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(prefixes.deepest(path), prefix, "{path}");
        }
        assert_eq!(QuotaPrefixes::default().deepest("/a"), None);
    }
}
