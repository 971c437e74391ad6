//! A whole server behind its port: real sockets, real files, bytes by hand.

mod frames;
mod hostile;
mod order;
mod wire;
