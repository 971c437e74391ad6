//! Several locks as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferrokeeper_client::{EventType, State, StreamEvent, Version, WatchDepth, WatchStream};
use ferrokeeper_recipes::{Lost, MultiGuard, MultiLock, Mutex, ReadWriteLock, RecipeError, Semaphore};
use tokio::task::JoinHandle;

use crate::relay::{Door, Relay};
use crate::running::{SHORT_SESSIONS, soon, start_shared};
use crate::until_children;

const A: &str = "/m/a";
const B: &str = "/m/b";
const C: &str = "/m/c";

fn contend(lock: &MultiLock) -> JoinHandle<Result<MultiGuard, RecipeError>> {
    let lock = lock.clone();
    tokio::spawn(async move { lock.lock().await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_order_in_which_they_are_named_nobody_waits_in_a_circle() {
    let server = start_shared(&[]);
    let held = Arc::new([A, B, C].map(|_| AtomicBool::new(false)));
    let mut contenders = Vec::new();
    for wanted in [vec![0, 1, 2], vec![2, 1], vec![1, 0], vec![2, 0], vec![2, 1, 0]] {
        let client = server.client().await;
        let lock = MultiLock::of_mutexes(&client, wanted.iter().map(|&index| [A, B, C][index]));
        let held = Arc::clone(&held);
        contenders.push(tokio::spawn(async move {
            for round in 0..6 {
                let guard = lock.lock().await.unwrap();
                for &index in &wanted {
                    assert!(!held[index].swap(true, Ordering::SeqCst), "two hold a lock");
                }
                tokio::task::yield_now().await;
                for &index in &wanted {
                    assert!(held[index].swap(false, Ordering::SeqCst));
                }
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
    let witness = server.client().await;
    for path in [A, B, C] {
        until_children(&witness, path, 0).await;
    }
}

#[tokio::test]
async fn who_does_not_get_all_keeps_none() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let lock = MultiLock::of_mutexes(&client, [C, B, A]);
    let other = Mutex::new(&client, B).lock().await.unwrap();
    assert!(lock.try_lock().await.unwrap().is_none());
    let witness = server.client().await;
    assert_eq!(witness.children(A).await, Ok(vec![]), "they have gone when the answer is there");
    assert!(soon(lock.lock_within(Duration::from_millis(50))).await.unwrap().is_none());
    let waiting = contend(&lock);
    until_children(&client, B, 2).await;
    until_children(&client, A, 1).await;
    waiting.abort();
    until_children(&client, A, 0).await;
    until_children(&client, B, 1).await;
    assert_eq!(client.exists(C).await, Ok(None), "what comes behind was never asked for");
    drop(other);
    let guard = soon(lock.lock_within(Duration::from_secs(20))).await.unwrap().unwrap();
    assert_eq!(guard.paths().len(), 3);
    drop(guard);
    assert!(soon(lock.lock()).await.is_ok());
}

/// The next node that is deleted: its parent's path.
async fn next_deleted(deletions: &mut WatchStream) -> String {
    loop {
        match soon(deletions.next()).await.unwrap().unwrap() {
            StreamEvent::Node(event) if event.kind == EventType::NodeDeleted => {
                return event.path[..event.path.rfind('/').unwrap()].to_owned();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn they_are_taken_by_their_paths_and_given_back_in_the_reverse_order() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let lock = MultiLock::of_mutexes(&client, [B, C, A]);
    let guard = lock.lock().await.unwrap();
    let parents: Vec<&str> = [A, B, C].to_vec();
    let paths = guard.paths();
    assert!(paths.iter().zip(&parents).all(|(path, parent)| path.starts_with(parent)), "{paths:?}");
    assert!(guard.fencing_token(A) < guard.fencing_token(B));
    assert_eq!(guard.fencing_token("/m"), None);
    let mut deletions = client.watch("/m", WatchDepth::Recursive).await.unwrap();
    guard.release().await.unwrap();
    for path in [C, B, A] {
        assert_eq!(next_deleted(&mut deletions).await, path);
    }
    drop(lock.lock().await.unwrap());
    for path in [C, B, A] {
        assert_eq!(next_deleted(&mut deletions).await, path);
    }
}

#[tokio::test]
async fn of_all_kinds_each_is_taken_once() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let both_sides = ReadWriteLock::new(&client, A);
    let leases = Semaphore::new(&client, B, 2);
    let mutex = Mutex::new(&client, C);
    let lock = MultiLock::new()
        .lease(&leases)
        .read(&both_sides)
        .mutex(&mutex)
        .lease(&leases)
        .write(&both_sides)
        .mutex(&mutex);
    let guard = soon(lock.lock()).await.unwrap();
    assert_eq!(guard.paths().len(), 3);
    assert!(both_sides.try_read().await.unwrap().is_none(), "it is held for writing");
    assert!(mutex.try_lock().await.unwrap().is_none());
    let lease = leases.try_acquire().await.unwrap().unwrap();
    assert!(leases.try_acquire().await.unwrap().is_none());
    let readers = MultiLock::new().read(&both_sides).lease(&leases);
    assert!(readers.try_lock().await.unwrap().is_none());
    guard.release().await.unwrap();
    let one = readers.try_lock().await.unwrap().unwrap();
    assert!(readers.try_lock().await.unwrap().is_none(), "the leases are given");
    lease.release().await.unwrap();
    let other = readers.try_lock().await.unwrap().unwrap();
    drop((one, other));
    until_children(&client, A, 0).await;
    until_children(&client, "/m/b/leases", 0).await;
}

#[tokio::test]
async fn it_is_lost_when_one_is_lost() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let guard = MultiLock::of_mutexes(&client, [A, B]).lock().await.unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, guard.lost()).await.is_err());
    client.delete(&guard.paths()[1], Version::Any).await.unwrap();
    assert_eq!(soon(guard.lost()).await, Lost::NodeDeleted);
    assert_eq!(soon(guard.lost()).await, Lost::NodeDeleted);
    assert_eq!(soon(guard.release()).await, Ok(()));
    until_children(&client, A, 0).await;
}

#[tokio::test]
async fn what_went_while_others_were_waited_for_is_noticed() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let other = Mutex::new(&client, B).lock().await.unwrap();
    let waiting = contend(&MultiLock::of_mutexes(&client, [A, B]));
    until_children(&client, B, 2).await;
    let name = until_children(&client, A, 1).await.remove(0);
    client.delete(&format!("{A}/{name}"), Version::Any).await.unwrap();
    drop(other);
    assert_eq!(soon(waiting).await.unwrap().unwrap_err(), RecipeError::Evicted);
    until_children(&client, B, 0).await;
}

#[tokio::test]
async fn a_wait_outlives_its_connection_and_its_session_frees_all() {
    let server = start_shared(SHORT_SESSIONS);
    let witness = server.client().await;
    let other = Mutex::new(&witness, B).lock().await.unwrap();
    let relay = Relay::before(&server).await;
    let builder = relay.builder().session_timeout(Duration::from_secs(2));
    let client = soon(builder.connect()).await.unwrap();
    let waiting = contend(&MultiLock::of_mutexes(&client, [A, B]));
    until_children(&witness, B, 2).await;
    relay.cut(&client).await;
    other.release().await.unwrap();
    let guard = soon(waiting).await.unwrap().unwrap();
    relay.set(Door::Shut);
    let heirs = soon(MultiLock::of_mutexes(&witness, [A, B]).lock()).await.unwrap();
    assert!(heirs.fencing_token(A) > guard.fencing_token(A));
    assert!(matches!(soon(guard.lost()).await, Lost::Overdue | Lost::SessionOver));
    relay.set(Door::Open);
    soon(client.states().until(|state| state == State::Expired)).await.unwrap();
    assert_eq!(soon(guard.lost()).await, Lost::SessionOver);
}
