//! Election.

use std::time::Duration;

use ferrokeeper_client::{Error, Version};
use ferrokeeper_recipes::{LeaderLatch, Leadership, Lost, Mutex, RecipeError};

use crate::relay::{Door, Relay};
use crate::running::{SHORT_SESSIONS, soon, start_shared};
use crate::until_children;

const PATH: &str = "/lead";

#[tokio::test]
async fn the_lead_goes_from_candidate_to_candidate_with_growing_epochs() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let mut candidates = Vec::new();
    for number in 0..4 {
        let client = server.client().await;
        let latch = LeaderLatch::join(&client, PATH, number.to_string().as_bytes()).await.unwrap();
        candidates.push((client, latch));
    }
    let names = until_children(&witness, PATH, 4).await;
    let (data, _) = witness.get(&format!("{PATH}/{}", names[3])).await.unwrap();
    assert_eq!(data, b"3", "others can read who stands");
    let mut last = None;
    for (number, (client, latch)) in candidates.into_iter().enumerate() {
        let epoch = soon(latch.wait()).await.unwrap();
        assert!(Some(epoch) > last);
        assert_eq!(latch.leadership(), Leadership::Leading { epoch });
        last = Some(epoch);
        let mut states = latch.watch();
        match number % 2 {
            0 => soon(latch.leave()).await.unwrap(),
            _ => drop(latch),
        }
        assert_eq!(
            *soon(states.wait_for(|state| *state == Leadership::Left)).await.unwrap(),
            Leadership::Left
        );
        drop(client);
    }
    until_children(&witness, PATH, 0).await;
}

#[tokio::test]
async fn only_the_first_leads() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let first = LeaderLatch::join(&client, PATH, b"1").await.unwrap();
    let second = LeaderLatch::join(&client, PATH, b"2").await.unwrap();
    let third = LeaderLatch::join(&client, PATH, b"3").await.unwrap();
    soon(first.wait()).await.unwrap();
    drop(second);
    until_children(&client, PATH, 2).await;
    assert_eq!(third.leadership(), Leadership::Waiting, "who loses its neighbour does not lead yet");
    drop(first);
    soon(third.wait()).await.unwrap();
}

#[tokio::test]
async fn a_leader_that_dies_is_followed_and_knows_it() {
    let server = start_shared(SHORT_SESSIONS);
    let relay = Relay::before(&server).await;
    let builder = relay.builder().session_timeout(Duration::from_secs(2));
    let client = soon(builder.connect()).await.unwrap();
    let first = LeaderLatch::join(&client, PATH, b"1").await.unwrap();
    let epoch = soon(first.wait()).await.unwrap();
    let second = LeaderLatch::join(&server.client().await, PATH, b"2").await.unwrap();
    relay.set(Door::Shut);
    assert!(soon(second.wait()).await.unwrap() > epoch);
    let mut states = first.watch();
    let steps_down = states.wait_for(|state| *state != Leadership::Leading { epoch });
    drop(soon(steps_down).await.unwrap());
    relay.set(Door::Open);
    let expired = RecipeError::Client(Error::SessionExpired);
    drop(soon(states.wait_for(|state| *state == Leadership::Over(expired.clone()))).await.unwrap());
    assert_eq!(soon(first.wait()).await, Err(expired));
}

#[tokio::test]
async fn who_hears_nothing_steps_down_and_leads_again_if_that_was_premature() {
    let server = start_shared(SHORT_SESSIONS);
    let relay = Relay::before(&server).await;
    let client = relay.impatient_client().await;
    let guard = Mutex::new(&client, "/lock").lock().await.unwrap();
    let latch = LeaderLatch::join(&client, PATH, b"1").await.unwrap();
    let epoch = soon(latch.wait()).await.unwrap();
    let mut states = latch.watch();
    // Its attempts to connect keep the session alive, unless the machine is too slow for that.
    relay.set(Door::Mute);
    drop(soon(states.wait_for(|state| *state == Leadership::Waiting)).await.unwrap());
    assert_eq!(soon(guard.lost()).await, Lost::Overdue);
    relay.set(Door::Open);
    let settled = soon(states.wait_for(|state| *state != Leadership::Waiting)).await.unwrap().clone();
    if settled == Leadership::Over(Error::SessionExpired.into()) {
        assert_eq!(soon(guard.lost()).await, Lost::SessionOver);
    } else {
        assert_eq!(settled, Leadership::Leading { epoch }, "it is the same lead");
        assert!(tokio::time::timeout(Duration::ZERO, guard.lost()).await.is_err(), "it is still held");
    }
}

#[tokio::test]
async fn a_leader_whose_node_is_deleted_steps_down() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let latch = LeaderLatch::join(&client, PATH, b"1").await.unwrap();
    soon(latch.wait()).await.unwrap();
    let name = until_children(&client, PATH, 1).await.remove(0);
    client.delete(&format!("{PATH}/{name}"), Version::Any).await.unwrap();
    let mut states = latch.watch();
    let over = Leadership::Over(RecipeError::Evicted);
    drop(soon(states.wait_for(|state| *state == over)).await.unwrap());
    assert_eq!(soon(latch.leave()).await, Ok(()));
}
