//! Nodes that come back, and who is there.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrokeeper_client::{Client, Create, Error, Multi, State, Version};
use ferrokeeper_recipes::{Group, Keeping, KeptNode};

use crate::relay::{Door, Op, Relay};
use crate::running::{SHORT_SESSIONS, soon, start_shared};

const PATH: &str = "/services/mail/a";

/// Waits until a node has some data.
async fn until_data(client: &Client, path: &str, data: &[u8]) {
    soon(async {
        loop {
            let (stat, changed) = client.exists_and_watch(path).await.unwrap();
            if stat.is_some() && client.get(path).await.is_ok_and(|(found, _)| found == data) {
                return;
            }
            changed.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_kept_node_comes_back_with_the_data_that_were_set_last() {
    let server = start_shared(&[]);
    let (client, witness) = (server.client().await, server.client().await);
    let node = KeptNode::keep(&client, PATH, b"1").await.unwrap();
    let (_, stat) = witness.get(PATH).await.unwrap();
    assert_ne!(stat.ephemeral_owner, 0);
    node.set_data(b"2");
    until_data(&witness, PATH, b"2").await;
    for _ in 0..3 {
        let (_, before) = witness.get(PATH).await.unwrap();
        witness.delete(PATH, Version::Any).await.unwrap();
        until_data(&witness, PATH, b"2").await;
        assert!(witness.get(PATH).await.unwrap().1.czxid > before.czxid);
        drop(soon(node.watch().wait_for(|state| *state == Keeping::There)).await.unwrap());
    }
    node.set_data(b"3");
    until_data(&witness, PATH, b"3").await;
    assert_eq!(soon(node.leave()).await, Ok(()));
    assert_eq!(witness.exists(PATH).await, Ok(None));
}

#[tokio::test]
async fn a_kept_node_that_is_dropped_goes_and_stays_away() {
    let server = start_shared(&[]);
    let (client, witness) = (server.client().await, server.client().await);
    let node = KeptNode::keep(&client, PATH, b"").await.unwrap();
    let (_, changed) = witness.exists_and_watch(PATH).await.unwrap();
    let mut states = node.watch();
    drop(node);
    soon(changed).await.unwrap();
    drop(soon(states.wait_for(|state| *state == Keeping::Left)).await.unwrap());
    soon(states.changed()).await.unwrap_err();
    assert_eq!(witness.exists(PATH).await, Ok(None));
}

#[tokio::test]
async fn a_node_of_an_earlier_session_is_waited_for() {
    let server = start_shared(&[]);
    let (earlier, client) = (server.client().await, server.client().await);
    let before = KeptNode::keep(&earlier, PATH, b"earlier").await.unwrap();
    let keeping = KeptNode::keep(&client, PATH, b"now");
    let mut keeping = std::pin::pin!(keeping);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut keeping).await.is_err());
    assert_eq!(client.get(PATH).await.unwrap().0, b"earlier");
    soon(earlier.close()).await.unwrap();
    let now = soon(keeping).await.unwrap();
    assert_eq!(client.get(PATH).await.unwrap().0, b"now");
    let over = Keeping::Over(Error::Closed.into());
    drop(soon(before.watch().wait_for(|state| *state == over)).await.unwrap());
    assert_eq!(now.state(), Keeping::There);
}

#[tokio::test]
async fn lost_answers_make_no_difference_and_a_lost_session_does() {
    let server = start_shared(SHORT_SESSIONS);
    let witness = server.client().await;
    let relay = Relay::before(&server).await;
    let builder = relay.builder().session_timeout(Duration::from_secs(2));
    let client = soon(builder.connect()).await.unwrap();
    witness.create(Create::new("/services", b"")).await.unwrap();
    witness.create(Create::new("/services/mail", b"")).await.unwrap();
    relay.set_at(Op::Create, Door::Mute);
    let keeping = tokio::spawn({
        let client = client.clone();
        async move { KeptNode::keep(&client, PATH, b"1").await }
    });
    until_data(&witness, PATH, b"1").await;
    relay.cut(&client).await;
    let node = soon(keeping).await.unwrap().unwrap();
    relay.set_at(Op::SetData, Door::Mute);
    node.set_data(b"2");
    until_data(&witness, PATH, b"2").await;
    relay.cut(&client).await;
    node.set_data(b"3");
    until_data(&witness, PATH, b"3").await;
    let (_, changed) = witness.exists_and_watch(PATH).await.unwrap();
    relay.set(Door::Shut);
    soon(changed).await.unwrap();
    relay.set(Door::Open);
    soon(client.states().until(|state| state == State::Expired)).await.unwrap();
    let over = Keeping::Over(Error::SessionExpired.into());
    drop(soon(node.watch().wait_for(|state| *state == over)).await.unwrap());
    assert_eq!(witness.exists(PATH).await, Ok(None));
}

#[tokio::test]
async fn who_leaves_while_the_node_is_being_created_again_leaves_none() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let node = KeptNode::keep(&client, PATH, b"").await.unwrap();
    relay.set_at(Op::Create, Door::Mute);
    witness.delete(PATH, Version::Any).await.unwrap();
    until_data(&witness, PATH, b"").await;
    let leaving = tokio::spawn(node.leave());
    relay.cut(&client).await;
    assert_eq!(soon(leaving).await.unwrap(), Ok(()));
    assert_eq!(witness.exists(PATH).await, Ok(None));
}

#[tokio::test]
async fn who_leaves_while_somebody_elses_node_stands_in_the_way_does_not_wait_for_it() {
    let server = start_shared(&[]);
    let (client, witness) = (server.client().await, server.client().await);
    let node = KeptNode::keep(&client, PATH, b"").await.unwrap();
    let theirs = Create::new(PATH, b"theirs").ephemeral();
    let replace = Multi::new().delete(PATH, Version::Any).create(theirs);
    witness.multi(replace).await.unwrap();
    drop(soon(node.watch().wait_for(|state| *state == Keeping::Absent)).await.unwrap());
    assert_eq!(soon(node.leave()).await, Ok(()));
    assert_eq!(witness.get(PATH).await.unwrap().0, b"theirs");
}

#[tokio::test]
async fn members_are_those_whose_sessions_live_whoever_made_them() {
    let server = start_shared(&[]);
    let (client, other) = (server.client().await, server.client().await);
    let group = Group::new(&client, "/group");
    assert_eq!(group.members().await, Ok(BTreeMap::new()));
    let _a = group.join("a", b"1").await.unwrap();
    let _b = Group::new(&other, "/group").join("b", b"2").await.unwrap();
    client.create(Create::new("/group/curators", b"3").ephemeral()).await.unwrap();
    let named = |members: &[(&str, &[u8])]| {
        members.iter().map(|(id, data)| (id.to_string(), data.to_vec())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(group.members().await, Ok(named(&[("a", b"1"), ("b", b"2"), ("curators", b"3")])));
    soon(other.close()).await.unwrap();
    client.sync("/group").await.unwrap();
    assert_eq!(group.members().await, Ok(named(&[("a", b"1"), ("curators", b"3")])));
}
