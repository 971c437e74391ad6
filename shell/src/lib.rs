//! `ferrokeeper shell`: ZooKeeper's command line, zkCli, on top of [`ferrokeeper_client`].
//!
//! Commands, options, results, complaints and exit codes are those of zkCli 3.9, so that scripts work unchanged; the
//! suite `shell` of `interop` runs the same scripts through both. Results go to standard output, complaints to standard
//! error, and so do a few results that zkCli takes for complaints (`Created /a`).
//!
//! ```text
//! terminal, lines ──► shell ──► nodes, permissions, quotas, watching, ensemble ──► client
//!                      │ line, options, catalogue: what was typed        │
//!                      └───────── render, failure: what is said ◄────────┘ session: events
//! ```
//!
//! Beyond zkCli, every command answers in JSON if it is asked to (`output`, `json`), and there are commands of our own
//! (`own_commands`): they search, copy, export and import subtrees, watch, and look at the ensemble.
//!
//! What is decided on text alone (splitting a line, reading options, printing a stat) is pure and has tests of its own.

mod acl_text;
mod catalogue;
mod context;
mod copying;
mod dump;
mod dumping;
mod ensemble;
pub mod failure;
mod glob;
mod history;
mod invocation;
mod json;
mod line;
mod nodes;
mod options;
mod output;
mod own_commands;
mod permissions;
mod planting;
mod quota_text;
mod quotas;
mod render;
mod run;
mod screen;
mod search;
mod session;
mod shell;
mod terminal;
mod top;
mod transaction;
mod walk;
mod watching;

pub use invocation::Invocation;
pub use output::Form;
pub use run::run;
pub use screen::Screen;
pub use shell::{Next, Shell};
