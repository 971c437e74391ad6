//! What travels on the client port.

pub mod connect;
pub mod multi;
pub mod op_code;
pub mod request;
pub mod response;
pub mod watch;
