//! What a session is told once and for all.

use super::output::Ticket;
use super::sasl::SaslLogin;

/// Walls of a client. The numbers in front bound its memory; [`Limits::default`] has those in brackets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Requests sent and not yet answered \[1,000: what servers take before they stop reading\]. Further ones wait
    /// in line.
    pub in_flight_requests: usize,
    /// Bytes of such requests \[4 MiB\]. A request is sent while there are fewer, so that one request may pass the
    /// limit.
    pub in_flight_bytes: usize,
    /// Requests that wait in line \[65,536\]. Further ones are refused with
    /// [`Error::LineFull`](crate::Error::LineFull).
    pub waiting_requests: usize,
    /// Bytes of such requests \[64 MiB\], likewise.
    pub waiting_bytes: usize,
    /// Length of one request in bytes \[1,048,575: `jute.maxbuffer` of servers\]. Longer ones are refused with
    /// [`InvalidRequest::TooLarge`](crate::InvalidRequest::TooLarge), because a server would drop the connection.
    pub request_bytes: usize,
    /// Length of one reply in bytes \[16 MiB\]. A longer one ends the connection, like any other nonsense.
    pub reply_bytes: usize,
    /// Events that a watch stream holds for a slow reader \[1,024\]. One more ends the stream with
    /// [`WatchEnd::Overflow`](crate::WatchEnd::Overflow).
    pub stream_events: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            in_flight_requests: 1_000,
            in_flight_bytes: 4 << 20,
            waiting_requests: 65_536,
            waiting_bytes: 64 << 20,
            request_bytes: 0xf_ffff,
            reply_bytes: 16 << 20,
            stream_events: 1_024,
        }
    }
}

/// What a session is told once and for all.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// The session timeout that is asked for, in milliseconds. The server has the last word.
    pub timeout_ms: u32,
    /// Whether a server without a quorum will do.
    pub read_only: bool,
    /// The longest pause between two rounds through the servers, in milliseconds.
    pub pause_most_ms: u64,
    /// Who the client is, if it says so by SASL on every connection before anything else.
    pub sasl: Option<SaslLogin>,
    /// A session to be taken up, rather than a new one.
    pub resume: Option<Ticket>,
    /// The walls.
    pub limits: Limits,
    /// For pauses and the order of the servers.
    pub seed: u64,
}
