//! Brings the file, the `-D` definitions and the flags together: one value a key, and a word about
//! every value that does not count.
//!
//! Which one wins is Java's answer. A key of the file that `QuorumPeerConfig` does not know
//! overwrites the system property of the same name, so the file wins over `-Dzookeeper.<key>`. A
//! property that Java reads without the prefix cannot be set from the file, so there `-D` wins.

use super::ensemble::Company;
use super::error::{Complaint, ConfigError, Origin, Warning, WarningKind};
use super::file::{self, Property};
use super::keys::{self, Definition, Kind, Property as KeyProperty, Status};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest configuration file that is read, in bytes. The largest ensemble's is a few KiB; beyond
/// this limit the name is surely of another file, and reading stops.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a configuration comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigSource {
    /// The configuration file (`zoo.cfg`); without one, the defaults serve on 127.0.0.1.
    pub file: Option<PathBuf>,
    /// `-D` definitions in the order given, as name and value. A name is a system property of
    /// Java, or a key of the file.
    pub definitions: Vec<(String, String)>,
    /// A flag that overrides `clientPort`.
    pub client_port: Option<u16>,
    /// A flag that overrides `dataDir` and `dataLogDir`.
    pub data_dir: Option<PathBuf>,
}

/// Why a `-D` argument is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("-D needs a name; write it as -Dname=value")]
pub struct DefinitionError;

/// Splits the text behind `-D` into name and value at the first `=`; without one the value is
/// empty, as in Java.
///
/// # Errors
/// The name is empty.
pub fn parse_definition(text: &str) -> Result<(String, String), DefinitionError> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(DefinitionError);
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// The key as it was written.
    pub key: String,
    pub value: String,
    pub origin: Origin,
    /// Among several values for one key the highest rank counts.
    rank: u8,
}

impl Given {
    pub(super) fn new(key: &str, value: &str, origin: Origin) -> Given {
        Given { key: key.to_owned(), value: value.to_owned(), origin, rank: 0 }
    }

    /// A complaint about this value, dots in its place if it is a secret.
    pub(super) fn complaint(&self, problem: impl Into<String>, remedy: impl Into<String>) -> Box<Complaint> {
        let key = self.written_key();
        let secret = keys::lookup(key).is_some_and(|known| known.kind == Kind::Secret);
        Box::new(Complaint {
            origin: self.origin.clone(),
            key: self.key.clone(),
            value: if secret { "…".to_owned() } else { self.value.clone() },
            problem: problem.into(),
            remedy: remedy.into(),
        })
    }

    pub(super) fn bad(&self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        ConfigError::BadValue(self.complaint(problem, remedy))
    }

    pub(super) fn refused(&self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        ConfigError::Refused(self.complaint(problem, remedy))
    }

    pub(super) fn warning(&self, kind: WarningKind, message: impl Into<String>) -> Warning {
        Warning { kind, origin: self.origin.clone(), key: self.key.clone(), message: message.into() }
    }

    /// The key without what `-D` puts before it.
    fn written_key(&self) -> &str {
        match keys::classify_definition(&self.key) {
            Definition::Property { key } | Definition::BareKey { key } | Definition::PrefixedKey { key } => {
                key
            }
            Definition::JavaMachine | Definition::Unknown => &self.key,
        }
    }
}

/// Every key that was set, at most one value each.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// By the name in the file: of the table's row, or of the member of a family.
    given: BTreeMap<String, Given>,
    pub warnings: Vec<Warning>,
}

impl Values {
    /// Reads the file and the definitions and lets the right one of several values count. Warns of
    /// unknown keys and of those that are not built, and refuses those that must not be ignored.
    pub(super) fn gather(source: &ConfigSource) -> Result<Values, ConfigError> {
        let mut values = Values::default();
        if let Some(path) = &source.file {
            for pair in values.read_pairs(path)? {
                values.take_pair(&pair);
            }
        }
        for (name, value) in &source.definitions {
            values.take_definition(name, value);
        }
        values.judge()?;
        Ok(values)
    }

    /// The value of `key` that counts.
    pub(super) fn get(&self, key: &str) -> Option<&Given> {
        self.given.get(key)
    }

    /// The values of a family, by the name in the file.
    pub(super) fn family(&self, prefix: &str) -> impl Iterator<Item = (&str, &Given)> {
        let members = self.given.range(prefix.to_owned()..);
        let members = members.take_while(move |(name, _)| name.starts_with(prefix));
        members.map(|(name, given)| (name.as_str(), given))
    }

    pub(super) fn warn(&mut self, given: &Given, kind: WarningKind, message: impl Into<String>) {
        self.warnings.push(given.warning(kind, message));
    }

    /// Reads the pairs of a file. Of a key that is written twice only the last is returned, as in
    /// Java, with a warning.
    pub(super) fn read_pairs(&mut self, path: &Path) -> Result<Vec<Given>, ConfigError> {
        let text = read_file(path)?;
        let pairs = file::parse_properties(&text)
            .map_err(|source| ConfigError::Malformed { path: path.to_owned(), source })?;
        let path: Arc<Path> = path.into();
        let mut last: BTreeMap<String, Given> = BTreeMap::new();
        for Property { key, value, line, has_high_bytes, span: _ } in pairs {
            let origin = Origin::File { path: Arc::clone(&path), line };
            let given = Given::new(&key, &value, origin);
            if has_high_bytes {
                self.warn(
                    &given,
                    WarningKind::Doubtful,
                    "has bytes beyond ASCII, which are read as ISO-8859-1 as Java reads them; \
                     write \\uXXXX for other characters",
                );
            }
            if let Some(earlier) = last.insert(key, given) {
                self.warn(
                    &earlier,
                    WarningKind::Ignored,
                    format!("is set again in line {line}, and the last one counts"),
                );
            }
        }
        let mut pairs: Vec<Given> = last.into_values().collect();
        pairs.sort_by_key(|given| match given.origin {
            Origin::File { line, .. } => line,
            Origin::Define | Origin::Flag => 0,
        });
        Ok(pairs)
    }

    /// Takes one pair of the configuration file.
    fn take_pair(&mut self, pair: &Given) {
        let Some(key) = keys::lookup(&pair.key) else {
            self.warn_of_unknown_pair(pair);
            return;
        };
        if let KeyProperty::Exact(property) = key.property
            && key.status == Status::Built
        {
            self.warn(
                pair,
                WarningKind::JavaIgnores,
                format!("counts here; Java ignores it in the file and reads -D{property} only"),
            );
        }
        self.offer(&pair.key, Given { rank: 3, ..pair.clone() });
    }

    fn warn_of_unknown_pair(&mut self, pair: &Given) {
        // Java stores the pair as the property `zookeeper.zookeeper.…`, where nobody looks.
        let prefixed = match keys::classify_definition(&pair.key) {
            Definition::Property { key } | Definition::PrefixedKey { key } => Some(key),
            _ => None,
        };
        if let Some(key) = prefixed {
            let message = format!("has no effect in a file, in Java neither; write {key}");
            self.warn(pair, WarningKind::Ignored, message);
            return;
        }
        self.warn_of_unknown(pair);
    }

    fn warn_of_unknown(&mut self, given: &Given) {
        let bare = given.key.strip_prefix("zookeeper.").unwrap_or(&given.key);
        let message = match keys::suggest(bare) {
            Some(near) => format!("is not a known key and has no effect; did you mean {near}?"),
            None => "is not a known key and has no effect".to_owned(),
        };
        self.warn(given, WarningKind::UnknownKey, message);
    }

    fn take_definition(&mut self, name: &str, value: &str) {
        let given = Given::new(name, value, Origin::Define);
        match keys::classify_definition(name) {
            Definition::Property { key } => {
                let exact =
                    keys::lookup(key).is_some_and(|known| matches!(known.property, KeyProperty::Exact(_)));
                self.offer(key, Given { rank: if exact { 4 } else { 2 }, ..given });
            }
            Definition::BareKey { key } => self.offer(key, Given { rank: 1, ..given }),
            Definition::PrefixedKey { key } => self.take_prefixed_definition(key, given),
            Definition::JavaMachine => self.warn(
                &given,
                WarningKind::Ignored,
                "is a property of the Java machine; nothing here reads it",
            ),
            Definition::Unknown => self.warn_of_unknown(&given),
        }
    }

    /// `-Dzookeeper.` before a key for which Java does not look there.
    fn take_prefixed_definition(&mut self, key: &str, given: Given) {
        match keys::lookup(key).map(|known| (known.property, known.status)) {
            Some((KeyProperty::Exact(property), Status::Built)) => {
                let message = format!("counts here; Java ignores it and reads -D{property} only");
                self.warn(&given, WarningKind::JavaIgnores, message);
                self.offer(key, Given { rank: 2, ..given });
            }
            _ => self.warn(
                &given,
                WarningKind::Ignored,
                format!("has no effect, in Java neither; write {key} in the file, or -D{key}=…"),
            ),
        }
    }

    /// Keeps the value of higher rank, the later one of the same rank, and warns of the other.
    fn offer(&mut self, key: &str, new: Given) {
        let loses = self.given.get(key).is_some_and(|old| old.rank > new.rank);
        let dropped = if loses { Some(new) } else { self.given.insert(key.to_owned(), new) };
        let Some(dropped) = dropped else { return };
        if let Some(winner) = self.given.get(key) {
            let message = match winner.origin {
                Origin::Define => format!("is overridden by -D{}", winner.key),
                _ => format!("is overridden by {}, as in Java", winner.origin),
            };
            self.warnings.push(dropped.warning(WarningKind::Ignored, message));
        }
    }

    /// Warns of what is not built and refuses what must not be ignored.
    fn judge(&mut self) -> Result<(), ConfigError> {
        let known = self.given.iter().filter_map(|(name, given)| Some((keys::lookup(name)?, given)));
        let asking = known.filter(|(key, given)| !key.asks_for_nothing(&given.value));
        for (key, given) in asking {
            match key.status {
                Status::Built | Status::NoEffect(_) => {}
                // Whether these mean anything is known when the server lines were read.
                Status::BuiltForEnsemble { .. } | Status::RefusedWithOthers { .. } => {}
                Status::NotBuilt { lacking, .. } => self.warnings.push(
                    given.warning(WarningKind::NotBuilt, format!("has no effect in this release: {lacking}")),
                ),
                Status::RefusedIfSet(why) => return Err(refusal(given, why)),
            }
        }
        Ok(())
    }

    /// Warns of what is of no use to a server alone, and refuses what must not be ignored beside
    /// other members.
    pub(super) fn judge_company(&mut self, company: Company) -> Result<(), ConfigError> {
        let known = self.given.iter().filter_map(|(name, given)| Some((keys::lookup(name)?, given)));
        let asking = known.filter(|(key, given)| !key.asks_for_nothing(&given.value));
        for (key, given) in asking {
            match (key.status, company) {
                (Status::BuiltForEnsemble { alone }, Company::Alone) => self.warnings.push(
                    given.warning(WarningKind::Ignored, format!("has no effect on a server alone: {alone}")),
                ),
                (Status::RefusedWithOthers { why, .. }, Company::Others) => return Err(refusal(given, why)),
                (Status::RefusedWithOthers { alone, .. }, _) => self.warnings.push(
                    given.warning(WarningKind::NotBuilt, format!("has no effect in this release: {alone}")),
                ),
                _ => {}
            }
        }
        Ok(())
    }
}

fn refusal(given: &Given, why: &str) -> ConfigError {
    given.refused(
        format!("is not built in this release: {why}"),
        "remove the key if that is acceptable, or stay with Apache ZooKeeper",
    )
}

fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLong { path: path.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    Ok(text)
}
