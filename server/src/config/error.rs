//! What a configuration can be wrong about: errors that stop a start, warnings that do not.
//!
//! Every sentence names the place, the key and the value, says what is wrong and what to do.
//! Values of secret keys are never printed.

use super::file::PropertiesError;
use protocol::peer::membership::MembershipProblem;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, or of the dynamic file it names.
    File {
        /// The file as it was named.
        path: Arc<Path>,
        /// The line, counted from 1.
        line: usize,
    },
    /// A `-D` definition.
    Define,
    /// A command-line flag that overrides a key.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{} line {line}", path.display()),
            Origin::Define => f.write_str("command line -D"),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

/// Why a server does not start with its configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A configuration file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file as it was named.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A configuration file is longer than any configuration is.
    #[error(
        "{} is longer than {bytes_max} bytes, so it is no configuration; name the right file",
        path.display()
    )]
    TooLong {
        /// The file as it was named.
        path: PathBuf,
        /// The limit in bytes.
        bytes_max: u64,
    },
    /// A configuration file is not in the format of `java.util.Properties`.
    #[error("{} {source}; write a single backslash as \\\\", path.display())]
    Malformed {
        /// The file as it was named.
        path: PathBuf,
        /// The line and what is wrong with it.
        source: PropertiesError,
    },
    /// A key that has no default in a configuration file is not there.
    #[error("{}: {key} is not set; {remedy}", path.display())]
    Missing {
        /// The file as it was named.
        path: PathBuf,
        /// The missing key.
        key: &'static str,
        /// What to write.
        remedy: String,
    },
    /// The file that tells a member of an ensemble which one it is does not exist.
    #[error(
        "there is no file {}, so that this server does not know which member it is; write the N of its \
         server.N line into it, one of {members}",
        path.display()
    )]
    NoServerNumber {
        /// Where the file should be.
        path: PathBuf,
        /// The numbers of the members, with commas between.
        members: String,
    },
    /// The lines `server.N`, `group.G` and `weight.N` describe no ensemble.
    #[error("{origin}: {problem}")]
    Membership {
        /// Where the line to blame was written; of the last of them if none is to blame alone.
        origin: Origin,
        /// What is wrong and what to do.
        problem: MembershipProblem,
    },
    /// A value is malformed, out of range, or contradicts another.
    #[error("{0}")]
    BadValue(Box<Complaint>),
    /// A value asks for something that this release does not do, and to run without it would leave
    /// data or clients less safe than the configuration promises.
    #[error("{0}")]
    Refused(Box<Complaint>),
}

/// A key, its value and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Where the value was written.
    pub origin: Origin,
    /// The key as it was written.
    pub key: String,
    /// The value as it was written; dots for a secret.
    pub value: String,
    /// What is wrong, continuing the sentence that `key=value` begins.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Complaint { origin, key, value, problem, remedy } = self;
        write!(f, "{origin}: {key}={value} {problem}; {remedy}")
    }
}

/// Something worth knowing about a configuration that does not stop the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What sort of thing.
    pub kind: WarningKind,
    /// Where it was written.
    pub origin: Origin,
    /// The key as it was written.
    pub key: String,
    /// One sentence: what happens or does not happen, and what to do.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.key, self.message)
    }
}

/// The sorts of [`Warning`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WarningKind {
    /// Nobody knows this key. Java accepts such keys in silence.
    UnknownKey,
    /// Java knows the key; this release does nothing about it.
    NotBuilt,
    /// The value has no effect: it is overridden, or stands where Java does not look either.
    Ignored,
    /// Java ignores the key in this form; here it counts.
    JavaIgnores,
    /// The value was replaced by the nearest sensible one, as Java does.
    Adjusted,
    /// The value is probably not what was meant.
    Doubtful,
    /// The setting weakens a promise: durability, or access control.
    Unsafe,
}
