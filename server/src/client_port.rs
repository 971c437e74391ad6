//! The client port: connections, frames, four-letter words.

pub mod connection;
pub mod door;
pub mod four_letter;
pub mod io_thread;
pub mod limits;
pub mod link;
pub mod registry;
