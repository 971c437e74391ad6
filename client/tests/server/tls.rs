//! Sessions that outlive connections, and sessions that end.
