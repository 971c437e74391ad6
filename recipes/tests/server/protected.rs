//! Creations whose answers are lost.

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Version};
use ferrokeeper_recipes::ProtectedNode;

use crate::relay::{Door, Relay};
use crate::running::{Running, soon, start_shared};
use crate::until_children;

/// A client whose creation below `/p` has just happened without its knowing.
async fn with_a_lost_answer(
    server: &Running,
) -> (Relay, Client, tokio::task::JoinHandle<ProtectedNode>, String) {
    let witness = server.client().await;
    witness.create(Create::new("/p", b"")).await.unwrap();
    let relay = Relay::before(server).await;
    let client = relay.client().await;
    relay.set(Door::Mute);
    let caller = client.clone();
    let creation =
        tokio::spawn(async move { ProtectedNode::create(&caller, "/p", "x-", b"data").await.unwrap() });
    let name = until_children(&witness, "/p", 1).await.remove(0);
    (relay, client, creation, name)
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_node() {
    let server = start_shared(&[]);
    let (relay, client, creation, name) = with_a_lost_answer(&server).await;
    relay.cut(&client).await;
    let node = soon(creation).await.unwrap();
    assert_eq!(node.name(), name);
    let witness = server.client().await;
    assert_eq!(until_children(&witness, "/p", 1).await, [name]);
    let (data, stat) = witness.get(&node.path()).await.unwrap();
    assert_eq!((data, stat.czxid), (b"data".to_vec(), node.czxid()));
    node.delete().await.unwrap();
    assert_eq!(witness.children("/p").await, Ok(vec![]));
}

#[tokio::test]
async fn a_creation_that_is_dropped_without_an_answer_leaves_no_node() {
    let server = start_shared(&[]);
    let (relay, client, creation, _) = with_a_lost_answer(&server).await;
    creation.abort();
    assert!(soon(creation).await.is_err());
    relay.cut(&client).await;
    let witness = server.client().await;
    until_children(&witness, "/p", 0).await;
    assert!(client.exists("/p").await.is_ok(), "the session lives: it was not its end that deleted the node");
}

#[tokio::test]
async fn dropping_deletes_before_what_is_called_next() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let node = ProtectedNode::create(&client, "/a/b/c", "x-", b"").await.unwrap();
    let path = node.path();
    assert_eq!((node.parent(), path.as_str()), ("/a/b/c", &*format!("/a/b/c/{}", node.name())));
    assert!(node.name().starts_with("_c_") && node.name().ends_with("-x-0000000000"), "{path}");
    drop(node);
    assert_eq!(client.exists(&path).await, Ok(None));
}

#[tokio::test]
async fn a_node_that_somebody_else_has_deleted_is_deleted() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let node = ProtectedNode::create(&client, "/", "x-", b"").await.unwrap();
    client.delete(&node.path(), Version::Any).await.unwrap();
    assert_eq!(node.delete().await, Ok(()));
}

#[tokio::test]
async fn a_root_that_is_missing_is_an_error() {
    let server = start_shared(&[]);
    let client = soon(server.builder_with("/none").connect()).await.unwrap();
    let error = soon(ProtectedNode::create(&client, "/a/b", "x-", b"")).await.unwrap_err();
    assert_eq!(error, Error::Refused(ErrorCode::NoNode));
}
