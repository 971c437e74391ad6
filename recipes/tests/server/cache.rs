//! Copies that follow what they copy.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrokeeper_client::{Client, Create, Error, Limits, State, Version};
use ferrokeeper_recipes::{Cache, CacheEvent, CacheScope, CacheState, RecipeError};

use crate::relay::{Door, Relay};
use crate::running::{soon, start_shared};

/// Paths and data.
type Contents = BTreeMap<String, Vec<u8>>;

fn contents(cache: &Cache) -> Contents {
    cache.snapshot().into_iter().map(|(path, node)| (path, node.data.clone())).collect()
}

fn expected(nodes: &[(&str, &str)]) -> Contents {
    nodes.iter().map(|&(path, data)| (path.to_owned(), data.as_bytes().to_vec())).collect()
}

/// What there is at a path and below.
async fn truth(client: &Client, root: &str) -> Contents {
    client.sync(root).await.unwrap();
    let mut found = Contents::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let Ok((data, _)) = client.get(&path).await else { continue };
        let names = client.children(&path).await.unwrap();
        paths.extend(names.iter().map(|name| format!("{path}/{name}")));
        found.insert(path, data);
    }
    found
}

/// Waits until a cache holds this.
async fn until(cache: &Cache, wanted: &Contents) {
    let waiting = async {
        let mut events = cache.events();
        while contents(cache) != *wanted {
            // Lost ones, too, are a reason to look again.
            let _ = events.next().await.unwrap();
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), waiting).await.is_err() {
        panic!("{:?} is not {wanted:?}", contents(cache));
    }
}

async fn plant(client: &Client, paths: &[&str]) {
    for path in paths {
        client.create(Create::new(*path, b"0")).await.unwrap();
    }
}

#[tokio::test]
async fn a_tree_is_copied_and_followed_and_told_of() {
    let server = start_shared(&[]);
    let (client, other) = (server.client().await, server.client().await);
    plant(&other, &["/t", "/t/a", "/t/a/b", "/tt"]).await;
    let cache = Cache::start(&client, "/t", CacheScope::Tree).await.unwrap();
    assert_eq!(contents(&cache), expected(&[("/t", "0"), ("/t/a", "0"), ("/t/a/b", "0")]));
    let mut events = cache.clone().events();
    plant(&other, &["/t/a/c"]).await;
    other.set("/t/a/b", b"1", Version::Any).await.unwrap();
    until(&cache, &expected(&[("/t", "0"), ("/t/a", "0"), ("/t/a/b", "1"), ("/t/a/c", "0")])).await;
    assert_eq!(cache.children("/t"), ["a"]);
    assert_eq!(cache.children("/t/a"), ["b", "c"]);
    assert_eq!(cache.get("/t/a/b").unwrap().data, b"1");
    for path in ["/t/a/b", "/t/a/c", "/t/a"] {
        other.delete(path, Version::Any).await.unwrap();
    }
    until(&cache, &expected(&[("/t", "0")])).await;
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(match soon(events.next()).await.unwrap().unwrap() {
            CacheEvent::Created(path, node) => format!("{path} is {:?}", node.data),
            CacheEvent::Changed(path, node) => format!("{path} becomes {:?}", node.data),
            CacheEvent::Deleted(path, node) => format!("{path} was {:?}", node.data),
            event => panic!("{event:?}"),
        });
    }
    told.sort();
    let all =
        ["/t/a was [48]", "/t/a/b becomes [49]", "/t/a/b was [49]", "/t/a/c is [48]", "/t/a/c was [48]"];
    assert_eq!(told, all);
    assert_eq!(cache.state(), CacheState::Following);
}

#[tokio::test]
async fn each_scope_copies_what_it_says_also_of_what_is_not_there_yet() {
    let server = start_shared(&[]);
    let (client, other) = (server.client().await, server.client().await);
    let node = Cache::start(&client, "/t", CacheScope::Node).await.unwrap();
    let children = Cache::start(&client, "/t", CacheScope::Children).await.unwrap();
    let tree = Cache::start(&client, "/t", CacheScope::Tree).await.unwrap();
    assert_eq!(contents(&tree), Contents::new());
    plant(&other, &["/t", "/t/a", "/t/a/b"]).await;
    until(&tree, &expected(&[("/t", "0"), ("/t/a", "0"), ("/t/a/b", "0")])).await;
    until(&children, &expected(&[("/t/a", "0")])).await;
    until(&node, &expected(&[("/t", "0")])).await;
    for path in ["/t/a/b", "/t/a", "/t"] {
        other.delete(path, Version::Any).await.unwrap();
    }
    for cache in [node, children, tree] {
        until(&cache, &Contents::new()).await;
    }
    let everything = Cache::start(&client, "/", CacheScope::Tree).await.unwrap();
    plant(&other, &["/u"]).await;
    soon(async {
        while everything.get("/u").is_none() {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!(everything.children("/")[0], "u");
}

#[tokio::test]
async fn what_happened_without_a_connection_is_found_out() {
    let server = start_shared(&[]);
    let other = server.client().await;
    plant(&other, &["/t", "/t/a", "/t/b", "/t/c"]).await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let cache = Cache::start(&client, "/t", CacheScope::Tree).await.unwrap();
    let mut events = cache.events();
    let mut states = client.states();
    relay.set(Door::Shut);
    soon(states.until(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
    other.delete("/t/a", Version::Any).await.unwrap();
    other.set("/t/b", b"1", Version::Any).await.unwrap();
    plant(&other, &["/t/d"]).await;
    assert_eq!(cache.children("/t"), ["a", "b", "c"]);
    relay.set(Door::Open);
    until(&cache, &expected(&[("/t", "0"), ("/t/b", "1"), ("/t/c", "0"), ("/t/d", "0")])).await;
    let mut told = 0;
    while soon(events.next()).await.unwrap().unwrap() != CacheEvent::Resynced {
        told += 1;
    }
    assert_eq!(told, 3, "and nothing of what is as it was");
}

#[tokio::test]
async fn more_events_than_the_watch_holds_do_no_harm() {
    let server = start_shared(&[]);
    let other = server.client().await;
    plant(&other, &["/t"]).await;
    let limits = Limits { stream_events: 2, ..Limits::default() };
    let client = soon(server.builder().limits(limits).connect()).await.unwrap();
    let cache = Cache::start(&client, "/t", CacheScope::Tree).await.unwrap();
    let mut events = cache.events();
    let mut resynced = false;
    for round in 0..50 {
        let calls: Vec<_> =
            (0..40).map(|number| other.create(Create::new(format!("/t/{round}-{number}"), b""))).collect();
        for call in calls {
            soon(call).await.unwrap();
        }
        until(&cache, &truth(&other, "/t").await).await;
        while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
            resynced |= event == Ok(CacheEvent::Resynced);
        }
        if resynced {
            return;
        }
    }
    panic!("no watch ever held too much");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_changes_the_copy_is_as_the_tree() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    plant(&witness, &["/t"]).await;
    let relay = Relay::before(&server).await;
    let builder = relay.builder().pause_most(Duration::from_millis(10));
    let client = soon(builder.connect()).await.unwrap();
    let cache = Cache::start(&client, "/t", CacheScope::Tree).await.unwrap();
    for round in 0..6_u64 {
        let mut changers = Vec::new();
        for changer in 0..3_u64 {
            let client = server.client().await;
            changers.push(tokio::spawn(async move {
                let mut seed = round * 3 + changer + 1;
                for _ in 0..60 {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let (kind, one, other) = (seed >> 33 & 3, seed >> 40 & 3, seed >> 50 & 3);
                    let path = match seed >> 60 & 1 {
                        0 => format!("/t/{one}"),
                        _ => format!("/t/{one}/{other}"),
                    };
                    // Most of it can be done; what cannot is refused.
                    let _ = match kind {
                        0 => client.delete(&path, Version::Any).await,
                        1 => client.set(&path, &seed.to_be_bytes(), Version::Any).await.map(drop),
                        _ => client.create(Create::new(path, b"")).await.map(drop),
                    };
                }
            }));
        }
        if round % 2 == 1 {
            relay.cut(&client).await;
        }
        for changer in changers {
            soon(changer).await.unwrap();
        }
        until(&cache, &truth(&witness, "/t").await).await;
    }
}

#[tokio::test]
async fn a_slow_reader_loses_events_and_is_told_how_many() {
    let server = start_shared(&[]);
    let client = server.client().await;
    plant(&client, &["/t"]).await;
    let cache = Cache::start(&client, "/t", CacheScope::Children).await.unwrap();
    let mut events = cache.events();
    for round in 0..11 {
        let calls: Vec<_> =
            (0..100).map(|number| client.create(Create::new(format!("/t/{round}-{number}"), b""))).collect();
        for call in calls {
            soon(call).await.unwrap();
        }
    }
    soon(async {
        while cache.snapshot().len() < 1100 {
            tokio::task::yield_now().await
        }
    })
    .await;
    let lost = soon(events.next()).await.unwrap().unwrap_err().0;
    let mut read = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
        event.unwrap();
        read += 1;
    }
    assert!(lost + read >= 1100 && read <= 1024, "{lost} lost, {read} read");
}

#[tokio::test]
async fn too_many_nodes_end_it_rather_than_fill_the_memory() {
    let server = start_shared(&[]);
    let client = server.client().await;
    plant(&client, &["/t", "/t/a", "/t/b"]).await;
    let limited = |limit| Cache::start_with_limit(&client, "/t", CacheScope::Tree, limit);
    assert_eq!(limited(2).await.unwrap_err(), RecipeError::TooManyNodes(2));
    let cache = limited(3).await.unwrap();
    let mut events = cache.events();
    plant(&client, &["/t/c"]).await;
    let over = RecipeError::TooManyNodes(3);
    soon(async { while soon(events.next()).await.unwrap().unwrap() != CacheEvent::Over(over.clone()) {} })
        .await;
    let wanted = CacheState::Over(over);
    drop(soon(cache.watch().wait_for(|state| *state == wanted)).await.unwrap());
}

#[tokio::test]
async fn the_copy_outlives_its_session_and_says_so() {
    let server = start_shared(&[]);
    let client = server.client().await;
    plant(&client, &["/t"]).await;
    let cache = Cache::start(&client, "/t", CacheScope::Tree).await.unwrap();
    soon(client.close()).await.unwrap();
    let over = CacheState::Over(Error::Closed.into());
    drop(soon(cache.watch().wait_for(|state| *state == over)).await.unwrap());
    assert_eq!(contents(&cache), expected(&[("/t", "0")]));
}

#[tokio::test]
async fn with_the_last_handle_the_watch_goes() {
    let server = start_shared(&[]);
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    plant(&client, &["/t"]).await;
    let cache = Cache::start(&client, "/t", CacheScope::Tree).await.unwrap();
    let mut events = cache.events();
    drop(cache.clone());
    plant(&client, &["/t/a"]).await;
    until(&cache, &expected(&[("/t", "0"), ("/t/a", "0")])).await;
    drop(cache);
    soon(async { while events.next().await.is_some() {} }).await;
    client.sync("/t").await.unwrap();
    let before = relay.events();
    plant(&client, &["/t/b"]).await;
    client.sync("/t").await.unwrap();
    assert_eq!(relay.events(), before);
}
