//! Sources of logs are shared out among collectors, and shared out anew when a collector comes or goes.
//!
//! `cargo run -p ferrokeeper-recipes --example log_collectors`
//!
//! Sources and collectors are nodes; collectors are ephemeral. One coordinator follows both and writes who collects what
//! into a single node, so that everybody sees it as a whole. It moves no more sources than it must. (To have another
//! coordinator at hand, let several stand for a `LeaderLatch`; see `master_election`.)

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use ferrokeeper_client::{Client, Create, Version};
use ferrokeeper_recipes::{Cache, CacheEvent, CacheScope, Group};

use crate::scenario::{Outcome, Place, ensure, play, soon};

#[path = "shared/scenario.rs"]
mod scenario;

const ASSIGNMENT: &str = "/assignment";
const COLLECTORS: &str = "/collectors";
const SOURCES: &str = "/sources";

/// The collector of each source.
type Assignment = BTreeMap<String, String>;

fn main() -> ExitCode {
    play("log_collectors", story)
}

async fn story(place: Place) -> Outcome {
    let witness = place.client().await?;
    witness.create(Create::new(ASSIGNMENT, b"")).await?;
    witness.create(Create::new(SOURCES, b"")).await?;
    for number in 1..=6 {
        witness.create(Create::new(format!("{SOURCES}/web-{number}"), b"")).await?;
    }
    let coordinator = place.client().await?;
    // It is dropped, and so ends, with this function.
    let coordinating = coordinate(&coordinator);
    tokio::select! {
        ended = coordinating => ended,
        seen = collectors_come_and_go(&place, &witness) => seen,
    }
}

async fn collectors_come_and_go(place: &Place, witness: &Client) -> Outcome {
    let (one, two) = (place.client().await?, place.client().await?);
    let _one = Group::new(&one, COLLECTORS).join("one", b"").await?;
    let _two = Group::new(&two, COLLECTORS).join("two", b"").await?;
    let first = until_shared(witness, &["one", "two"]).await?;

    println!("a third collector comes");
    let three = place.client().await?;
    let _three = Group::new(&three, COLLECTORS).join("three", b"").await?;
    let second = until_shared(witness, &["one", "three", "two"]).await?;
    ensure(moved(&first, &second) == 2, "two sources must move to the third, and the others stay")?;

    println!("the first collector's session ends");
    one.close().await?;
    let third = until_shared(witness, &["three", "two"]).await?;
    ensure(moved(&second, &third) == 2, "the first one's two sources must move, and the others stay")
}

/// What the coordinator does, as long as it lives.
async fn coordinate(client: &Client) -> Outcome {
    let sources = Cache::start(client, SOURCES, CacheScope::Children).await?;
    let collectors = Cache::start(client, COLLECTORS, CacheScope::Children).await?;
    let (mut of_sources, mut of_collectors) = (sources.events(), collectors.events());
    let mut assignment = read(&client.get(ASSIGNMENT).await?.0);
    loop {
        let next = balance(&assignment, &sources.children(SOURCES), &collectors.children(COLLECTORS));
        if next != assignment {
            let text: String =
                next.iter().map(|(source, collector)| format!("{source} {collector}\n")).collect();
            client.set(ASSIGNMENT, text.as_bytes(), Version::Any).await?;
            assignment = next;
        }
        let event = tokio::select! {
            event = of_sources.next() => event,
            event = of_collectors.next() => event,
        };
        match event {
            Some(Ok(CacheEvent::Over(error))) => return Err(error.into()),
            Some(_) => {}
            None => return Err("the coordinator follows nothing any more".into()),
        }
    }
}

/// Gives every collector as many sources as the others, or one more, and leaves sources where they are as far as it can.
fn balance(before: &Assignment, sources: &[String], collectors: &[String]) -> Assignment {
    let mut loads: BTreeMap<&str, usize> = collectors.iter().map(|name| (name.as_str(), 0)).collect();
    let Some(fair) = sources.len().checked_div(loads.len()) else { return Assignment::new() };
    let mut larger = sources.len() % loads.len();
    let mut after = Assignment::new();
    for source in sources {
        if let Some(collector) = before.get(source)
            && let Some(load) = loads.get_mut(collector.as_str())
            && (*load < fair || (*load == fair && larger > 0))
        {
            larger -= usize::from(*load == fair);
            *load += 1;
            after.insert(source.clone(), collector.clone());
        }
    }
    for source in sources {
        if !after.contains_key(source)
            && let Some((collector, load)) = loads.iter_mut().min_by_key(|(_, load)| **load)
        {
            *load += 1;
            after.insert(source.clone(), (*collector).to_owned());
        }
    }
    after
}

fn read(text: &[u8]) -> Assignment {
    let pair = |line: &str| line.split_once(' ').map(|(source, name)| (source.to_owned(), name.to_owned()));
    String::from_utf8_lossy(text).lines().filter_map(pair).collect()
}

fn moved(before: &Assignment, after: &Assignment) -> usize {
    before.iter().filter(|(source, collector)| after.get(*source) != Some(*collector)).count()
}

/// Waits until these collectors have all sources, and each as many as the others.
async fn until_shared(client: &Client, collectors: &[&str]) -> Outcome<Assignment> {
    soon("the sources to be shared out", async {
        loop {
            let (text, _, changed) = client.get_and_watch(ASSIGNMENT).await?;
            let assignment = read(&text);
            let busy: BTreeSet<&str> = assignment.values().map(String::as_str).collect();
            let load = |name: &str| assignment.values().filter(|collector| *collector == name).count();
            let loads: Vec<usize> = collectors.iter().map(|name| load(name)).collect();
            if busy.into_iter().eq(collectors.iter().copied())
                && assignment.len() == 6
                && loads.iter().all(|&load| load == 6 / collectors.len())
            {
                for (source, collector) in &assignment {
                    println!("  {source} is collected by {collector}");
                }
                return Ok(assignment);
            }
            changed.await?;
        }
    })
    .await?
}
