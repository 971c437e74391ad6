//! Entries that wait for their time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrokeeper_client::{Client, Create};
use ferrokeeper_recipes::{DelayQueue, RecipeError};
use tokio::task::JoinHandle;

use crate::relay::{Door, Op, Relay};
use crate::running::{soon, start_shared};
use crate::until_children;

const PATH: &str = "/later";
const TAKERS: &str = "/later-takers";
/// As Curator writes the items `a`, nothing and `b` into one node.
const THREE_ITEMS: &[u8] = b"\0\x01\0\x01\x01\0\0\0\x01a\x01\0\0\0\0\x01\0\0\0\x01b\x02";

fn take(client: &Client) -> JoinHandle<Result<Vec<u8>, RecipeError>> {
    let queue = DelayQueue::new(client, PATH);
    tokio::spawn(async move { queue.take().await })
}

fn later(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

#[tokio::test]
async fn names_and_data_are_curators_and_what_is_due_first_goes_first() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = DelayQueue::new(&client, PATH);
    assert_eq!(queue.try_take().await, Ok(None));
    queue.put(b"second", UNIX_EPOCH + Duration::from_millis(0xab)).await.unwrap();
    queue.put(b"third", UNIX_EPOCH + Duration::from_millis(0xab)).await.unwrap();
    queue.put(b"not yet", later(3600)).await.unwrap();
    queue.put(b"first", UNIX_EPOCH).await.unwrap();
    let names = until_children(&client, PATH, 4).await;
    assert_eq!(names[0], "queue-|000000AB|0000000000");
    let (data, _) = client.get(&format!("{PATH}/{}", names[0])).await.unwrap();
    assert_eq!(data, b"\0\x01\0\x01\x01\0\0\0\x06second\x02");
    for data in ["first", "second", "third"] {
        assert_eq!(queue.try_take().await, Ok(Some(data.as_bytes().to_vec())));
    }
    assert_eq!(queue.try_take().await, Ok(None));
    assert_eq!(soon(queue.take_within(Duration::from_millis(50))).await, Ok(None));
    until_children(&client, TAKERS, 0).await;
    until_children(&client, PATH, 1).await;
}

#[tokio::test]
async fn waiters_wake_one_after_the_other_when_entries_are_due_and_not_earlier() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = DelayQueue::new(&client, PATH);
    let due = SystemTime::now() + Duration::from_millis(300);
    for data in [b"1", b"2"] {
        queue.put(data, due).await.unwrap();
    }
    let waiters = [take(&client), take(&server.client().await)];
    let mut taken = Vec::new();
    for waiter in waiters {
        taken.push(soon(waiter).await.unwrap().unwrap());
        // Names have no fractions of milliseconds.
        assert!(SystemTime::now() + Duration::from_millis(1) >= due);
    }
    taken.sort();
    assert_eq!(taken, [b"1", b"2"]);
}

#[tokio::test]
async fn an_entry_that_is_due_earlier_wakes_who_waits_for_a_later_one() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = DelayQueue::new(&client, PATH);
    queue.put(b"tomorrow", later(86_400)).await.unwrap();
    let waiter = take(&client);
    until_children(&client, TAKERS, 1).await;
    queue.put(b"today", later(3600)).await.unwrap();
    queue.put(b"now", later(0)).await.unwrap();
    assert_eq!(soon(waiter).await.unwrap(), Ok(b"now".to_vec()));
    until_children(&client, PATH, 2).await;
}

#[tokio::test]
async fn what_curator_puts_together_is_taken_one_by_one_and_what_it_cannot_have_put_as_it_is() {
    let server = start_shared(&[]);
    let client = server.client().await;
    client.create(Create::new(PATH, b"")).await.unwrap();
    let entries: [(&str, &[u8]); 4] = [
        ("queue-|00000001|", THREE_ITEMS),
        ("queue-|00000002|", b"raw"),
        ("queue-|00000003|", b"\0\x01\0\x01\x02"),
        ("junk-|00000000|", b"junk"),
    ];
    for (stem, data) in entries {
        client.create(Create::new(format!("{PATH}/{stem}"), data).sequential()).await.unwrap();
    }
    client.create(Create::new(TAKERS, b"")).await.unwrap();
    let queue = DelayQueue::new(&client, PATH);
    for data in [&b"a"[..], b"", b"b", b"raw"] {
        assert_eq!(queue.try_take().await, Ok(Some(data.to_vec())));
    }
    assert_eq!(queue.try_take().await, Ok(None));
    until_children(&client, PATH, 1).await;
    // Those who wait with the same queue are woken, though somebody else stands in front of them.
    let place = Create::new(format!("{TAKERS}/_c_ffff-lock-"), b"").ephemeral().sequential();
    client.create(place).await.unwrap();
    let waiters = [0; 2].map(|_| {
        let queue = queue.clone();
        tokio::spawn(async move { queue.take().await.unwrap() })
    });
    until_children(&client, TAKERS, 3).await;
    let three = Create::new(format!("{PATH}/queue-|00000001|"), THREE_ITEMS).sequential();
    client.create(three).await.unwrap();
    assert_eq!(queue.try_take().await, Ok(Some(b"a".to_vec())));
    let mut taken = Vec::new();
    for waiter in waiters {
        taken.push(soon(waiter).await.unwrap());
    }
    taken.sort();
    assert_eq!(taken, [&b""[..], b"b"]);
}

#[tokio::test]
async fn several_items_that_were_perhaps_taken_are_told_as_curator_writes_them() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    witness.create(Create::new(PATH, b"")).await.unwrap();
    let three = Create::new(format!("{PATH}/queue-|00000001|"), THREE_ITEMS).sequential();
    witness.create(three).await.unwrap();
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    relay.set_at(Op::Delete, Door::Mute);
    let queue = DelayQueue::new(&client, PATH);
    let taking = tokio::spawn({
        let queue = queue.clone();
        async move { queue.try_take().await }
    });
    until_children(&witness, PATH, 0).await;
    relay.cut(&client).await;
    assert_eq!(soon(taking).await.unwrap(), Err(RecipeError::PerhapsTaken(THREE_ITEMS.to_vec())));
    assert_eq!(queue.try_take().await, Ok(None), "nothing of it is given to somebody else");
}

#[tokio::test]
async fn a_dropped_take_loses_no_entry() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let queue = DelayQueue::new(&client, PATH);
    queue.put(b"a", UNIX_EPOCH).await.unwrap();
    for polls in 0..40 {
        let mut taking = Box::pin(queue.take());
        let mut taken = None;
        for _ in 0..polls {
            tokio::select! {
                biased;
                data = &mut taking => {
                    taken = Some(data.unwrap());
                    break;
                }
                () = tokio::task::yield_now() => {}
            }
        }
        drop(taking);
        if let Some(data) = taken {
            queue.put(&data, UNIX_EPOCH).await.unwrap();
        }
    }
    assert_eq!(soon(queue.take()).await, Ok(b"a".to_vec()));
    until_children(&client, PATH, 0).await;
    until_children(&client, TAKERS, 0).await;
}
