//! Many readers or one writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ferrokeeper_recipes::ReadWriteLock;

use crate::relay::Relay;
use crate::running::{soon, start_shared};
use crate::until_children;

const PATH: &str = "/locks/rw";

#[tokio::test]
async fn readers_share_and_do_not_overtake_a_writer() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let lock = ReadWriteLock::new(&client, PATH);
    let (one, other) = (lock.read().await.unwrap(), lock.read().await.unwrap());
    assert!(lock.try_write().await.unwrap().is_none());
    let waiting = lock.clone();
    let writer = tokio::spawn(async move { waiting.write().await.unwrap() });
    until_children(&client, PATH, 3).await;
    assert!(lock.try_read().await.unwrap().is_none(), "a writer waits");
    one.release().await.unwrap();
    assert!(lock.try_read().await.unwrap().is_none());
    assert!(!writer.is_finished());
    other.release().await.unwrap();
    let writing = soon(writer).await.unwrap();
    assert!(lock.try_read().await.unwrap().is_none());
    assert!(lock.try_write().await.unwrap().is_none());
    writing.release().await.unwrap();
    assert!(lock.try_read().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_is_always_alone() {
    let server = start_shared(&[]);
    // Above zero: so many read. Below: somebody writes.
    let inside = Arc::new(AtomicI64::new(0));
    let mut contenders = Vec::new();
    for number in 0..12 {
        let lock = ReadWriteLock::new(&server.client().await, PATH);
        let inside = Arc::clone(&inside);
        contenders.push(tokio::spawn(async move {
            for round in 0..6 {
                if (number + round) % 3 == 0 {
                    let guard = lock.write().await.unwrap();
                    assert_eq!(inside.fetch_sub(1000, Ordering::SeqCst), 0, "a writer is alone");
                    tokio::task::yield_now().await;
                    assert_eq!(inside.fetch_add(1000, Ordering::SeqCst), -1000, "and stays it");
                    guard.release().await.unwrap();
                } else {
                    let guard = lock.read().await.unwrap();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) >= 0, "nobody writes meanwhile");
                    tokio::task::yield_now().await;
                    assert!(inside.fetch_sub(1, Ordering::SeqCst) >= 1);
                    drop(guard);
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
async fn a_release_wakes_readers_together_and_each_once() {
    const READERS: usize = 8;
    let server = start_shared(&[]);
    let witness = server.client().await;
    let writing = ReadWriteLock::new(&witness, PATH).write().await.unwrap();
    let relay = Relay::before(&server).await;
    let builder = relay.builder();
    let client = soon(builder.connect()).await.unwrap();
    let mut readers = Vec::new();
    for number in 1..=READERS {
        let lock = ReadWriteLock::new(&client, PATH);
        readers.push(tokio::spawn(async move { lock.read().await.unwrap() }));
        until_children(&witness, PATH, 1 + number).await;
    }
    writing.release().await.unwrap();
    let mut guards = Vec::new();
    for reader in readers {
        guards.push(soon(reader).await.unwrap());
    }
    client.sync("/").await.unwrap();
    assert!(relay.events() <= READERS, "{} events", relay.events());
}
