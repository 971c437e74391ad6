//! Queues whose entries are taken once.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrokeeper_client::{Client, Create, Error, State};
use ferrokeeper_recipes::{Priority, PriorityQueue, Queue, RecipeError};

use crate::relay::{Door, Op, Relay};
use crate::running::{soon, start_shared};
use crate::until_children;

const PATH: &str = "/jobs/a";
const TAKERS: &str = "/jobs/a-takers";

#[tokio::test]
async fn first_in_first_out_below_curators_names() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = Queue::new(&client, PATH);
    assert_eq!(queue.try_take().await, Ok(None));
    for data in [b"1", b"2", b"3"] {
        queue.put(data).await.unwrap();
    }
    let names = until_children(&client, PATH, 3).await;
    assert_eq!(names, ["qn-0000000000", "qn-0000000001", "qn-0000000002"]);
    // What Curator puts, and what nobody's queue is.
    client.create(Create::new(format!("{PATH}/qn-"), b"4").sequential()).await.unwrap();
    client.create(Create::new(format!("{PATH}/entry-000-"), b"kazoo's").sequential()).await.unwrap();
    client.create(Create::new(format!("{PATH}/a"), b"junk")).await.unwrap();
    for data in [b"1", b"2", b"3", b"4"] {
        assert_eq!(soon(queue.take()).await, Ok(data.to_vec()));
    }
    assert_eq!(queue.try_take().await, Ok(None));
    assert_eq!(soon(queue.take_within(Duration::from_millis(50))).await, Ok(None));
    until_children(&client, TAKERS, 0).await;
    assert_eq!(client.children(PATH).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_most_urgent_goes_first_below_kazoos_names() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = PriorityQueue::new(&client, PATH);
    queue.put(b"usual", Priority::default()).await.unwrap();
    queue.put(b"usual, too", Priority::default()).await.unwrap();
    queue.put(b"last", Priority::LAST).await.unwrap();
    queue.put(b"urgent", Priority::new(7).unwrap()).await.unwrap();
    let mut names = client.children(PATH).await.unwrap();
    names.sort();
    let expected =
        ["entry-007-0000000003", "entry-100-0000000000", "entry-100-0000000001", "entry-999-0000000002"];
    assert_eq!(names, expected);
    for data in ["urgent", "usual", "usual, too", "last"] {
        assert_eq!(soon(queue.take()).await, Ok(data.as_bytes().to_vec()));
    }
    let waiter = queue.clone();
    let waiter = tokio::spawn(async move { waiter.take().await });
    until_children(&client, TAKERS, 1).await;
    // As kazoo puts it.
    client.create(Create::new(format!("{PATH}/entry-100-"), b"kazoo's").sequential()).await.unwrap();
    assert_eq!(soon(waiter).await.unwrap(), Ok(b"kazoo's".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_is_taken_once() {
    const ENTRIES: u32 = 40;
    const PRODUCERS: u32 = 3;
    let server = start_shared(&[]);
    let mut producers = Vec::new();
    for producer in 0..PRODUCERS {
        let queue = Queue::new(&server.client().await, PATH);
        producers.push(tokio::spawn(async move {
            for number in 0..ENTRIES {
                queue.put(format!("{producer} {number}").as_bytes()).await.unwrap();
            }
        }));
    }
    let mut consumers = Vec::new();
    for _ in 0..4 {
        let queue = Queue::new(&server.client().await, PATH);
        consumers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..PRODUCERS * ENTRIES / 4 {
                taken.push(String::from_utf8(queue.take().await.unwrap()).unwrap());
            }
            taken
        }));
    }
    let mut taken = Vec::new();
    for consumer in consumers {
        taken.extend(soon(consumer).await.unwrap());
    }
    assert_eq!(taken.len(), (PRODUCERS * ENTRIES) as usize);
    assert_eq!(BTreeSet::from_iter(taken).len(), (PRODUCERS * ENTRIES) as usize);
    for producer in producers {
        soon(producer).await.unwrap();
    }
    let witness = server.client().await;
    until_children(&witness, PATH, 0).await;
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
        let queue = Queue::new(&client, PATH);
        waiters.push(tokio::spawn(async move { queue.take().await }));
        until_children(&witness, TAKERS, number).await;
    }
    let queue = Queue::new(&witness, PATH);
    for left in (0..WAITERS).rev() {
        queue.put(b"x").await.unwrap();
        until_children(&witness, TAKERS, left).await;
    }
    for waiter in waiters {
        assert_eq!(soon(waiter).await.unwrap(), Ok(b"x".to_vec()));
    }
    // An answer comes behind all events that came before it.
    client.sync("/").await.unwrap();
    assert!(relay.events() <= 3 * WAITERS, "{} events for {WAITERS} waiters", relay.events());
}

#[tokio::test]
async fn dropped_takes_lose_no_entry_and_leave_no_node() {
    const ENTRIES: usize = 100;
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = Queue::new(&client, PATH);
    for number in 0..ENTRIES {
        queue.put(number.to_string().as_bytes()).await.unwrap();
    }
    let mut taken = BTreeSet::new();
    soon(async {
        for attempt in 0_u64.. {
            // A take needs three answers. What is asked behind its request is answered behind it, so the server's speed
            // does not tell how far it comes.
            let mut take = std::pin::pin!(queue.take());
            let answers = 1 + attempt % 5;
            let mut data = None;
            for _ in 0..answers {
                tokio::select! {
                    biased;
                    result = &mut take => {
                        data = Some(result);
                        break;
                    }
                    answered = client.exists("/") => assert!(answered.is_ok()),
                }
            }
            if data.is_none() && answers == 5 {
                data = Some(take.await);
            }
            if let Some(data) = data {
                assert!(taken.insert(data.unwrap()), "once");
            }
            if taken.len() == ENTRIES {
                break;
            }
        }
    })
    .await;
    assert_eq!(soon(queue.take_within(Duration::from_millis(50))).await, Ok(None));
    until_children(&client, PATH, 0).await;
    until_children(&client, TAKERS, 0).await;
}

#[tokio::test]
async fn an_entry_that_has_gone_with_the_answer_was_perhaps_taken() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    Queue::new(&witness, PATH).put(b"data").await.unwrap();
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    relay.set_at(Op::Delete, Door::Mute);
    let queue = Queue::new(&client, PATH);
    let taking = tokio::spawn(async move { queue.try_take().await });
    until_children(&witness, PATH, 0).await;
    relay.cut(&client).await;
    assert_eq!(soon(taking).await.unwrap(), Err(RecipeError::PerhapsTaken(b"data".to_vec())));
}

#[tokio::test]
async fn an_entry_that_is_still_there_after_a_lost_connection_is_taken() {
    let server = start_shared(&[]);
    Queue::new(&server.client().await, PATH).put(b"data").await.unwrap();
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let mut states = client.states();
    relay.set_at(Op::Delete, Door::Shut);
    let queue = Queue::new(&client, PATH);
    let taking = tokio::spawn(async move { queue.try_take().await });
    soon(states.until(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
    relay.set(Door::Open);
    assert_eq!(soon(taking).await.unwrap(), Ok(Some(b"data".to_vec())));
}

#[tokio::test]
async fn a_put_without_an_answer_is_said_to_be_unknown_and_not_repeated() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    witness.create(Create::new("/jobs", b"")).await.unwrap();
    witness.create(Create::new(PATH, b"")).await.unwrap();
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    relay.set_at(Op::Create, Door::Mute);
    let queue = Queue::new(&client, PATH);
    let putting = tokio::spawn(async move { queue.put(b"data").await });
    until_children(&witness, PATH, 1).await;
    relay.cut(&client).await;
    assert_eq!(soon(putting).await.unwrap(), Err(RecipeError::Unknown));
    client.sync(PATH).await.unwrap();
    assert_eq!(client.children(PATH).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_wait_outlives_its_connection_and_ends_with_its_session() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let take = |client: &Client| {
        let queue = Queue::new(client, PATH);
        tokio::spawn(async move { queue.take().await })
    };
    let waiter = take(&client);
    until_children(&witness, TAKERS, 1).await;
    let mut states = client.states();
    relay.set(Door::Shut);
    soon(states.until(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
    Queue::new(&witness, PATH).put(b"data").await.unwrap();
    relay.set(Door::Open);
    assert_eq!(soon(waiter).await.unwrap(), Ok(b"data".to_vec()));
    until_children(&witness, TAKERS, 0).await;
    let waiter = take(&client);
    until_children(&witness, TAKERS, 1).await;
    soon(client.close()).await.unwrap();
    assert_eq!(soon(waiter).await.unwrap(), Err(Error::Closed.into()));
}
