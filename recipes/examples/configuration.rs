//! Configuration that many processes share: it is published once, and all of them have it a moment later.
//!
//! `cargo run -p ferrokeeper-recipes --example configuration`
//!
//! The configuration is the data of one node. Each process keeps a copy that follows it; who publishes names the version that
//! the change is based on, so that two who publish at once do not undo each other's work.

use std::collections::BTreeSet;
use std::process::ExitCode;

use ferrokeeper_client::{Create, Error, ErrorCode, Version};
use ferrokeeper_recipes::{Cache, CacheEvent, CacheScope};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::scenario::{Outcome, Place, ensure, play, soon};

#[path = "shared/scenario.rs"]
mod scenario;

const PATH: &str = "/database";
const PROCESSES: usize = 3;

fn main() -> ExitCode {
    play("configuration", story)
}

async fn story(place: Place) -> Outcome {
    let publisher = place.client().await?;
    publisher.create(Create::new(PATH, b"db1.example.com")).await?;
    let (reports, mut told) = mpsc::channel(16);
    let mut processes = JoinSet::new();
    for number in 1..=PROCESSES {
        processes.spawn(process(place.clone(), number, reports.clone()));
    }
    until_all_use(&mut told, "db1.example.com").await?;

    println!("the database moves");
    let (_, stat) = publisher.get(PATH).await?;
    publisher.set(PATH, b"db2.example.com", Version::Is(stat.version)).await?;
    until_all_use(&mut told, "db2.example.com").await?;

    println!("somebody publishes who has not heard of that");
    let late = place.client().await?;
    let refusal = late.set(PATH, b"db1.example.com:6432", Version::Is(stat.version)).await;
    ensure(
        refusal == Err(Error::Refused(ErrorCode::BadVersion)),
        format!("a change of an old version must be refused, but: {refusal:?}"),
    )?;
    println!("  and is refused: {}", ErrorCode::BadVersion);
    Ok(())
}

/// A process that uses the configuration.
async fn process(place: Place, number: usize, reports: mpsc::Sender<(usize, String)>) -> Outcome {
    let client = place.client().await?;
    let cache = Cache::start(&client, PATH, CacheScope::Node).await?;
    let mut events = cache.events();
    let mut used = Vec::new();
    loop {
        // Whatever the event was: what counts is what there is now.
        if let Some(node) = cache.get(PATH)
            && node.data != used
        {
            used.clone_from(&node.data);
            reports.send((number, String::from_utf8_lossy(&used).into_owned())).await?;
        }
        match events.next().await {
            Some(Ok(CacheEvent::Over(error))) => return Err(error.into()),
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

async fn until_all_use(told: &mut mpsc::Receiver<(usize, String)>, wanted: &str) -> Outcome {
    let mut using = BTreeSet::new();
    while using.len() < PROCESSES {
        let (number, used) = soon("a process to report", told.recv()).await?.ok_or("no process is left")?;
        println!("  process {number} uses {used}");
        if used == wanted {
            using.insert(number);
        }
    }
    Ok(())
}
