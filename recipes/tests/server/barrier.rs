//! Waiting until somebody says so.

use std::time::Duration;

use ferrokeeper_client::{Create, Error, State, Version, WatchScope};
use ferrokeeper_recipes::Barrier;

use crate::relay::{Door, Relay};
use crate::running::{soon, start_shared};

const PATH: &str = "/gates/a";

#[tokio::test]
async fn who_waits_goes_on_when_the_barrier_is_removed_and_not_earlier() {
    let server = start_shared(&[]);
    let (client, other) = (server.client().await, server.client().await);
    let barrier = Barrier::new(&client, PATH);
    soon(barrier.wait()).await.unwrap();
    barrier.set().await.unwrap();
    barrier.set().await.unwrap();
    let waiter = Barrier::new(&other, PATH);
    assert_eq!(waiter.wait_within(Duration::from_millis(50)).await, Ok(false));
    let waiting = tokio::spawn(async move { waiter.wait().await });
    let watches = async || while !other.has_watches(PATH, WatchScope::Data).await.unwrap() {};
    soon(watches()).await;
    other.set(PATH, b"changed", Version::Any).await.unwrap();
    // A change is no removal: the wait goes on.
    soon(watches()).await;
    assert!(!waiting.is_finished());
    barrier.remove().await.unwrap();
    soon(waiting).await.unwrap().unwrap();
    barrier.remove().await.unwrap();
    assert_eq!(barrier.wait_within(Duration::from_secs(20)).await, Ok(true));
}

#[tokio::test]
async fn a_node_that_anybody_made_is_a_barrier_and_outlives_its_maker() {
    let server = start_shared(&[]);
    let client = server.client().await;
    client.create(Create::new("/gates", b"")).await.unwrap();
    client.create(Create::new(PATH, b"10.0.0.1")).await.unwrap();
    assert_eq!(Barrier::new(&client, PATH).wait_within(Duration::from_millis(50)).await, Ok(false));
    let maker = server.client().await;
    Barrier::new(&maker, "/gates/b").set().await.unwrap();
    maker.close().await.unwrap();
    assert!(client.exists("/gates/b").await.unwrap().is_some());
}

#[tokio::test]
async fn lost_answers_and_connections_are_waited_out() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let barrier = Barrier::new(&client, PATH);
    barrier.set().await.unwrap();
    let waiting = tokio::spawn({
        let barrier = barrier.clone();
        async move { barrier.wait().await }
    });
    relay.set(Door::Mute);
    let removal = tokio::spawn(async move { barrier.remove().await });
    soon(Barrier::new(&witness, PATH).wait()).await.unwrap();
    assert!(!removal.is_finished());
    relay.cut(&client).await;
    soon(removal).await.unwrap().unwrap();
    soon(waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_wait_ends_with_its_session() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let barrier = Barrier::new(&client, PATH);
    barrier.set().await.unwrap();
    let waiting = tokio::spawn(async move { barrier.wait().await });
    let mut states = client.states();
    soon(client.close()).await.unwrap();
    soon(states.until(State::is_final)).await.unwrap();
    assert_eq!(soon(waiting).await.unwrap(), Err(Error::Closed));
}
