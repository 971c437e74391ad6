//! A lock for one, and a lock for one writer or many readers.
//!
//! `cargo run -p ferrokeeper-recipes --example locks`
//!
//! Those who wait stand in line, and each watches only the one in front of it: a release wakes one.

use std::process::ExitCode;

use ferrokeeper_client::{Create, Version, Zxid};
use ferrokeeper_recipes::{Barrier, DoubleBarrier, Mutex, ReadWriteLock};
use tokio::task::JoinSet;

use crate::scenario::{Outcome, Place, ensure, play, soon};

#[path = "shared/scenario.rs"]
mod scenario;

const WORKERS: usize = 4;
const ROUNDS: usize = 5;
const READERS: u32 = 3;
const TOTAL: &str = "/total";

fn main() -> ExitCode {
    play("locks", story)
}

async fn story(place: Place) -> Outcome {
    exclusive(&place).await?;
    shared(&place).await
}

/// Workers who read a number and write the next one: without the lock, they would overwrite each other's.
async fn exclusive(place: &Place) -> Outcome {
    println!("{WORKERS} workers add 1 to a number {ROUNDS} times each");
    let witness = place.client().await?;
    witness.create(Create::new(TOTAL, b"0")).await?;
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(add_up(place.clone()));
    }
    let mut holds = Vec::new();
    while let Some(held) = soon("a worker to end", workers.join_next()).await? {
        holds.extend(held??);
    }
    // In the order in which they had the lock.
    holds.sort_unstable();
    let written: Vec<usize> = holds.iter().map(|&(_, total)| total).collect();
    println!("  they have written {written:?}");
    ensure(
        written == (1..=WORKERS * ROUNDS).collect::<Vec<_>>(),
        "each must see what the one before has written, and have a higher token",
    )
}

/// Which token it held the lock with, and what it wrote then.
async fn add_up(place: Place) -> Outcome<Vec<(Zxid, usize)>> {
    let client = place.client().await?;
    let mutex = Mutex::new(&client, "/locks/total");
    let mut holds = Vec::new();
    for _ in 0..ROUNDS {
        let guard = soon("the lock", mutex.lock()).await??;
        // The lock says who may write; the sync, that what others wrote is seen, on whichever server.
        client.sync(TOTAL).await?;
        let total = 1 + String::from_utf8(client.get(TOTAL).await?.0)?.parse::<usize>()?;
        client.set(TOTAL, total.to_string().as_bytes(), Version::Any).await?;
        holds.push((guard.fencing_token(), total));
        guard.release().await?;
    }
    Ok(holds)
}

/// Readers hold the lock together, and a writer waits for all of them.
async fn shared(place: &Place) -> Outcome {
    let client = place.client().await?;
    let reading = Barrier::new(&client, "/reading");
    reading.set().await?;
    let mut readers = JoinSet::new();
    for number in 1..=READERS {
        readers.spawn(read(place.clone(), number));
    }
    // They meet while they hold the lock, and so they hold it together.
    let meeting = DoubleBarrier::new(&client, "/meeting", READERS + 1);
    let all_read = soon("the readers", meeting.enter()).await??;
    println!("{READERS} readers hold the lock");

    let lock = ReadWriteLock::new(&client, "/locks/book");
    let refused = soon("an answer to the writer", lock.try_write()).await??.is_none();
    ensure(refused, "nobody may write while others read")?;
    println!("  the writer has to wait; the readers are told to end");
    drop(all_read);
    reading.remove().await?;
    let guard = soon("the writer's turn", lock.write()).await??;
    println!("  the writer holds the lock");
    ensure(lock.try_read().await?.is_none(), "nobody may read while somebody writes")?;
    guard.release().await?;
    while let Some(ended) = readers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn read(place: Place, number: u32) -> Outcome {
    let client = place.client().await?;
    let guard = soon("the lock", ReadWriteLock::new(&client, "/locks/book").read()).await??;
    println!("  reader {number} reads");
    let _together =
        soon("the others", DoubleBarrier::new(&client, "/meeting", READERS + 1).enter()).await??;
    soon("the end of the reading", Barrier::new(&client, "/reading").wait()).await??;
    Ok(guard.release().await?)
}
