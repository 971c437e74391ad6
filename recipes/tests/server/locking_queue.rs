//! A queue whose entries come back until they are consumed.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrokeeper_client::{Client, Create, State, Version};
use ferrokeeper_recipes::{LockingQueue, Lost, Priority, RecipeError, Taken};
use tokio::task::JoinHandle;

use crate::relay::{Door, Op, Relay};
use crate::running::{SHORT_SESSIONS, soon, start_shared};
use crate::until_children;

const PATH: &str = "/jobs";
const ENTRIES: &str = "/jobs/entries";
const TAKEN: &str = "/jobs/taken";
const TAKERS: &str = "/jobs/takers";

async fn with(client: &Client, data: &[&str]) -> LockingQueue {
    let queue = LockingQueue::new(client, PATH);
    for data in data {
        queue.put(data.as_bytes(), Priority::default()).await.unwrap();
    }
    queue
}

fn take(client: &Client) -> JoinHandle<Result<Taken, RecipeError>> {
    let queue = LockingQueue::new(client, PATH);
    tokio::spawn(async move { queue.take().await })
}

#[tokio::test]
async fn an_entry_comes_back_until_it_is_consumed() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = with(&client, &["a", "b"]).await;
    queue.put(b"urgent", Priority::FIRST).await.unwrap();
    let urgent = queue.try_take().await.unwrap().unwrap();
    assert_eq!((urgent.data(), urgent.path()), (&b"urgent"[..], "/jobs/entries/entry-000-0000000002"));
    let a = queue.take().await.unwrap();
    assert_eq!(a.data(), b"a");
    let mut locks = client.children(TAKEN).await.unwrap();
    locks.sort();
    assert_eq!(locks, ["entry-000-0000000002", "entry-100-0000000000"], "kazoo's names");
    urgent.consume().await.unwrap();
    assert_eq!(client.children(TAKEN).await, Ok(vec!["entry-100-0000000000".to_owned()]));
    until_children(&client, ENTRIES, 2).await;
    let b = queue.take().await.unwrap();
    assert_eq!(b.data(), b"b");
    assert!(queue.try_take().await.unwrap().is_none(), "all are taken");
    a.release().await.unwrap();
    let a = queue.take().await.unwrap();
    assert_eq!(a.data(), b"a");
    drop((a, b));
    until_children(&client, TAKEN, 0).await;
    for data in ["a", "b"] {
        let taken = soon(queue.take()).await.unwrap();
        assert_eq!(taken.data(), data.as_bytes());
        taken.consume().await.unwrap();
    }
    until_children(&client, ENTRIES, 0).await;
    assert!(soon(queue.take_within(Duration::from_millis(50))).await.unwrap().is_none());
    until_children(&client, TAKERS, 0).await;
}

#[tokio::test]
async fn what_a_dead_consumer_had_goes_to_one_who_waits() {
    let server = start_shared(SHORT_SESSIONS);
    let relay = Relay::before(&server).await;
    let builder = relay.builder().session_timeout(Duration::from_secs(2));
    let mortal = soon(builder.connect()).await.unwrap();
    let client = server.client().await;
    with(&client, &["a"]).await;
    let lost = soon(take(&mortal)).await.unwrap().unwrap();
    let heir = take(&client);
    until_children(&client, TAKERS, 1).await;
    relay.set(Door::Shut);
    let heirs = soon(heir).await.unwrap().unwrap();
    assert_eq!(heirs.data(), b"a");
    assert!(matches!(soon(lost.lost()).await, Lost::Overdue | Lost::SessionOver));
    relay.set(Door::Open);
    soon(mortal.states().until(|state| state == State::Expired)).await.unwrap();
    assert!(soon(lost.consume()).await.is_err());
    heirs.consume().await.unwrap();
    until_children(&client, ENTRIES, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_is_done_by_one_at_a_time_and_consumed_once() {
    const JOBS: usize = 30;
    let server = start_shared(&[]);
    let client = server.client().await;
    let names: Vec<String> = (0..JOBS).map(|number| number.to_string()).collect();
    with(&client, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut consumers = Vec::new();
    for consumer in 0..4_usize {
        let client = server.client().await;
        let queue = LockingQueue::new(&client, PATH);
        consumers.push(tokio::spawn(async move {
            let mut consumed = Vec::new();
            for round in consumer.. {
                let Some(job) = queue.take_within(Duration::from_millis(300)).await.unwrap() else {
                    // Others may have what is left, and give it back.
                    match client.children(ENTRIES).await.unwrap().is_empty() {
                        true => break,
                        false => continue,
                    }
                };
                let data = String::from_utf8(job.data().to_vec()).unwrap();
                match round % 3 {
                    0 => drop(job),
                    1 => job.release().await.unwrap(),
                    _ => {
                        job.consume().await.unwrap();
                        consumed.push(data);
                    }
                }
            }
            consumed
        }));
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for consumer in consumers {
        for data in soon(consumer).await.unwrap() {
            *times.entry(data).or_default() += 1;
        }
    }
    assert!(times.values().all(|&times| times == 1), "{times:?}");
    assert_eq!(times.len(), JOBS);
    until_children(&client, TAKEN, 0).await;
}

#[tokio::test]
async fn an_entry_wakes_one_waiter_and_then_the_next_in_line() {
    const WAITERS: usize = 10;
    let server = start_shared(&[]);
    let witness = server.client().await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let mut waiters = Vec::new();
    for number in 1..=WAITERS {
        waiters.push(take(&client));
        until_children(&witness, TAKERS, number).await;
    }
    let names: Vec<String> = (0..WAITERS).map(|number| number.to_string()).collect();
    with(&witness, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut jobs = Vec::new();
    for waiter in waiters {
        jobs.push(soon(waiter).await.unwrap().unwrap());
    }
    client.sync("/").await.unwrap();
    assert!(relay.events() <= 3 * WAITERS, "{} events for {WAITERS} waiters", relay.events());
}

#[tokio::test]
async fn a_dropped_take_gives_back_what_it_was_about_to_get() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = with(&client, &["a"]).await;
    for polls in 0..60 {
        let mut taking = Box::pin(queue.take());
        for _ in 0..polls {
            tokio::select! {
                biased;
                taken = &mut taking => {
                    drop(taken.unwrap());
                    break;
                }
                () = tokio::task::yield_now() => {}
            }
        }
        drop(taking);
    }
    until_children(&client, TAKEN, 0).await;
    assert_eq!(soon(queue.take()).await.unwrap().data(), b"a");
}

#[tokio::test]
async fn lost_answers_are_found_out() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    with(&witness, &["a"]).await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    // Taken, but the answer is lost.
    relay.set_at(Op::Create, Door::Mute);
    let taking = take(&client);
    until_children(&witness, TAKEN, 1).await;
    relay.cut(&client).await;
    let taken = soon(taking).await.unwrap().unwrap();
    // Consumed, but the answer is lost.
    relay.set_at(Op::Multi, Door::Mute);
    let consuming = tokio::spawn(taken.consume());
    until_children(&witness, ENTRIES, 0).await;
    relay.cut(&client).await;
    assert_eq!(soon(consuming).await.unwrap(), Ok(()));
    // Given back, but the answer is lost, and somebody else has it meanwhile.
    with(&witness, &["b"]).await;
    let taken = soon(take(&client)).await.unwrap().unwrap();
    relay.set_at(Op::Delete, Door::Mute);
    let releasing = tokio::spawn(taken.release());
    let theirs = soon(take(&witness)).await.unwrap().unwrap();
    relay.cut(&client).await;
    assert_eq!(soon(releasing).await.unwrap(), Ok(()));
    assert_eq!(witness.children(TAKEN).await.unwrap().len(), 1, "their lock stands");
    assert_eq!(theirs.consume().await, Ok(()));
}

#[tokio::test]
async fn who_has_lost_the_lock_consumes_nothing() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = with(&client, &["a"]).await;
    let first = queue.take().await.unwrap();
    client.delete("/jobs/taken/entry-100-0000000000", Version::Any).await.unwrap();
    assert_eq!(soon(first.lost()).await, Lost::NodeDeleted);
    let second = queue.take().await.unwrap();
    assert_eq!(first.consume().await, Err(RecipeError::Evicted));
    until_children(&client, ENTRIES, 1).await;
    assert_eq!(second.consume().await, Ok(()));
    until_children(&client, ENTRIES, 0).await;
}

#[tokio::test]
async fn who_has_lost_the_lock_with_the_connection_consumes_nothing() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    with(&witness, &["a"]).await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let taken = soon(take(&client)).await.unwrap().unwrap();
    let mut states = client.states();
    relay.set_at(Op::Multi, Door::Shut);
    let consuming = tokio::spawn(taken.consume());
    soon(states.until(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
    witness.delete("/jobs/taken/entry-100-0000000000", Version::Any).await.unwrap();
    relay.set(Door::Open);
    assert_eq!(soon(consuming).await.unwrap(), Err(RecipeError::Evicted));
    until_children(&witness, ENTRIES, 1).await;
}

#[tokio::test]
async fn kazoos_entries_and_locks_are_respected() {
    let server = start_shared(&[]);
    let client = server.client().await;
    for path in [PATH, ENTRIES, TAKEN] {
        client.create(Create::new(path, b"")).await.unwrap();
    }
    let entry = Create::new(format!("{ENTRIES}/entry-050-"), b"theirs").sequential();
    let entry = client.create(entry).await.unwrap().path;
    let lock = entry.replace("entries", "taken");
    client.create(Create::new(lock.clone(), b"6d5b").ephemeral()).await.unwrap();
    let queue = LockingQueue::new(&client, PATH);
    assert!(queue.try_take().await.unwrap().is_none());
    let waiter = take(&client);
    until_children(&client, TAKERS, 1).await;
    client.delete(&lock, Version::Any).await.unwrap();
    assert_eq!(soon(waiter).await.unwrap().unwrap().data(), b"theirs");
}
