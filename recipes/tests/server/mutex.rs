//! One holder at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use ferrokeeper_client::{Client, Create, Error, State, Version};
use ferrokeeper_recipes::{LockGuard, Lost, Mutex, RecipeError};

use crate::relay::{Door, Relay};
use crate::running::{SHORT_SESSIONS, soon, start_shared};
use crate::until_children;

const PATH: &str = "/locks/m";

/// Waits in a task of its own until it holds the lock.
fn contend(client: &Client) -> tokio::task::JoinHandle<Result<LockGuard, RecipeError>> {
    let mutex = Mutex::new(client, PATH);
    tokio::spawn(async move { mutex.lock().await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_contenders_never_two_hold_and_tokens_only_grow() {
    let server = start_shared(&[]);
    let held = Arc::new(AtomicBool::new(false));
    let last = Arc::new(AtomicI64::new(0));
    let mut contenders = Vec::new();
    for number in 0..20_u64 {
        let mutex = Mutex::new(&server.client().await, PATH);
        let (held, last) = (Arc::clone(&held), Arc::clone(&last));
        contenders.push(tokio::spawn(async move {
            for round in 0..10 {
                // Some give up on the way, and some do not wait at all.
                let guard = match (number + round) % 5 {
                    0 => mutex.lock_within(Duration::from_millis(number)).await.unwrap(),
                    1 => mutex.try_lock().await.unwrap(),
                    _ => Some(mutex.lock().await.unwrap()),
                };
                let Some(guard) = guard else { continue };
                assert!(!held.swap(true, Ordering::SeqCst), "two hold the lock");
                let token = guard.fencing_token().to_wire();
                tokio::task::yield_now().await;
                assert!(last.swap(token, Ordering::SeqCst) < token, "tokens grow");
                assert!(held.swap(false, Ordering::SeqCst));
                match round % 2 {
                    0 => guard.release().await.unwrap(),
                    _ => drop(guard),
                }
            }
        }));
    }
    for contender in contenders {
        soon(contender).await.unwrap();
    }
    until_children(&server.client().await, PATH, 0).await;
}

#[tokio::test]
async fn a_release_wakes_one_waiter() {
    const WAITERS: usize = 12;
    let server = start_shared(&[]);
    let witness = server.client().await;
    let holder = Mutex::new(&witness, PATH).lock().await.unwrap();
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let mut waiters = Vec::new();
    for number in 1..=WAITERS {
        waiters.push(contend(&client));
        until_children(&witness, PATH, 1 + number).await;
    }
    holder.release().await.unwrap();
    for waiter in waiters {
        let guard = soon(waiter).await.unwrap().unwrap();
        guard.release().await.unwrap();
    }
    // An answer comes behind all events that came before it.
    client.sync("/").await.unwrap();
    assert!(relay.events() <= WAITERS, "{} events for {WAITERS} waiters", relay.events());
}

#[tokio::test]
async fn a_dead_holder_frees_the_lock_and_knows_it() {
    let server = start_shared(SHORT_SESSIONS);
    let relay = Relay::before(&server).await;
    let builder = relay.builder().session_timeout(Duration::from_secs(2));
    let client = soon(builder.connect()).await.unwrap();
    let guard = Mutex::new(&client, PATH).lock().await.unwrap();
    let heir = contend(&server.client().await);
    relay.set(Door::Shut);
    let heirs = soon(heir).await.unwrap().unwrap();
    assert!(heirs.fencing_token() > guard.fencing_token());
    assert!(matches!(soon(guard.lost()).await, Lost::Overdue | Lost::SessionOver));
    relay.set(Door::Open);
    soon(client.states().until(|state| state == State::Expired)).await.unwrap();
    assert_eq!(soon(guard.lost()).await, Lost::SessionOver);
    assert_eq!(soon(guard.release()).await, Err(Error::SessionExpired));
}

#[tokio::test]
async fn a_closed_client_frees_the_lock_and_fails_who_waits() {
    let server = start_shared(&[]);
    let (first, second) = (server.client().await, server.client().await);
    let witness = server.client().await;
    let guard = Mutex::new(&first, PATH).lock().await.unwrap();
    let heir = contend(&second);
    until_children(&witness, PATH, 2).await;
    let companion = contend(&first);
    until_children(&witness, PATH, 3).await;
    soon(first.close()).await.unwrap();
    assert_eq!(soon(guard.lost()).await, Lost::SessionOver);
    assert_eq!(soon(companion).await.unwrap().unwrap_err(), RecipeError::Client(Error::Closed));
    assert!(soon(heir).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_waiter_that_is_dropped_leaves_no_node_and_passes_its_place_on() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let holder = Mutex::new(&client, PATH).lock().await.unwrap();
    let dropped = contend(&client);
    until_children(&client, PATH, 2).await;
    let heir = contend(&client);
    let three = until_children(&client, PATH, 3).await;
    dropped.abort();
    let two = until_children(&client, PATH, 2).await;
    assert_eq!(two, [three[0].clone(), three[2].clone()]);
    // The heir has been woken by that; it must not take it for its turn.
    assert!(Mutex::new(&client, PATH).try_lock().await.unwrap().is_none());
    assert!(!heir.is_finished());
    holder.release().await.unwrap();
    assert_eq!(soon(heir).await.unwrap().unwrap().path(), format!("{PATH}/{}", three[2]));
}

#[tokio::test]
async fn who_does_not_get_it_in_time_leaves_no_node() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let mutex = Mutex::new(&client, PATH);
    let guard = mutex.try_lock().await.unwrap().unwrap();
    let witness = server.client().await;
    assert!(mutex.try_lock().await.unwrap().is_none());
    assert_eq!(witness.children(PATH).await.unwrap().len(), 1, "the node has gone when the answer is there");
    assert!(soon(mutex.lock_within(Duration::from_millis(50))).await.unwrap().is_none());
    until_children(&client, PATH, 1).await;
    drop(guard);
    assert!(soon(mutex.lock_within(Duration::from_secs(20))).await.unwrap().is_some());
}

#[tokio::test]
async fn kazoos_and_curators_contenders_are_waited_for_and_others_are_not() {
    let server = start_shared(&[]);
    let client = server.client().await;
    client.create(Create::new("/locks", b"")).await.unwrap();
    client.create(Create::new(PATH, b"")).await.unwrap();
    let mut foreign = Vec::new();
    for head in ["ffff__lock__", "_c_ffff-lock-", "junk-", "_c_ffff-latch-"] {
        let node = Create::new(format!("{PATH}/{head}"), b"").ephemeral().sequential();
        foreign.push(client.create(node).await.unwrap().path);
    }
    client.create(Create::new(format!("{PATH}/junk"), b"")).await.unwrap();
    let waiter = contend(&client);
    soon(async { while client.children(PATH).await.unwrap().len() < 6 {} }).await;
    for index in [1, 0] {
        assert!(Mutex::new(&client, PATH).try_lock().await.unwrap().is_none());
        assert!(!waiter.is_finished());
        client.delete(&foreign[index], Version::Any).await.unwrap();
    }
    assert!(soon(waiter).await.unwrap().is_ok());
}

#[tokio::test]
async fn whose_node_is_deleted_is_told_so() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let guard = Mutex::new(&client, PATH).lock().await.unwrap();
    let waiter = contend(&client);
    let names = until_children(&client, PATH, 2).await;
    client.delete(&format!("{PATH}/{}", names[1]), Version::Any).await.unwrap();
    client.delete(&guard.path(), Version::Any).await.unwrap();
    assert_eq!(soon(guard.lost()).await, Lost::NodeDeleted);
    assert_eq!(soon(waiter).await.unwrap().unwrap_err(), RecipeError::Evicted);
    assert_eq!(guard.release().await, Ok(()));
}

#[tokio::test]
async fn a_wait_outlives_its_connection() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let holder = Mutex::new(&witness, PATH).lock().await.unwrap();
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let waiter = contend(&client);
    until_children(&witness, PATH, 2).await;
    let mut states = client.states();
    relay.set(Door::Shut);
    soon(states.until(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
    holder.release().await.unwrap();
    relay.set(Door::Open);
    assert!(soon(waiter).await.unwrap().is_ok());
}
