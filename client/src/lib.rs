//! A ZooKeeper client: for Ferrokeeper and for every other server that speaks ZooKeeper's protocol (3.5 and later).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ferrokeeper_client::{Client, Create, Version};
//!
//! let client = Client::connect("zk1:2181,zk2:2181,zk3:2181/app").await?;
//! client.create(Create::new("/config", b"v1")).await?;
//! let (data, stat, changed) = client.get_and_watch("/config").await?;
//! println!("{} bytes, version {}", data.len(), stat.version);
//! client.set("/config", b"v2", Version::Is(stat.version)).await?;
//! println!("{:?}", changed.await?);
//! client.create(Create::new("/workers/w-", b"").ephemeral().sequential()).await?;
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! **Order.** A request is sent when its method is called, not when its future is polled: of two calls, the first one
//! comes first, whichever is awaited first. Requests are pipelined; nobody waits for another one's answer.
//!
//! **Futures.** Every future here may be dropped at any time. A dropped [`Call`] does not take its request back: it
//! may be carried out, only its result is lost. Nothing else of the session is harmed.
//!
//! **Lost connections.** The client looks for another server and keeps its session; watches and credentials go along.
//! What was called before the loss fails with [`Error::ConnectionLost`], which says whether it may have happened: of a
//! pipeline, the beginning is applied or nothing, never a part with a gap. What is called after it waits for the next
//! server, for as long as the client allows one operation ([`ClientBuilder::operation_timeout`]).
//!
//! **Lost sessions.** Only a server can say that a session is over. Then every call and every watch says so, and
//! [`Client::states`] ends with [`State::Expired`]; only a new client helps.
//!
//! **Memory** is bounded by [`Limits`].
//!
//! Not there: Kerberos, and key stores other than PEM files.

mod call;
mod client;
pub mod connect_string;
mod connection;
mod create;
mod error;
mod hosts;
mod multi;
mod namespace;
mod operations;
mod rng;
pub mod session;
mod shared;
mod states;
mod stream;
#[cfg(feature = "tls")]
mod tls;
mod version;
mod watch;

pub use call::Call;
pub use client::{Client, ClientBuilder};
pub use connect_string::{ConnectString, ConnectStringError, Host};
pub use create::{Create, Created, Lifetime, Naming, TTL_MAX};
pub use error::{Advice, ConnectError, Error, Fate, InvalidRequest};
pub use multi::{Multi, MultiRead, Outcome, ReadOutcome};
pub use operations::Reconfig;
pub use session::{Heard, Limits, NodeEvent, State, Ticket, WatchKind, WatchScope};
pub use states::{Hearing, States};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
pub use version::Version;
pub use watch::{StreamEvent, WatchDepth, WatchEnd, WatchOnce, WatchStream};

pub use protocol::client::response::ClientInfo;
pub use protocol::client::watch::EventType;
pub use protocol::path::{PathError, child as child_path};
pub use protocol::{Acl, ErrorCode, Id, Perms, SessionId, Stat, Zxid};
