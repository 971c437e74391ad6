//! A complete server without one socket.
//!
//! [`Replica::step`] takes what happened (a request, a tick, a finished sync) and says what must happen next. It
//! reads no clock, opens no file, starts no thread and draws no random number: the `server` crate and the
//! simulator do that, and both run this same code. What replicas must agree on is decided here and in `tree`.
//!
//! Reads do not come here unless their session has a write in progress: the thread that owns the connection
//! answers them from [`Shared`] (see [`pipeline::read`]) when [`SessionOrder`] says so.

pub mod input;
pub mod limits;
pub mod output;
pub mod pipeline;
mod replica;
pub mod sessions;
pub mod settings;
pub mod shared;
pub mod status;

pub use input::{ConnectionId, Input, Now, PeerInput};
pub use output::{Delivery, Fact, Outlet, Outputs, PeerOutput};
pub use pipeline::order::{Route, SessionOrder};
pub use replica::{Replica, membership_of};
pub use settings::ReplicaSettings;
pub use shared::Shared;
