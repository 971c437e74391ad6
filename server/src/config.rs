//! The configuration of a server, alone or in an ensemble: ZooKeeper's `zoo.cfg` and system
//! properties in, one typed [`Settings`] out.
//!
//! ```text
//! file bytes ─ file ─► pairs ┐
//!                            ├─ source ─► one value a key ─ settings, validate ─► Settings
//! -D definitions, flags ─────┘     ▲             ▲
//!                                  └── keys ─────┘   names, kinds, defaults, what is built
//! ```
//!
//! Everything is read and checked before anything is started, and nothing here is global: what
//! Java keeps in system properties is passed down. What Java accepts and this release does not do
//! is said in a [`Warning`], or refused with a [`ConfigError`] where running without it would be
//! unsafe.

mod ensemble;
mod error;
mod file;
mod keys;
mod read;
mod settings;
mod source;
mod summary;
#[cfg(test)]
mod tests;
mod validate;
mod value;

pub use ensemble::EnsembleSettings;
pub use error::{Complaint, ConfigError, Origin, Warning, WarningKind};
pub use file::{PropertiesError, PropertiesProblem, Property as FileProperty, parse_properties};
pub use keys::{Group, Key, Kind, Property, Status, all as all_keys, lookup, render_markdown};
pub use settings::{
    ClientAddress, ClientPortSettings, DigestAuth, FourLetterWords, LargeRequests, LimitSettings, Retention,
    SessionSettings, Settings, SnapshotCompression, StorageSettings, SuperDigest, TreeSettings,
};
pub use source::{ConfigSource, DefinitionError, FILE_BYTES_MAX as CONFIG_FILE_BYTES_MAX, parse_definition};
pub use validate::{HostProblem, address_of_host};
