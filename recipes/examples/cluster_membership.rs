//! Which machines are there, and how they are.
//!
//! `cargo run -p ferrokeeper-recipes --example cluster_membership`
//!
//! Each machine keeps an ephemeral node with its load: the node goes with the machine's session, and comes back when somebody
//! deletes it by mistake. The monitor follows the nodes; it asks nobody.

use std::collections::BTreeMap;
use std::process::ExitCode;

use ferrokeeper_client::Version;
use ferrokeeper_recipes::{Cache, CacheEvent, CacheScope, Group};

use crate::scenario::{Outcome, Place, play, soon};

#[path = "shared/scenario.rs"]
mod scenario;

const PATH: &str = "/machines";

fn main() -> ExitCode {
    play("cluster_membership", story)
}

async fn story(place: Place) -> Outcome {
    let monitor = place.client().await?;
    let machines = Cache::start(&monitor, PATH, CacheScope::Children).await?;
    let mut sessions = Vec::new();
    let mut members = Vec::new();
    for name in ["alpha", "beta", "gamma"] {
        let session = place.client().await?;
        members.push(Group::new(&session, PATH).join(name, b"idle").await?);
        sessions.push(session);
    }
    until(&machines, &[("alpha", "idle"), ("beta", "idle"), ("gamma", "idle")]).await?;

    println!("beta has work to do");
    members[1].set_data(b"busy");
    until(&machines, &[("alpha", "idle"), ("beta", "busy"), ("gamma", "idle")]).await?;

    println!("somebody deletes alpha's node; alpha lives, and so it is there again");
    let path = format!("{PATH}/alpha");
    let before = machines.get(&path).ok_or("alpha must be known")?.stat.czxid;
    monitor.delete(&path, Version::Any).await?;
    let is_back = || machines.get(&path).is_some_and(|node| node.stat.czxid > before);
    until_that(&machines, "alpha to be back", is_back).await?;

    println!("gamma's session ends");
    sessions.remove(2).close().await?;
    until(&machines, &[("alpha", "idle"), ("beta", "busy")]).await
}

/// Waits until the monitor sees exactly these machines.
async fn until(machines: &Cache, wanted: &[(&str, &str)]) -> Outcome {
    let wanted: BTreeMap<String, &[u8]> =
        wanted.iter().map(|(name, load)| (format!("{PATH}/{name}"), load.as_bytes())).collect();
    let is_so = || {
        let seen = machines.snapshot();
        let seen: BTreeMap<&str, &[u8]> =
            seen.iter().map(|(path, node)| (path.as_str(), node.data.as_slice())).collect();
        seen.into_iter().eq(wanted.iter().map(|(path, load)| (path.as_str(), *load)))
    };
    until_that(machines, "the monitor to see the machines as they are", is_so).await?;
    println!("  the monitor sees {}", wanted.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
    Ok(())
}

async fn until_that(machines: &Cache, what: &str, is_so: impl Fn() -> bool) -> Outcome {
    let mut events = machines.events();
    soon(what, async {
        while !is_so() {
            match events.next().await {
                Some(Ok(CacheEvent::Over(error))) => return Err(error.into()),
                Some(_) => {}
                None => return Err("the monitor has stopped".into()),
            }
        }
        Ok(())
    })
    .await?
}
