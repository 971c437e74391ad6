//! ZooKeeper's encoding ("jute binary"): big-endian numbers, length-prefixed strings and buffers, records as
//! their fields one after the other.

mod reader;
mod writer;

pub use reader::{DecodeError, Reader};
pub use writer::{FrameStart, JuteWrite};
