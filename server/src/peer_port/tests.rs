//! Peer ports on the loopback interface, speaking to each other and to sockets that misbehave.

mod hostile;
mod links;
mod mesh;
mod node;
mod observers;
mod rebind;
mod recorder;
mod snapshots;
