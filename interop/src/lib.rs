//! Ferrokeeper as a black box, beside Java ZooKeeper and other people's clients.
//!
//! Everything here talks to running processes through their ports, their files and their signals; nothing here
//! knows what is inside. What is shared with the product is `protocol`, for the encoding, and in [`recipes::contender`]
//! the client and the recipes, which are under test there. Start with
//! [`server`] (starting a server of either kind), [`cluster`] (starting several as an ensemble), [`client`]
//! (talking to them) and [`toolbox`] (where other people's software lies).

pub mod client;
pub mod client_faults;
pub mod cluster;
pub mod deadline;
pub mod dump;
pub mod endpoint;
pub mod ensemble;
pub mod examples;
pub mod folders;
pub mod history;
pub mod kazoo;
pub mod kill9;
pub mod migration;
pub mod mixed;
pub mod namespaces;
pub mod observer_master;
pub mod ops;
pub mod own_client;
pub mod own_shell;
pub mod ports;
pub mod process;
pub mod recipes;
pub mod reconfig;
pub mod relay;
pub mod rng;
pub mod server;
pub mod setup;
pub mod shells;
pub mod shim;
pub mod smoke;
pub mod tally;
pub mod toolbox;
pub mod transcript;
pub mod workload;
