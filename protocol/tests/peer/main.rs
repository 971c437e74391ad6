//! What servers say to each other: captured bytes, texts, and bytes that nobody should send.

mod election;
mod hex;
mod hostile;
mod membership;
mod messages;
mod packets;
mod stream;
