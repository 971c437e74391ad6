//! Bugs that can be planted between the product's client and the network, to prove that the checkers find them.

/// A way in which the client would misbehave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Bug {
    /// A new connection is not told of the watches.
    WatchesForgotten,
    /// Watches are set again relative to the last event, although of its transaction only the first may have come.
    WatchesSinceLastEvent,
    /// The handshake does not say what was seen.
    ZxidForgotten,
    /// Every result is given to the next caller.
    ResultsSwapped,
    /// The last write of a connection is sent again on the next one.
    WriteRepeated,
    /// When a connection is lost, nothing of what was sent on it is said to have left.
    SentCalledUnsent,
    /// An event is dropped on its way to the client.
    EventDropped,
}
