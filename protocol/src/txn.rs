//! Transactions: what is logged, proposed and applied.

mod body;
mod digest;
mod header;
mod node_kind;

pub use body::{CreateTxn, SubTxn, TxnBody};
pub use digest::{DIGEST_VERSION, TxnDigest, node_digest, node_digest_prefix, node_digest_with_prefix};
pub use header::{Transaction, TxnHeader};
pub use node_kind::{NodeKind, TTL_MS_MAX};
