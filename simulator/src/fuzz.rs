//! Decoders against arbitrary bytes.
//!
//! Every target is one function that takes bytes and panics if something is wrong: the libFuzzer targets in
//! `fuzz/` at the root of the repository, the mutating [`driver`] here and the test that feeds the regression corpus
//! all call the same functions.
//!
//! What they demand of a decoder: no panic, no memory out of proportion to the input, and what was read can be
//! written and read again with the same result.

pub mod driver;
mod entries;
mod files;
mod mutate;
mod peers;
mod seeds;
mod session;

/// One decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also that of its folders in the corpus.
    pub name: &'static str,
    /// Feeds it one input; panics if it misbehaves.
    pub run: fn(&[u8]),
    /// Inputs that it accepts, to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every decoder, in the order in which `--target all` runs them.
pub const TARGETS: &[Target] = &[
    Target { name: "request", run: entries::request, seeds: seeds::requests },
    Target { name: "connect", run: entries::connect, seeds: seeds::handshakes },
    Target { name: "response", run: entries::response, seeds: seeds::responses },
    Target { name: "transaction", run: entries::transaction, seeds: seeds::transactions },
    Target { name: "multi", run: entries::multi, seeds: seeds::multis },
    Target { name: "acl", run: entries::acl, seeds: seeds::acls },
    Target { name: "path", run: entries::path, seeds: seeds::paths },
    Target { name: "config", run: entries::config, seeds: seeds::configs },
    Target { name: "replay", run: files::replay, seeds: files::replay_seeds },
    Target { name: "log_file", run: files::log_file, seeds: files::log_seeds },
    Target { name: "snapshot_file", run: files::snapshot_file, seeds: files::snapshot_seeds },
    Target { name: "peer_link", run: peers::link, seeds: peers::link_seeds },
    Target { name: "election", run: peers::election, seeds: peers::election_seeds },
    Target { name: "membership", run: peers::membership, seeds: peers::membership_seeds },
    Target { name: "session", run: session::session, seeds: session::session_seeds },
];

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Feeds one input to a target; what the libFuzzer targets call.
///
/// # Panics
/// If there is no such target, or if the target finds fault with what the decoder does.
pub fn run(name: &str, input: &[u8]) {
    let target = target(name).expect("the name is that of a target");
    (target.run)(input);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_accepts_its_own_seeds() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            for seed in seeds {
                (target.run)(&seed);
            }
        }
    }
}
