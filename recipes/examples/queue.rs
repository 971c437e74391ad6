//! Work that is done first in, first out, each piece by one worker.
//!
//! `cargo run -p ferrokeeper-recipes --example queue`
//!
//! A piece that is taken from a `Queue` is lost with a worker that dies over it; what is taken from a `LockingQueue` comes
//! back.

use std::process::ExitCode;

use ferrokeeper_recipes::{LockingQueue, Priority, Queue};
use tokio::task::JoinSet;

use crate::scenario::{Outcome, Place, ensure, play, soon};

#[path = "shared/scenario.rs"]
mod scenario;

const WORKERS: usize = 3;
const PIECES: u32 = 20;
const CLOSED: &[u8] = b"closed";

fn main() -> ExitCode {
    play("queue", story)
}

async fn story(place: Place) -> Outcome {
    each_once(&place).await?;
    nothing_lost(&place).await
}

async fn each_once(place: &Place) -> Outcome {
    println!("{WORKERS} workers share {PIECES} pieces of work");
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(place.clone()));
    }
    let client = place.client().await?;
    let queue = Queue::new(&client, "/work");
    for piece in 1..=PIECES {
        queue.put(piece.to_string().as_bytes()).await?;
    }
    for _ in 0..WORKERS {
        queue.put(CLOSED).await?;
    }
    let mut all = Vec::new();
    while let Some(done) = soon("a worker to end", workers.join_next()).await? {
        let done = done??;
        println!("  one has done {done:?}");
        ensure(done.is_sorted(), "what was put earlier must be taken earlier")?;
        all.extend(done);
    }
    all.sort_unstable();
    ensure(all == (1..=PIECES).collect::<Vec<_>>(), "each piece must be done once")
}

async fn work(place: Place) -> Outcome<Vec<u32>> {
    let client = place.client().await?;
    let queue = Queue::new(&client, "/work");
    let mut done = Vec::new();
    loop {
        let piece = soon("work", queue.take()).await??;
        if piece == CLOSED {
            return Ok(done);
        }
        done.push(String::from_utf8(piece)?.parse()?);
    }
}

async fn nothing_lost(place: &Place) -> Outcome {
    let (careless, careful) = (place.client().await?, place.client().await?);
    LockingQueue::new(&careful, "/letters").put(b"a letter", Priority::default()).await?;
    let taken = soon("the letter", LockingQueue::new(&careless, "/letters").take()).await??;
    println!("a worker takes {:?} and dies over it", String::from_utf8_lossy(taken.data()));
    careless.close().await?;
    let taken = soon("the letter again", LockingQueue::new(&careful, "/letters").take()).await??;
    ensure(taken.data() == b"a letter", "what comes back must be what was taken")?;
    taken.consume().await?;
    println!("  another worker has got it, and does it");
    let left = LockingQueue::new(&careful, "/letters").try_take().await?;
    ensure(left.is_none(), "what was consumed must not come back")
}
