//! Watches, also over lost connections.

use ferrokeeper_client::{
    Client, Create, ErrorCode, EventType, Heard, Limits, NodeEvent, StreamEvent, Version, WatchDepth,
    WatchEnd, WatchKind, WatchScope, WatchStream,
};

use crate::running::{Proxy, is_ours, soon, start};

async fn next(stream: &mut WatchStream) -> (EventType, String) {
    match soon(stream.next()).await {
        Some(Ok(StreamEvent::Node(NodeEvent { kind, path, zxid }))) => {
            assert!(zxid.is_some() || !is_ours(), "our servers say which transaction it was");
            (kind, path)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_shots_fire_once_with_what_happened() {
    let server = start(&[]);
    let client = server.client().await;
    let (stat, created) = client.exists_and_watch("/a").await.unwrap();
    assert_eq!(stat, None);
    client.create(Create::new("/a", b"")).await.unwrap();
    assert_eq!(soon(created).await.unwrap().kind, EventType::NodeCreated);
    let (_, _, changed) = client.get_and_watch("/a").await.unwrap();
    let (_, _, children) = client.children_and_watch("/a").await.unwrap();
    client.create(Create::new("/a/b", b"")).await.unwrap();
    client.set("/a", b"x", Version::Any).await.unwrap();
    assert_eq!(soon(changed).await.unwrap().kind, EventType::NodeDataChanged);
    assert_eq!(soon(children).await.unwrap().kind, EventType::NodeChildrenChanged);
    assert_eq!(
        client.get_and_watch("/none").await.err().and_then(|error| error.code()),
        Some(ErrorCode::NoNode)
    );
}

#[tokio::test]
async fn streams_tell_everything_in_order() {
    let server = start(&[]);
    let client = server.client().await;
    let mut deep = client.watch("/", WatchDepth::Recursive).await.unwrap();
    let mut flat = client.watch("/a", WatchDepth::Node).await.unwrap();
    client.create(Create::new("/a", b"")).await.unwrap();
    client.create(Create::new("/a/b", b"")).await.unwrap();
    client.set("/a/b", b"x", Version::Any).await.unwrap();
    client.delete("/a/b", Version::Any).await.unwrap();
    use EventType::*;
    for (kind, path) in
        [(NodeCreated, "/a"), (NodeCreated, "/a/b"), (NodeDataChanged, "/a/b"), (NodeDeleted, "/a/b")]
    {
        assert_eq!(next(&mut deep).await, (kind, path.to_owned()));
    }
    for kind in [NodeCreated, NodeChildrenChanged, NodeChildrenChanged] {
        assert_eq!(next(&mut flat).await, (kind, "/a".to_owned()));
    }
}

#[tokio::test]
async fn watches_survive_a_lost_connection() {
    let server = start(&[]);
    let other = server.client().await;
    for path in ["/changed", "/deleted", "/same"] {
        other.create(Create::new(path, b"")).await.unwrap();
    }
    let proxy = Proxy::before(server.address).await;
    let client = soon(Client::connect(&proxy.address.to_string())).await.unwrap();
    let (_, _, changed) = client.get_and_watch("/changed").await.unwrap();
    let (_, _, deleted) = client.get_and_watch("/deleted").await.unwrap();
    let (_, _, mut same) = client.get_and_watch("/same").await.unwrap();
    let (_, created) = client.exists_and_watch("/created").await.unwrap();
    let (_, _, children) = client.children_and_watch("/same").await.unwrap();
    let mut stream = client.watch("/same", WatchDepth::Recursive).await.unwrap();
    proxy.shut();
    soon(client.states().until(|state| !state.is_connected())).await.unwrap();
    other.set("/changed", b"x", Version::Any).await.unwrap();
    other.delete("/deleted", Version::Any).await.unwrap();
    other.create(Create::new("/created", b"")).await.unwrap();
    other.create(Create::new("/same/child", b"")).await.unwrap();
    proxy.open();
    use EventType::*;
    assert_eq!(soon(changed).await.unwrap().kind, NodeDataChanged);
    assert_eq!(soon(deleted).await.unwrap().kind, NodeDeleted);
    assert_eq!(soon(created).await.unwrap().kind, NodeCreated);
    assert_eq!(soon(children).await.unwrap().kind, NodeChildrenChanged);
    assert_eq!(soon(stream.next()).await, Some(Ok(StreamEvent::Resumed)));
    let early = tokio::time::timeout(std::time::Duration::ZERO, &mut same).await;
    assert!(early.is_err(), "nothing happened to it");
    other.set("/same", b"x", Version::Any).await.unwrap();
    assert_eq!(soon(same).await.unwrap().kind, NodeDataChanged);
    assert_eq!(next(&mut stream).await, (NodeDataChanged, "/same".to_owned()));
}

#[tokio::test]
async fn dropped_watches_leave_the_server() {
    let server = start(&[]);
    let client = server.client().await;
    let (_, first) = client.exists_and_watch("/a").await.unwrap();
    let (_, second) = client.exists_and_watch("/a").await.unwrap();
    drop(first);
    assert_eq!(client.has_watches("/a", WatchScope::Data).await, Ok(true), "the second one is there");
    drop(second);
    assert_eq!(client.has_watches("/a", WatchScope::Any).await, Ok(false));
    drop(client.exists_and_watch("/b"));
    client.sync("/").await.unwrap();
    assert_eq!(client.has_watches("/b", WatchScope::Any).await, Ok(false), "nobody waited for the answer");
}

#[tokio::test]
async fn removed_watches_say_so() {
    let server = start(&[]);
    let client = server.client().await;
    let mut stream = client.watch("/a", WatchDepth::Node).await.unwrap();
    let (_, watch) = client.exists_and_watch("/a").await.unwrap();
    client.remove_watches("/a", WatchScope::Persistent).await.unwrap();
    assert_eq!(soon(stream.next()).await, Some(Err(WatchEnd::Removed)));
    assert_eq!(soon(stream.next()).await, None);
    client.remove_watches("/a", WatchScope::Any).await.unwrap();
    assert_eq!(soon(watch).await, Err(WatchEnd::Removed));
    let none = client.remove_watches("/a", WatchScope::Any).await;
    assert_eq!(none.err().and_then(|error| error.code()), Some(ErrorCode::NoWatcher));
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_with_overflow() {
    let server = start(&[]);
    let limits = Limits { stream_events: 2, ..Limits::default() };
    let client = soon(server.builder().limits(limits).connect()).await.unwrap();
    let mut stream = client.watch("/a", WatchDepth::Node).await.unwrap();
    client.create(Create::new("/a", b"")).await.unwrap();
    for _ in 0..5 {
        client.set("/a", b"x", Version::Any).await.unwrap();
    }
    assert_eq!(next(&mut stream).await.0, EventType::NodeCreated);
    assert_eq!(next(&mut stream).await.0, EventType::NodeDataChanged);
    assert_eq!(soon(stream.next()).await, Some(Err(WatchEnd::Overflow)));
    assert_eq!(soon(stream.next()).await, None);
}

#[tokio::test]
async fn an_event_is_there_before_the_new_data() {
    let server = start(&[]);
    let (writer, reader) = (server.client().await, server.client().await);
    writer.create(Create::new("/a", b"0")).await.unwrap();
    for round in 1..200 {
        let (_, _, mut changed) = reader.get_and_watch("/a").await.unwrap();
        let write = writer.set("/a", round.to_string().as_bytes(), Version::Any);
        loop {
            let (_, stat) = reader.get("/a").await.unwrap();
            if stat.version == round {
                let now = tokio::time::timeout(std::time::Duration::ZERO, &mut changed).await;
                assert!(now.is_ok(), "the new data was read before the event came");
                break;
            }
        }
        write.await.unwrap();
    }
}

#[tokio::test]
async fn what_several_watches_hear_is_told_once_to_those_who_listen() {
    let server = start(&[]);
    let client = server.client().await;
    client.create(Create::new("/a", b"")).await.unwrap();
    let mut hearing = client.heard();
    let (_, _, _data) = client.get_and_watch("/a").await.unwrap();
    let (_, _, _children) = client.children_and_watch("/a").await.unwrap();
    let _deep = client.watch("/", WatchDepth::Recursive).await.unwrap();
    client.delete("/a", Version::Any).await.unwrap();
    client.create(Create::new("/unwatched-until-now", b"")).await.unwrap();
    for (kind, path) in [(EventType::NodeDeleted, "/a"), (EventType::NodeCreated, "/unwatched-until-now")] {
        match soon(hearing.next()).await {
            Some(Ok(Heard::Node(event))) => assert_eq!((event.kind, event.path.as_str()), (kind, path)),
            other => panic!("{other:?}"),
        }
    }
    if is_ours() {
        client.remove_watches("/", WatchScope::Any).await.unwrap();
        let removed = Heard::Removed(WatchKind::Recursive, "/".into());
        assert_eq!(soon(hearing.next()).await, Some(Ok(removed)));
    }
    assert_eq!(hearing.try_next(), None);
}
