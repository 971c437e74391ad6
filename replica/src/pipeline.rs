//! The way of a request: ordered, prepared, agreed on, applied, answered.

pub(crate) mod apply;
pub mod order;
pub(crate) mod queue;
pub mod read;
pub(crate) mod reply;
