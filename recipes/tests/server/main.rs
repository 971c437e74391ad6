//! Every recipe, against a real server behind its port.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod barrier;
mod cache;
mod counter;
mod delay_queue;
mod discovery;
mod double_barrier;
mod group;
mod ids;
mod leader_latch;
mod leader_selector;
mod locking_queue;
mod multi_lock;
mod mutex;
mod protected;
mod queue;
mod read_write_lock;
mod relay;
mod retry;
#[allow(dead_code, reason = "the client's tests need more of it")]
#[path = "../../../client/tests/server/running.rs"]
mod running;
mod semaphore;

use ferrokeeper_client::{Client, Error, ErrorCode};

use crate::running::soon;

/// Waits until a node has so many children, and names them in the order of their numbers. One that is not there has none.
async fn until_children(client: &Client, path: &str, count: usize) -> Vec<String> {
    soon(async {
        loop {
            let (mut names, changed) = match client.children_and_watch(path).await {
                Ok((names, _, changed)) => (names, changed),
                Err(Error::Refused(ErrorCode::NoNode)) => {
                    match client.exists_and_watch(path).await.unwrap() {
                        (None, created) => (Vec::new(), created),
                        (Some(_), _) => continue,
                    }
                }
                Err(error) => panic!("{error}"),
            };
            if names.len() == count {
                names.sort_by_key(|name| name[name.len().saturating_sub(10)..].to_owned());
                return names;
            }
            changed.await.unwrap();
        }
    })
    .await
}
