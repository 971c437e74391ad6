//! Names and numbers that are given once, whoever asks.
//!
//! `cargo run -p ferrokeeper-recipes --example naming`
//!
//! A sequential node gets a number from the server: no two are the same, later ones are higher, and one request does it; but
//! a number is lost when its answer is. A counter has no gaps, and costs several requests when many ask at once.

use std::collections::BTreeSet;
use std::process::ExitCode;

use ferrokeeper_client::{Create, Version};
use ferrokeeper_recipes::{Counter, CounterEncoding};
use tokio::task::JoinSet;

use crate::scenario::{Outcome, Place, ensure, play, soon};

#[path = "shared/scenario.rs"]
mod scenario;

const WORKERS: i64 = 4;
const EACH: i64 = 10;

fn main() -> ExitCode {
    play("naming", story)
}

async fn story(place: Place) -> Outcome {
    place.client().await?.create(Create::new("/jobs", b"")).await?;
    println!("{WORKERS} workers name {EACH} jobs each");
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(name_jobs(place.clone()));
    }
    let mut all = BTreeSet::new();
    while let Some(names) = soon("a worker to end", workers.join_next()).await? {
        let names = names??;
        println!("  one has named {} to {}", names[0], names[names.len() - 1]);
        ensure(names.is_sorted(), "later names must be higher")?;
        for name in names {
            ensure(all.insert(name.clone()), format!("{name} was given twice"))?;
        }
    }
    ensure(all.len() as i64 == WORKERS * EACH, "each job must have a name of its own")?;

    println!("and now they number {EACH} invoices each");
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(number_invoices(place.clone()));
    }
    let mut numbers = Vec::new();
    while let Some(more) = soon("a worker to end", workers.join_next()).await? {
        numbers.extend(more??);
    }
    numbers.sort_unstable();
    println!("  {} to {}", numbers[0], numbers[numbers.len() - 1]);
    ensure(numbers == (1..=WORKERS * EACH).collect::<Vec<_>>(), "a number is missing, or was given twice")
}

async fn name_jobs(place: Place) -> Outcome<Vec<String>> {
    let client = place.client().await?;
    let mut names = Vec::new();
    for _ in 0..EACH {
        let path = client.create(Create::new("/jobs/job-", b"").sequential()).await?.path;
        // The node is not needed any more: numbers do not come back.
        client.delete(&path, Version::Any).await?;
        names.push(path);
    }
    Ok(names)
}

async fn number_invoices(place: Place) -> Outcome<Vec<i64>> {
    let client = place.client().await?;
    let counter = Counter::new(&client, "/invoices", CounterEncoding::BigEndian64);
    let mut numbers = Vec::new();
    for _ in 0..EACH {
        numbers.push(counter.add(1).await?);
    }
    Ok(numbers)
}
