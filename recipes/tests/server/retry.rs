//! Trying again.

use std::time::Duration;

use ferrokeeper_client::{Create, Error, Fate, Version};
use ferrokeeper_recipes::Retry;

use crate::relay::{Door, Op, Relay};
use crate::running::{soon, start_shared};
use crate::until_children;

#[tokio::test]
async fn what_was_lost_on_the_way_is_called_again_only_if_it_may_be() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    witness.create(Create::new("/r", b"")).await.unwrap();
    witness.create(Create::new("/r/a", b"")).await.unwrap();
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let retry = Retry::exponential(Duration::from_millis(1), Duration::from_millis(50));
    let caller = client.clone();
    relay.set(Door::Mute);
    let reading = tokio::spawn(async move { retry.run(|| caller.get("/r")).await });
    // It is on its way before the connection is lost.
    tokio::task::yield_now().await;
    relay.cut(&client).await;
    assert!(soon(reading).await.unwrap().is_ok());
    let caller = client.clone();
    relay.set_at(Op::Delete, Door::Mute);
    let deleting = tokio::spawn(async move { retry.run(|| caller.delete("/r/a", Version::Any)).await });
    until_children(&witness, "/r", 0).await;
    relay.cut(&client).await;
    assert_eq!(soon(deleting).await.unwrap(), Err(Error::ConnectionLost(Fate::MaybeApplied)));
}
