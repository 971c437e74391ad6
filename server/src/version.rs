//! The version that this server presents itself with.
//!
//! Tools look for `Zookeeper version: ` and read the digits up to the first `-` (kazoo, Kafka, exporters), so the
//! ZooKeeper release whose behaviour is ours comes first, and what is really running behind it.

/// The ZooKeeper release whose behaviour and formats are implemented.
pub const COMPATIBLE_WITH: &str = "3.9.5";

/// In the place of the digits, and of the revision that Java prints behind them.
pub const VERSION: &str = concat!("3.9.5-ferrokeeper-", env!("CARGO_PKG_VERSION"));

/// As `srvr`, `stat`, `envi` and `mntr` print it (`Version.getFullVersion`). The date is that of the release, not
/// of the build, in Java's form: builds of the same source are the same.
pub const FULL_VERSION: &str =
    concat!("3.9.5-ferrokeeper-", env!("CARGO_PKG_VERSION"), ", built on 2026-11-22 00:00 UTC");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_starts_with_the_release_that_clients_compare_with() {
        assert!(VERSION.starts_with(&format!("{COMPATIBLE_WITH}-ferrokeeper-")));
        assert!(FULL_VERSION.starts_with(&format!("{VERSION}, built on ")));
        // What kazoo's `([\d\.]*).*` takes.
        let digits: String = FULL_VERSION.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        assert_eq!(digits, COMPATIBLE_WITH);
    }
}
