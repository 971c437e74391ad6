//! The one table of every key: those of ZooKeeper 3.9's `zoo.cfg`, its system properties, and our
//! own few.
//!
//! [`super::Settings`] takes names and defaults from here, warnings and refusals are worded here,
//! and the table of the documentation is printed from here ([`render_markdown`]). A key that is
//! built later changes its [`Status`] and is read in `settings`; a test holds the two together.

mod access;
mod basic;
mod encryption;
mod ensemble;
mod limits;
mod markdown;
mod operations;
mod performance;
mod storage;
mod suggest;

pub use markdown::render_markdown;
pub(super) use suggest::suggest;

/// One key, or one family of keys when the name ends in `.*`.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The chapter it belongs to.
    pub group: Group,
    /// The name in the configuration file.
    pub name: &'static str,
    /// Other names with the same meaning and status: siblings with another prefix, or the name
    /// under which ZooKeeper's manual lists a property that is really called otherwise.
    pub also: &'static [&'static str],
    /// The system property behind it.
    pub property: Property,
    /// What its value looks like.
    pub kind: Kind,
    /// The value it has when it is not set, as it would be written; empty for none.
    pub default: &'static str,
    /// The unit of the value; empty when it has none.
    pub unit: &'static str,
    /// What it is for, in one sentence.
    pub meaning: &'static str,
    /// Whether this release does anything about it.
    pub status: Status,
}

/// How a key of the file and `-D` definitions relate. `QuorumPeerConfig` keeps the keys it knows in
/// fields of its own; all others it stores as system properties, over whatever `-D` had stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// Java reads the key from the file only.
    FileOnly,
    /// `zookeeper.<name>`. The file wins over `-D`.
    Prefixed,
    /// A property of exactly this name, which Java reads from `-D` only: the key in the file sets
    /// `zookeeper.<name>`, where Java does not look. Here both count, and `-D` wins.
    Exact(&'static str),
}

/// What a value looks like. Numbers and flags are read as Java reads them, which differs between
/// keys of the file and system properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number in 32 bits with sign.
    Int,
    /// A number in 64 bits with sign.
    Long,
    /// A number in 32 bits with sign, decimal even where other properties may be octal.
    DecimalInt,
    /// A number in 64 bits with sign, decimal even where other properties may be octal.
    DecimalLong,
    /// A number that may have a fraction.
    Fraction,
    /// `true` or `false`.
    Flag,
    /// On only for exactly `yes`.
    OnlyYes,
    /// Off only for exactly `no`.
    UnlessNo,
    /// A number of hours, or a number with one of the units ms, s, m, h, d.
    Interval,
    /// Free text.
    Text,
    /// Free text that is never printed.
    Secret,
}

/// Whether a key does anything in this release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what it does in Java.
    Built,
    /// It does what it does in Java in an ensemble. A server alone accepts it with a warning when
    /// it asks for something, as it has no use for it in Java either.
    BuiltForEnsemble {
        /// Why it has no effect on a server alone.
        alone: &'static str,
    },
    /// It is accepted in silence: the reason why nothing is missed.
    NoEffect(&'static str),
    /// It is accepted with a warning when it asks for something.
    NotBuilt {
        /// What therefore does not happen.
        lacking: &'static str,
        /// Values that ask for nothing, besides the default.
        unless: &'static [&'static str],
    },
    /// The server does not start when the value asks for it: why running without would be unsafe.
    RefusedIfSet(&'static str),
    /// The same, but only where there are other members; a server without any accepts it with a
    /// warning.
    RefusedWithOthers {
        /// Why running without would be unsafe.
        why: &'static str,
        /// What does not happen on a server without other members.
        alone: &'static str,
    },
}

/// The chapters of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Ports, directories, time.
    Basic,
    /// Logs, snapshots, retention.
    Storage,
    /// Limits and the life of nodes.
    Limits,
    /// Authentication, access control and four-letter words.
    Access,
    /// Several servers.
    Ensemble,
    /// TLS.
    Encryption,
    /// Admin server, metrics, audit and debugging.
    Operations,
    /// Threads, caches and throttles.
    Performance,
}

impl Group {
    /// The chapter's title.
    pub fn title(self) -> &'static str {
        match self {
            Group::Basic => "Ports, directories and time",
            Group::Storage => "Logs, snapshots and retention",
            Group::Limits => "Limits and the life of nodes",
            Group::Access => "Access: authentication, ACLs and four-letter words",
            Group::Ensemble => "Ensembles",
            Group::Encryption => "Encryption",
            Group::Operations => "Admin server, metrics, audit and debugging",
            Group::Performance => "Threads, caches and throttles",
        }
    }
}

impl Key {
    /// Its name and the other names it has.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.also.iter().copied())
    }

    /// Whether `value` asks for nothing beyond the default.
    pub(super) fn asks_for_nothing(&self, value: &str) -> bool {
        let unless = match self.status {
            Status::NotBuilt { unless, .. } => unless,
            _ => &[],
        };
        value.eq_ignore_ascii_case(self.default)
            || unless.iter().any(|quiet| value.eq_ignore_ascii_case(quiet))
    }
}

/// Every key, chapter by chapter.
pub fn all() -> impl Iterator<Item = &'static Key> {
    const CHAPTERS: [&[Key]; 8] = [
        basic::KEYS,
        storage::KEYS,
        limits::KEYS,
        access::KEYS,
        ensemble::KEYS,
        encryption::KEYS,
        operations::KEYS,
        performance::KEYS,
    ];
    CHAPTERS.into_iter().flatten()
}

/// The key that a name in the configuration file stands for.
pub fn lookup(name: &str) -> Option<&'static Key> {
    let in_family = |known: &str| known.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix));
    let named = all().find(|key| key.names().any(|known| known == name));
    named.or_else(|| all().find(|key| key.names().any(in_family)))
}

/// What a `-D` definition means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Definition<'a> {
    /// The system property that Java reads for this key.
    Property { key: &'a str },
    /// The bare name of a key, which Java would not look at: here it is an earlier line of the
    /// file.
    BareKey { key: &'a str },
    /// `zookeeper.` before a key that Java reads from the file only, or without the prefix.
    PrefixedKey { key: &'a str },
    /// A property of the Java machine or its libraries.
    JavaMachine,
    /// No key is near.
    Unknown,
}

/// Finds out what the `-D` name `name` means.
pub(super) fn classify_definition(name: &str) -> Definition<'_> {
    const MACHINE: [&str; 14] = [
        "java.",
        "javax.",
        "jdk.",
        "sun.",
        "com.sun.",
        "user.",
        "file.",
        "os.",
        "line.",
        "path.",
        "log4j",
        "logback",
        "org.",
        "io.netty.",
    ];
    if let Some(key) = all().find(|key| matches!(key.property, Property::Exact(exact) if exact == name)) {
        // Names and exact properties differ only in `syncEnabled`, so the table's name is meant.
        return Definition::Property { key: key.name };
    }
    let unprefixed = name.strip_prefix("zookeeper.");
    if let Some(rest) = unprefixed
        && let Some(key) = lookup(rest)
    {
        return match key.property {
            Property::Prefixed => Definition::Property { key: rest },
            Property::FileOnly | Property::Exact(_) => Definition::PrefixedKey { key: rest },
        };
    }
    if lookup(name).is_some() {
        return Definition::BareKey { key: name };
    }
    if MACHINE.iter().any(|prefix| name.starts_with(prefix)) {
        return Definition::JavaMachine;
    }
    Definition::Unknown
}

const fn not_built(lacking: &'static str) -> Status {
    Status::NotBuilt { lacking, unless: &[] }
}

const fn in_ensembles(alone: &'static str) -> Status {
    Status::BuiltForEnsemble { alone }
}

const fn not_built_unless(unless: &'static [&'static str], lacking: &'static str) -> Status {
    Status::NotBuilt { lacking, unless }
}

/// Rows of the table:
/// `name (also other names), property, kind, default, unit, meaning => status;`
macro_rules! keys {
    ($group:ident: $(
        $name:literal $((also $($also:literal)+))?,
        $property:expr, $kind:ident, $default:literal, $unit:literal, $meaning:literal
        => $status:expr;
    )+) => {
        pub(super) const KEYS: &[super::Key] = &[$(super::Key {
            group: super::Group::$group,
            name: $name,
            also: &[$($($also),+)?],
            property: $property,
            kind: super::Kind::$kind,
            default: $default,
            unit: $unit,
            meaning: $meaning,
            status: $status,
        }),+];
    };
}
use keys;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_name_stands_twice_in_the_table() {
        let mut names = BTreeSet::new();
        for key in all() {
            for name in key.names() {
                assert!(names.insert(name), "{name} occurs twice");
            }
        }
        assert!(names.len() > 200, "the table has only {} names", names.len());
    }

    #[test]
    fn every_row_is_in_its_chapter_and_says_what_it_is() {
        for key in all() {
            assert!(key.meaning.ends_with('.'), "{}: {:?}", key.name, key.meaning);
            assert!(key.meaning.len() > 10, "{}", key.name);
            match key.status {
                Status::Built => {}
                Status::NoEffect(why) | Status::RefusedIfSet(why) => {
                    assert!(!why.is_empty() && !why.ends_with('.'), "{}: {why:?}", key.name);
                }
                Status::NotBuilt { lacking, .. } => {
                    assert!(!lacking.is_empty() && !lacking.ends_with('.'), "{}", key.name);
                }
                Status::BuiltForEnsemble { alone } => {
                    assert!(!alone.is_empty() && !alone.ends_with('.'), "{}", key.name);
                }
                Status::RefusedWithOthers { why, alone } => {
                    assert!(!why.is_empty() && !why.ends_with('.'), "{}", key.name);
                    assert!(!alone.is_empty() && !alone.ends_with('.'), "{}", key.name);
                }
            }
        }
    }

    #[test]
    fn families_catch_what_no_row_names() {
        assert_eq!(lookup("server.17").unwrap().name, "server.*");
        assert_eq!(lookup("authProvider.1").unwrap().name, "authProvider.*");
        assert_eq!(lookup("superUser.1").unwrap().name, "superUser");
        assert_eq!(lookup("metricsProvider.className").unwrap().name, "metricsProvider.className");
        assert_eq!(lookup("metricsProvider.custom").unwrap().name, "metricsProvider.*");
        assert!(lookup("clientport").is_none());
        assert!(lookup("servers").is_none());
    }

    #[test]
    fn definitions_are_told_apart() {
        for (name, expected) in [
            ("zookeeper.snapCount", Definition::Property { key: "snapCount" }),
            ("jute.maxbuffer", Definition::Property { key: "jute.maxbuffer" }),
            ("zookeeper.observer.syncEnabled", Definition::Property { key: "syncEnabled" }),
            ("zookeeper.jute.maxbuffer", Definition::PrefixedKey { key: "jute.maxbuffer" }),
            ("zookeeper.tickTime", Definition::PrefixedKey { key: "tickTime" }),
            ("tickTime", Definition::BareKey { key: "tickTime" }),
            ("snapCount", Definition::BareKey { key: "snapCount" }),
            ("zookeeper.authProvider.7", Definition::Property { key: "authProvider.7" }),
            ("java.net.preferIPv4Stack", Definition::JavaMachine),
            ("zookeeper.nosuch", Definition::Unknown),
            ("nosuch", Definition::Unknown),
        ] {
            assert_eq!(classify_definition(name), expected, "{name}");
        }
    }
}
