//! One claim per operation.

use std::time::Duration;

use ferrokeeper_client::{
    Acl, Create, Error, ErrorCode, Fate, Id, InvalidRequest, Lifetime, Limits, Multi, MultiRead, Outcome,
    Perms, ReadOutcome, Reconfig, Version,
};

use crate::running::{is_ours, soon, start};

fn refused<T>(code: ErrorCode) -> Result<T, Error> {
    Err(Error::Refused(code))
}

#[tokio::test]
async fn nodes_are_created_read_changed_and_deleted() {
    let server = start(&[]);
    let client = server.client().await;
    let created = client.create(Create::new("/a", b"one")).await.unwrap();
    assert_eq!(created.path, "/a");
    let (data, stat) = client.get("/a").await.unwrap();
    assert_eq!((data.as_slice(), stat), (&b"one"[..], created.stat));
    let changed = client.set("/a", b"two!", Version::Is(0)).await.unwrap();
    assert_eq!((changed.version, changed.data_length), (1, 4));
    assert_eq!(client.set("/a", b"", Version::Is(0)).await, refused(ErrorCode::BadVersion));
    assert_eq!(client.exists("/a").await, Ok(Some(changed)));
    assert_eq!(client.exists("/b").await, Ok(None));
    assert_eq!(client.create(Create::new("/a", b"")).await, refused(ErrorCode::NodeExists));
    assert_eq!(client.delete("/a", Version::Is(0)).await, refused(ErrorCode::BadVersion));
    assert_eq!(client.delete("/a", Version::Any).await, Ok(()));
    assert_eq!(client.get("/a").await, refused(ErrorCode::NoNode));
}

#[tokio::test]
async fn every_mode_of_create_makes_its_kind_of_node() {
    let server = start(&[]);
    let client = server.client().await;
    let create = |create: Create| async { client.create(create).await.unwrap() };
    create(Create::new("/p", b"")).await;
    let me = client.session_id().unwrap().get();
    assert_eq!(create(Create::new("/p/e", b"").ephemeral()).await.stat.ephemeral_owner, me);
    assert_eq!(create(Create::new("/p/s-", b"").sequential()).await.path, "/p/s-0000000001");
    let both = create(Create::new("/p/", b"").ephemeral().sequential()).await;
    assert_eq!((both.path.as_str(), both.stat.ephemeral_owner), ("/p/0000000002", me));
    create(Create::new("/c", b"").container()).await;
    let ttl = Lifetime::Ttl(Duration::from_secs(3600));
    create(Create::new("/t", b"").lifetime(ttl)).await;
    assert_eq!(create(Create::new("/t/", b"").lifetime(ttl).sequential()).await.path, "/t/0000000000");
    let never = Create::new("/c/x", b"").container().sequential();
    assert_eq!(client.create(never).await, Err(Error::Invalid(InvalidRequest::SequentialContainer)));
    let child = client.create(Create::new("/p/e/x", b"")).await;
    assert_eq!(child, refused(ErrorCode::NoChildrenForEphemerals));
    let mut ephemerals = client.ephemerals("/").await.unwrap();
    ephemerals.sort();
    assert_eq!(ephemerals, ["/p/0000000002", "/p/e"]);
}

#[tokio::test]
async fn children_are_listed_and_counted() {
    let server = start(&[]);
    let client = server.client().await;
    for path in ["/a", "/a/x", "/a/y", "/a/y/z"] {
        client.create(Create::new(path, b"")).await.unwrap();
    }
    let mut names = client.children("/a").await.unwrap();
    names.sort();
    assert_eq!(names, ["x", "y"]);
    let (mut names, stat) = client.children_and_stat("/a").await.unwrap();
    names.sort();
    assert_eq!((names.len(), stat.children), (2, 2));
    assert_eq!(client.count_descendants("/a").await, Ok(3));
    assert_eq!(client.children("/none").await, refused(ErrorCode::NoNode));
    assert_eq!(client.delete("/a", Version::Any).await, refused(ErrorCode::NotEmpty));
}

#[tokio::test]
async fn acls_are_read_set_and_obeyed() {
    let server = start(&[]);
    let bob = soon(server.builder().credentials("digest", "bob:pw").connect()).await.unwrap();
    let anybody = server.client().await;
    bob.create(Create::new("/mine", b"").acl([Acl { perms: Perms::ALL, id: Id::new("auth", "") }]))
        .await
        .unwrap();
    assert_eq!(anybody.get("/mine").await, refused(ErrorCode::NoAuth));
    let (acl, stat) = bob.get_acl("/mine").await.unwrap();
    assert_eq!(acl[0].id, Id::new("digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="));
    assert_eq!(bob.set_acl("/mine", &[Acl::open()], Version::Is(9)).await, refused(ErrorCode::BadVersion));
    let stat = bob.set_acl("/mine", &[Acl::open()], Version::Is(stat.aversion)).await.unwrap();
    assert_eq!(stat.aversion, 1);
    assert!(anybody.get("/mine").await.is_ok());
    assert_eq!(bob.set_acl("/mine", &[], Version::Any).await, refused(ErrorCode::InvalidAcl));
    let late = anybody.add_credentials("digest", b"bob:pw");
    assert_eq!(late.await, Ok(()));
    let who = anybody.who_am_i().await.unwrap();
    assert!(who.iter().any(|info| info.scheme == "digest" && info.user == "bob"), "{who:?}");
}

#[tokio::test]
async fn a_multi_is_done_as_a_whole_or_not_at_all() {
    let server = start(&[]);
    let client = server.client().await.namespace("/").unwrap();
    let multi = Multi::new()
        .create(Create::new("/m", b"1"))
        .create(Create::new("/m/s-", b"").ephemeral().sequential())
        .set("/m", b"2", Version::Is(0))
        .check("/m", Version::Is(1))
        .create(Create::new("/m/x", b""))
        .delete("/m/x", Version::Any);
    let outcomes = client.multi(multi).await.unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Created { path, stat } if path == "/m" && (stat.is_some() || !is_ours()))
    );
    assert!(matches!(&outcomes[1], Outcome::Created { path, .. } if path == "/m/s-0000000000"));
    assert!(matches!(&outcomes[2], Outcome::Set(stat) if stat.version == 1));
    assert_eq!((&outcomes[3], &outcomes[5]), (&Outcome::Checked, &Outcome::Deleted));
    let multi = Multi::new()
        .delete("/m/s-0000000000", Version::Any)
        .check("/m", Version::Is(7))
        .delete("/m", Version::Any);
    let failed = Err(Error::MultiRefused { index: 1, code: ErrorCode::BadVersion });
    assert_eq!(client.multi(multi).await, failed);
    assert!(client.exists("/m/s-0000000000").await.unwrap().is_some());
    assert_eq!(client.check("/m", Version::Is(1)).await, Ok(()));
    assert_eq!(client.check("/m", Version::Is(2)).await, refused(ErrorCode::BadVersion));
    assert_eq!(client.multi(Multi::new()).await, Ok(vec![]));
    let reads = MultiRead::new().get("/m").get("/none").children("/m");
    let found = client.multi_read(reads).await.unwrap();
    assert!(matches!(&found[0], Ok(ReadOutcome::Data(data, _)) if data == b"2"));
    assert_eq!(found[1], Err(ErrorCode::NoNode));
    assert_eq!(found[2], Ok(ReadOutcome::Children(vec!["s-0000000000".into()])));
}

#[tokio::test]
async fn sync_config_and_reconfig_are_answered() {
    let server = start(&[]);
    let client = server.client().await;
    assert_eq!(client.sync("/").await, Ok(()));
    let (_, stat) = client.config().await.unwrap();
    assert_eq!(stat.aversion, -1);
    let change = Reconfig::Incremental { joining: vec![], leaving: vec!["2".into()] };
    assert_eq!(client.reconfigure(&change, None).await, refused(ErrorCode::ReconfigDisabled));
}

#[tokio::test]
async fn namespaces_share_a_session_and_see_only_their_own() {
    let server = start(&[]);
    let client = server.client().await;
    client.create(Create::new("/app", b"")).await.unwrap();
    client.create(Create::new("/apple", b"").ephemeral()).await.unwrap();
    let app = client.namespace("/app").unwrap();
    assert_eq!(app.session_id(), client.session_id());
    let created = app.create(Create::new("/n-", b"x").ephemeral().sequential()).await.unwrap();
    assert_eq!(created.path, "/n-0000000000");
    assert_eq!(client.get("/app/n-0000000000").await.unwrap().0, b"x");
    assert_eq!(app.ephemerals("/").await.unwrap(), ["/n-0000000000"]);
    assert_eq!(app.children("/").await.unwrap(), ["n-0000000000"]);
    let (_, _, watch) = app.children_and_watch("/").await.unwrap();
    app.delete("/n-0000000000", Version::Any).await.unwrap();
    assert_eq!(soon(watch).await.unwrap().path, "/");
    let direct = soon(server.builder_with("/app").connect()).await.unwrap();
    direct.create(Create::new("/y", b"")).await.unwrap();
    assert!(app.exists("/y").await.unwrap().is_some());
    let made = app.multi(Multi::new().create(Create::new("/z", b""))).await.unwrap();
    assert!(matches!(&made[0], Outcome::Created { path, .. } if path == "/z"));
}

#[tokio::test]
async fn requests_go_out_in_the_order_of_the_calls_not_of_the_awaits() {
    let server = start(&[]);
    let client = server.client().await;
    client.create(Create::new("/n", b"")).await.unwrap();
    let first = client.set("/n", b"first", Version::Any);
    let second = client.set("/n", b"second", Version::Any);
    let read = client.get("/n");
    drop(first);
    assert_eq!(read.await.unwrap().0, b"second");
    assert_eq!(second.await.unwrap().version, 2, "a dropped call is carried out all the same");
}

#[tokio::test]
async fn what_makes_no_sense_is_not_sent() {
    let server = start(&[]);
    let client = server.client().await;
    assert!(matches!(client.get("a").await, Err(Error::Invalid(InvalidRequest::Path { .. }))));
    assert!(matches!(
        client.delete("/a", Version::Is(-1)).await,
        Err(Error::Invalid(InvalidRequest::Version))
    ));
    let large = client.create(Create::new("/a", vec![0; 2 << 20])).await;
    assert!(matches!(large, Err(Error::Invalid(InvalidRequest::TooLarge { .. }))));
    assert_eq!(client.exists("/").await.unwrap().unwrap().version, 0, "the connection is as it was");
}

#[tokio::test]
async fn a_full_line_refuses_and_ready_waits_for_room() {
    let server = start(&[]);
    let limits = Limits { in_flight_requests: 2, waiting_requests: 3, ..Limits::default() };
    let client = soon(server.builder().limits(limits).connect()).await.unwrap();
    let calls: Vec<_> = (0..6).map(|_| client.exists("/")).collect();
    let results: Vec<bool> = {
        let mut results = Vec::new();
        for call in calls {
            results.push(soon(call).await.map_err(|error| assert_eq!(error, Error::LineFull)).is_ok());
        }
        results
    };
    assert_eq!(results, [true, true, true, true, true, false]);
    soon(client.ready()).await;
    assert!(soon(client.exists("/")).await.is_ok());
}

#[tokio::test]
async fn an_operation_that_waits_for_a_connection_ends_with_its_timeout() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let client = ferrokeeper_client::Client::builder(&address.to_string()).start().unwrap();
    let hasty = client.with_operation_timeout(Some(Duration::from_millis(50)));
    assert_eq!(soon(hasty.delete("/a", Version::Any)).await, Err(Error::TimedOut(Fate::NotApplied)));
    let connect = ferrokeeper_client::Client::builder(&address.to_string())
        .connect_timeout(Duration::from_millis(50))
        .connect();
    assert!(soon(connect).await.is_err());
}

#[tokio::test]
async fn null_data_is_told_from_empty_data_where_that_is_asked_for() {
    let server = start(&[]);
    let client = server.client().await;
    client.create(Create::null("/null")).await.unwrap();
    client.create(Create::new("/empty", b"")).await.unwrap();
    assert_eq!(client.get_or_null("/null").await.unwrap().0, None);
    assert_eq!(client.get_or_null("/empty").await.unwrap().0, Some(Vec::new()));
    assert_eq!(client.get_or_null_and_watch("/null").await.unwrap().0, None);
    assert_eq!(client.get("/null").await.unwrap().0, b"");
}
