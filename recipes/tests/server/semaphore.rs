//! A number of holders at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrokeeper_client::{Client, Create, State, Version};
use ferrokeeper_recipes::{Lease, Lost, RecipeError, Semaphore};
use tokio::task::JoinHandle;

use crate::relay::{Door, Relay};
use crate::running::{SHORT_SESSIONS, soon, start_shared};
use crate::until_children;

const PATH: &str = "/licences";
const LOCKS: &str = "/licences/locks";
const LEASES: &str = "/licences/leases";

/// Waits in a task of its own until it has one of so many leases.
fn contend(client: &Client, leases: u32) -> JoinHandle<Result<Lease, RecipeError>> {
    let semaphore = Semaphore::new(client, PATH, leases);
    tokio::spawn(async move { semaphore.acquire().await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_contenders_never_more_hold_than_there_are_leases() {
    const LEASES_MAX: usize = 3;
    let server = start_shared(&[]);
    let held = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(server.client().await);
    }
    let mut contenders = Vec::new();
    for number in 0..50_usize {
        let semaphore = Semaphore::new(&clients[number % clients.len()], PATH, LEASES_MAX as u32);
        let held = Arc::clone(&held);
        contenders.push(tokio::spawn(async move {
            for round in 0..4 {
                // Some give up on the way, and some do not wait at all.
                let lease = match (number + round) % 5 {
                    0 => semaphore.acquire_within(Duration::from_millis(number as u64)).await.unwrap(),
                    1 => semaphore.try_acquire().await.unwrap(),
                    _ => Some(semaphore.acquire().await.unwrap()),
                };
                let Some(lease) = lease else { continue };
                let holders = held.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(holders <= LEASES_MAX, "{holders} hold a lease");
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                held.fetch_sub(1, Ordering::SeqCst);
                match round % 2 {
                    0 => lease.release().await.unwrap(),
                    _ => drop(lease),
                }
            }
        }));
    }
    for contender in contenders {
        soon(contender).await.unwrap();
    }
    let witness = server.client().await;
    until_children(&witness, LEASES, 0).await;
    until_children(&witness, LOCKS, 0).await;
}

#[tokio::test]
async fn all_leases_are_given_and_not_one_more() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let semaphore = Semaphore::new(&client, PATH, 2);
    let first = semaphore.acquire().await.unwrap();
    let second = semaphore.try_acquire().await.unwrap().unwrap();
    assert!(semaphore.try_acquire().await.unwrap().is_none());
    assert_eq!(client.children(LEASES).await.unwrap().len(), 2, "who does not get one leaves no node");
    assert!(soon(semaphore.acquire_within(Duration::from_millis(50))).await.unwrap().is_none());
    until_children(&client, LEASES, 2).await;
    until_children(&client, LOCKS, 0).await;
    drop(first);
    assert!(soon(semaphore.acquire_within(Duration::from_secs(20))).await.unwrap().is_some());
    second.release().await.unwrap();
}

#[tokio::test]
async fn a_lease_that_comes_back_wakes_one_waiter_and_then_the_next_in_line() {
    const WAITERS: usize = 12;
    let server = start_shared(&[]);
    let witness = server.client().await;
    let holder = Semaphore::new(&witness, PATH, 1).acquire().await.unwrap();
    until_children(&witness, LOCKS, 0).await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let mut waiters = Vec::new();
    for number in 1..=WAITERS {
        waiters.push(contend(&client, 1));
        until_children(&witness, LOCKS, number).await;
    }
    until_children(&witness, LEASES, 2).await;
    holder.release().await.unwrap();
    for waiter in waiters {
        soon(waiter).await.unwrap().unwrap().release().await.unwrap();
    }
    // An answer comes behind all events that came before it.
    client.sync("/").await.unwrap();
    assert!(relay.events() <= 2 * WAITERS, "{} events for {WAITERS} waiters", relay.events());
}

#[tokio::test]
async fn a_dead_holder_frees_its_lease_and_knows_it() {
    let server = start_shared(SHORT_SESSIONS);
    let relay = Relay::before(&server).await;
    let builder = relay.builder().session_timeout(Duration::from_secs(2));
    let client = soon(builder.connect()).await.unwrap();
    let lease = Semaphore::new(&client, PATH, 2).acquire().await.unwrap();
    let other = server.client().await;
    let _kept = Semaphore::new(&other, PATH, 2).acquire().await.unwrap();
    let heir = contend(&other, 2);
    until_children(&other, LEASES, 3).await;
    relay.set(Door::Shut);
    assert!(soon(heir).await.unwrap().is_ok());
    assert!(matches!(soon(lease.lost()).await, Lost::Overdue | Lost::SessionOver));
    relay.set(Door::Open);
    soon(client.states().until(|state| state == State::Expired)).await.unwrap();
    assert_eq!(soon(lease.lost()).await, Lost::SessionOver);
}

#[tokio::test]
async fn waiters_that_are_dropped_leave_nothing_and_let_others_pass() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let holder = Semaphore::new(&client, PATH, 1).acquire().await.unwrap();
    until_children(&client, LOCKS, 0).await;
    let first = contend(&client, 1);
    until_children(&client, LEASES, 2).await;
    let second = contend(&client, 1);
    until_children(&client, LOCKS, 2).await;
    let heir = contend(&client, 1);
    until_children(&client, LOCKS, 3).await;
    second.abort();
    until_children(&client, LOCKS, 2).await;
    first.abort();
    until_children(&client, LOCKS, 1).await;
    until_children(&client, LEASES, 2).await;
    assert!(!heir.is_finished());
    holder.release().await.unwrap();
    drop(soon(heir).await.unwrap().unwrap());
    until_children(&client, LEASES, 0).await;
    until_children(&client, LOCKS, 0).await;
}

#[tokio::test]
async fn a_wait_outlives_its_connection() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let holder = Semaphore::new(&witness, PATH, 1).acquire().await.unwrap();
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let waiter = contend(&client, 1);
    until_children(&witness, LEASES, 2).await;
    let mut states = client.states();
    relay.set(Door::Shut);
    soon(states.until(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
    holder.release().await.unwrap();
    relay.set(Door::Open);
    assert!(soon(waiter).await.unwrap().is_ok());
}

#[tokio::test]
async fn curators_leases_and_its_line_are_respected_and_junk_is_not() {
    let server = start_shared(&[]);
    let client = server.client().await;
    for path in [PATH, LOCKS, LEASES] {
        client.create(Create::new(path, b"")).await.unwrap();
    }
    let foreign = |path: String| client.create(Create::new(path, b"").ephemeral().sequential());
    let place_in_line = foreign(format!("{LOCKS}/_c_ffff-lock-")).await.unwrap().path;
    let lease = foreign(format!("{LEASES}/_c_ffff-lease-")).await.unwrap().path;
    foreign(format!("{LEASES}/junk-")).await.unwrap();
    let waiter = contend(&client, 1);
    until_children(&client, LOCKS, 2).await;
    client.delete(&place_in_line, Version::Any).await.unwrap();
    until_children(&client, LEASES, 3).await;
    assert!(!waiter.is_finished());
    client.delete(&lease, Version::Any).await.unwrap();
    assert!(soon(waiter).await.unwrap().is_ok());
}

#[tokio::test]
async fn whose_lease_is_deleted_is_told_so() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let lease = Semaphore::new(&client, PATH, 1).acquire().await.unwrap();
    let waiter = contend(&client, 1);
    let names = until_children(&client, LEASES, 2).await;
    client.delete(&format!("{LEASES}/{}", names[1]), Version::Any).await.unwrap();
    assert_eq!(soon(waiter).await.unwrap().unwrap_err(), RecipeError::Evicted);
    client.delete(&lease.path(), Version::Any).await.unwrap();
    assert_eq!(soon(lease.lost()).await, Lost::NodeDeleted);
    assert_eq!(lease.release().await, Ok(()));
}
