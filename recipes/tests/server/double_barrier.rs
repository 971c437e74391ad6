//! Beginning together and ending together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrokeeper_client::{Client, Create, Error, Multi, State, Version};
use ferrokeeper_recipes::{DoubleBarrier, Inside, Lost, RecipeError};
use tokio::task::JoinHandle;

use crate::relay::{Door, Relay};
use crate::running::{SHORT_SESSIONS, soon, start_shared};
use crate::until_children;

const PATH: &str = "/rounds/a";
const READY: &str = "/rounds/a/ready";

fn come(client: &Client, members: u32) -> JoinHandle<Result<Inside, RecipeError>> {
    let barrier = DoubleBarrier::new(client, PATH, members);
    tokio::spawn(async move { barrier.enter().await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_after_round_all_begin_together_and_end_together() {
    const MEMBERS: usize = 6;
    let server = start_shared(&[]);
    let came = Arc::new(AtomicUsize::new(0));
    let left = Arc::new(AtomicUsize::new(0));
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        let barrier = DoubleBarrier::new(&server.client().await, PATH, MEMBERS as u32);
        let (came, left) = (Arc::clone(&came), Arc::clone(&left));
        members.push(tokio::spawn(async move {
            for round in 1..=5 {
                came.fetch_add(1, Ordering::SeqCst);
                let inside = barrier.enter().await.unwrap();
                assert!(came.load(Ordering::SeqCst) >= round * MEMBERS, "all have come");
                left.fetch_add(1, Ordering::SeqCst);
                inside.leave().await.unwrap();
                assert!(left.load(Ordering::SeqCst) >= round * MEMBERS, "all have begun to leave");
            }
        }));
    }
    for member in members {
        soon(member).await.unwrap();
    }
    until_children(&server.client().await, PATH, 0).await;
}

#[tokio::test]
async fn the_last_to_come_wakes_each_other_one_once() {
    const WAITERS: usize = 8;
    let server = start_shared(&[]);
    let witness = server.client().await;
    let barrier = DoubleBarrier::new(&witness, PATH, WAITERS as u32 + 1);
    assert!(soon(barrier.enter_within(Duration::from_millis(50))).await.unwrap().is_none());
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let mut waiters = Vec::new();
    for number in 1..=WAITERS {
        waiters.push(come(&client, WAITERS as u32 + 1));
        until_children(&witness, PATH, number).await;
    }
    let last = soon(barrier.enter()).await.unwrap();
    let mut inside = Vec::new();
    for waiter in waiters {
        inside.push(soon(waiter).await.unwrap().unwrap());
    }
    client.sync("/").await.unwrap();
    // All of them share a session, and with it a watch.
    assert!(relay.events() <= WAITERS, "{} events", relay.events());
    assert!(!soon(last.leave_within(Duration::from_millis(50))).await.unwrap());
    until_children(&witness, PATH, WAITERS + 1).await;
}

#[tokio::test]
async fn the_last_to_leave_closes_the_door() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let inside = soon(come(&client, 1)).await.unwrap().unwrap();
    assert!(client.exists(READY).await.unwrap().is_some());
    assert_eq!(soon(inside.leave()).await, Ok(()));
    assert_eq!(client.children(PATH).await, Ok(vec![]));
}

#[tokio::test]
async fn who_gives_up_is_not_counted() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let first = come(&client, 2);
    until_children(&client, PATH, 1).await;
    first.abort();
    until_children(&client, PATH, 0).await;
    let second = come(&client, 2);
    until_children(&client, PATH, 1).await;
    assert_eq!(client.exists(READY).await, Ok(None));
    let third = soon(come(&client, 2)).await.unwrap().unwrap();
    let second = soon(second).await.unwrap().unwrap();
    let (one, other) = soon(async { tokio::join!(second.leave(), third.leave()) }).await;
    assert_eq!((one, other), (Ok(()), Ok(())));
    until_children(&client, PATH, 0).await;
}

#[tokio::test]
async fn a_member_that_dies_inside_holds_nobody_up() {
    let server = start_shared(SHORT_SESSIONS);
    let relay = Relay::before(&server).await;
    let builder = relay.builder().session_timeout(Duration::from_secs(2));
    let mortal = soon(builder.connect()).await.unwrap();
    let client = server.client().await;
    let (one, other, third) = (come(&client, 3), come(&client, 3), come(&mortal, 3));
    let one = soon(one).await.unwrap().unwrap();
    let other = soon(other).await.unwrap().unwrap();
    let dead = soon(third).await.unwrap().unwrap();
    relay.set(Door::Shut);
    let (one, other) = soon(async { tokio::join!(one.leave(), other.leave()) }).await;
    assert_eq!((one, other), (Ok(()), Ok(())));
    assert!(matches!(soon(dead.lost()).await, Lost::Overdue | Lost::SessionOver));
    relay.set(Door::Open);
    soon(mortal.states().until(|state| state == State::Expired)).await.unwrap();
    assert_eq!(soon(dead.leave()).await, Err(Error::SessionExpired));
    until_children(&client, PATH, 0).await;
}

#[tokio::test]
async fn an_open_door_that_everybody_died_behind_is_closed() {
    let server = start_shared(&[]);
    let mortal = server.client().await;
    let client = server.client().await;
    let (one, other) = (come(&mortal, 2), come(&mortal, 2));
    let _inside = (soon(one).await.unwrap().unwrap(), soon(other).await.unwrap().unwrap());
    soon(mortal.close()).await.unwrap();
    assert_eq!(client.children(PATH).await, Ok(vec!["ready".to_owned()]));
    let first = come(&client, 2);
    soon(async { while client.exists(READY).await.unwrap().is_some() {} }).await;
    until_children(&client, PATH, 1).await;
    assert!(!first.is_finished());
    assert!(soon(come(&client, 2)).await.unwrap().is_ok());
    assert!(soon(first).await.unwrap().is_ok());
}

/// A door that everybody has died behind.
async fn left_open(client: &Client) {
    for path in ["/rounds", PATH, READY] {
        client.create(Create::new(path, b"")).await.unwrap();
    }
}

/// A node as members of ours create it.
async fn stand(client: &Client) -> String {
    let node = Create::new(format!("{PATH}/_c_ffff-member-"), b"").ephemeral().sequential();
    client.create(node).await.unwrap().path
}

#[tokio::test]
async fn of_two_who_come_at_once_to_an_open_door_that_nobody_is_behind_none_walks_in() {
    let server = start_shared(&[]);
    let client = server.client().await;
    left_open(&client).await;
    let _other = stand(&client).await;
    let first = come(&client, 3);
    soon(async { while client.exists(READY).await.unwrap().is_some() {} }).await;
    until_children(&client, PATH, 2).await;
    assert!(!first.is_finished());
    assert!(soon(come(&client, 3)).await.unwrap().is_ok());
    assert!(soon(first).await.unwrap().is_ok());
}

#[tokio::test]
async fn who_comes_late_goes_in_behind_somebody_who_came_late() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let mut inside = Vec::new();
    for waiter in [come(&client, 2), come(&client, 2)] {
        inside.push(soon(waiter).await.unwrap().unwrap());
    }
    let (_, door) = client.get(READY).await.unwrap();
    let late = soon(come(&client, 2)).await.unwrap().unwrap();
    let (_, stat) = client.get(&late.path()).await.unwrap();
    assert_eq!(stat.version, 1, "it is marked");
    drop(inside);
    until_children(&client, PATH, 2).await;
    // Two of four, and one is inside.
    let later = soon(come(&client, 4)).await.unwrap().unwrap();
    assert_eq!(client.get(READY).await.unwrap().1.czxid, door.czxid);
    let (one, other) = soon(async { tokio::join!(late.leave(), later.leave()) }).await;
    assert_eq!((one, other), (Ok(()), Ok(())));
    until_children(&client, PATH, 0).await;
}

#[tokio::test]
async fn a_door_that_was_open_for_a_moment_was_open() {
    let server = start_shared(&[]);
    let client = server.client().await;
    client.create(Create::new("/rounds", b"")).await.unwrap();
    client.create(Create::new(PATH, b"")).await.unwrap();
    let waiter = come(&client, 9);
    until_children(&client, PATH, 1).await;
    // As kazoo's members do, of whom some leave while others still come.
    let opening = || Multi::new().create(Create::new(READY, b"")).delete(READY, Version::Any);
    soon(async {
        while !waiter.is_finished() {
            client.multi(opening()).await.unwrap();
        }
    })
    .await;
    assert!(waiter.await.unwrap().is_ok());
}

#[tokio::test]
async fn members_of_curators_and_kazoos_are_counted_and_waited_for() {
    let server = start_shared(&[]);
    let client = server.client().await;
    client.create(Create::new("/rounds", b"")).await.unwrap();
    client.create(Create::new(PATH, b"")).await.unwrap();
    let foreign = ["6f1c1d0e-3b5e-4f4e-8f2b-0d8f7a0c9a11", "ffffc9a2b7d94b7db6a3a1f1a3b0d6d5"];
    for name in foreign {
        client.create(Create::new(format!("{PATH}/{name}"), b"").ephemeral()).await.unwrap();
    }
    let inside = soon(come(&client, 3)).await.unwrap().unwrap();
    assert!(client.exists(READY).await.unwrap().is_some());
    let leaving = tokio::spawn(inside.leave());
    client.delete(&format!("{PATH}/{}", foreign[1]), Version::Any).await.unwrap();
    until_children(&client, PATH, 2).await;
    assert!(!leaving.is_finished());
    client.delete(&format!("{PATH}/{}", foreign[0]), Version::Any).await.unwrap();
    soon(leaving).await.unwrap().unwrap();
    until_children(&client, PATH, 0).await;
}
