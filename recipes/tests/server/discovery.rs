//! Services that are registered and found.

use std::sync::Arc;

use ferrokeeper_client::{Acl, Client, Create, Id, Perms, Version};
use ferrokeeper_recipes::{
    CacheState, Discovery, DownPolicy, Instance, InstanceCache, Instances, Keeping, RecipeError, ServiceType,
    Strategy,
};

use crate::relay::{Door, Op, Relay};
use crate::running::{soon, start_shared};

const BASE: &str = "/services";

fn instance(id: &str) -> Instance {
    Instance::new("mail").id(id).address("127.0.0.1").port(25)
}

fn ids(instances: &Instances) -> String {
    instances.readable.iter().map(|instance| instance.id.as_str()).collect::<Vec<_>>().join(" ")
}

/// Waits until a copy has these instances.
async fn until(cache: &InstanceCache, wanted: &str) -> Arc<Instances> {
    let mut instances = cache.watch();
    let found = soon(instances.wait_for(|instances| ids(instances) == wanted)).await;
    Arc::clone(&found.unwrap())
}

async fn listed(client: &Client) -> Instances {
    client.sync(BASE).await.unwrap();
    Discovery::new(client, BASE).instances("mail").await.unwrap()
}

#[tokio::test]
async fn dynamic_instances_are_found_by_all_as_long_as_their_sessions_live() {
    let server = start_shared(&[]);
    let (client, other) = (server.client().await, server.client().await);
    let discovery = Discovery::new(&client, BASE);
    assert_eq!(discovery.services().await, Ok(vec![]));
    assert_eq!(discovery.instances("mail").await, Ok(Instances::default()));
    let here = discovery.register(instance("b")).await.unwrap();
    let _there = Discovery::new(&other, BASE).register(instance("a").enabled(false)).await.unwrap();
    assert_eq!(discovery.services().await, Ok(vec!["mail".to_owned()]));
    let found = listed(&client).await;
    assert_eq!(ids(&found), "a b");
    assert_eq!(*found.readable[1], *here.instance());
    assert!(!found.readable[0].enabled);
    let (data, stat) = other.get("/services/mail/b").await.unwrap();
    assert_eq!(data, here.instance().to_json());
    assert_ne!(stat.ephemeral_owner, 0);
    soon(other.close()).await.unwrap();
    assert_eq!(ids(&listed(&client).await), "b");
}

#[tokio::test]
async fn a_registration_heals_with_what_was_said_last() {
    let server = start_shared(&[]);
    let (client, witness) = (server.client().await, server.client().await);
    let mut here = Discovery::new(&client, BASE).register(instance("a")).await.unwrap();
    let cache = Discovery::new(&witness, BASE).cache("mail").await.unwrap();
    let newer = here.instance().clone().port(26);
    here.update(newer.clone()).await.unwrap();
    let mut instances = cache.watch();
    let is_newer = |found: &Arc<Instances>| found.readable.iter().any(|found| **found == newer);
    drop(soon(instances.wait_for(is_newer)).await.unwrap());
    let (_, before) = witness.get(here.path()).await.unwrap();
    let mut states = here.watch().unwrap();
    witness.delete(here.path(), Version::Any).await.unwrap();
    soon(async {
        while !witness.get(here.path()).await.is_ok_and(|(_, stat)| stat.czxid > before.czxid) {
            states.changed().await.unwrap();
        }
    })
    .await;
    assert_eq!(witness.get(here.path()).await.unwrap().0, newer.to_json());
    drop(soon(states.wait_for(|state| *state == Keeping::There)).await.unwrap());
    soon(here.unregister()).await.unwrap();
    until(&cache, "").await;
    assert_eq!(ids(&listed(&witness).await), "");
}

#[tokio::test]
async fn lasting_instances_outlive_their_sessions_and_take_the_place_of_others() {
    let server = start_shared(&[]);
    let (client, witness) = (server.client().await, server.client().await);
    let discovery = Discovery::new(&client, BASE);
    let dynamic = discovery.register(instance("a")).await.unwrap();
    for (id, kind) in [("a", ServiceType::Static), ("b", ServiceType::Permanent)] {
        for port in [1, 2] {
            let lasting = instance(id).service_type(kind).port(port);
            let mut here = Discovery::new(&witness, BASE).register(lasting).await.unwrap();
            assert!(here.watch().is_none());
            let newer = here.instance().clone().ssl_port(port);
            here.update(newer.clone()).await.unwrap();
            assert_eq!(witness.get(here.path()).await.unwrap().0, newer.to_json());
        }
    }
    // It has lost its place, and waits for it.
    drop(dynamic);
    soon(client.close()).await.unwrap();
    assert_eq!(ids(&listed(&witness).await), "a b");
    let discovery = Discovery::new(&witness, BASE);
    for _ in 0..2 {
        discovery.unregister("mail", "a").await.unwrap();
    }
    assert_eq!(ids(&listed(&witness).await), "b");
    let here = discovery.register(instance("b").service_type(ServiceType::Permanent)).await.unwrap();
    soon(here.unregister()).await.unwrap();
    assert_eq!(ids(&listed(&witness).await), "");
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_and_hides_nothing() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let discovery = Discovery::new(&client, BASE);
    let _here = discovery.register(instance("b")).await.unwrap();
    client.create(Create::new("/services/mail/a", b"127.0.0.1:25")).await.unwrap();
    client.create(Create::null("/services/mail/c")).await.unwrap();
    let names = |found: &Instances| found.malformed.iter().map(|bad| bad.node.clone()).collect::<Vec<_>>();
    let found = listed(&client).await;
    assert_eq!((ids(&found).as_str(), names(&found)), ("b", vec!["a".to_owned(), "c".to_owned()]));
    let cache = discovery.cache("mail").await.unwrap();
    assert_eq!(*cache.instances(), found);
    client.set("/services/mail/c", br#"{"name":"mail","id":"c","news":{}}"#, Version::Any).await.unwrap();
    assert_eq!(names(&*until(&cache, "b c").await), ["a"]);
    client.set("/services/mail/c", b"{", Version::Any).await.unwrap();
    assert_eq!(names(&*until(&cache, "b").await), ["a", "c"]);
    assert_eq!(cache.state(), CacheState::Following);
}

#[tokio::test]
async fn an_instance_that_may_not_be_read_is_reported_too() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let _here = Discovery::new(&client, BASE).register(instance("b")).await.unwrap();
    let nobody = Acl { perms: Perms::ALL, id: Id::new("ip", "192.0.2.1") };
    client.create(Create::new("/services/mail/a", instance("a").to_json()).acl([nobody])).await.unwrap();
    let found = listed(&client).await;
    assert_eq!(ids(&found), "b");
    let [bad] = &found.malformed[..] else { panic!("{found:?}") };
    assert_eq!((bad.node.as_str(), bad.reason.contains("NoAuth")), ("a", true), "{bad}");
}

#[tokio::test]
async fn a_provider_follows_what_is_registered_and_leaves_out_what_fails() {
    let server = start_shared(&[]);
    let (client, other) = (server.client().await, server.client().await);
    let discovery = Discovery::new(&client, BASE);
    let provider = discovery.provider("mail", Strategy::RoundRobin).await.unwrap();
    let provider = provider.with_down_policy(DownPolicy { failures: 1, ..DownPolicy::default() });
    assert_eq!(provider.pick(), None);
    let mut a = discovery.register(instance("a")).await.unwrap();
    let _b = Discovery::new(&other, BASE).register(instance("b")).await.unwrap();
    let c = discovery.register(instance("c")).await.unwrap();
    until(provider.cache(), "a b c").await;
    let pick = || provider.pick().unwrap().id.clone();
    assert_eq!([pick(), pick(), pick(), pick()], ["a", "b", "c", "a"]);
    a.update(a.instance().clone().enabled(false)).await.unwrap();
    let mut instances = provider.cache().watch();
    drop(soon(instances.wait_for(|found| !found.readable[0].enabled)).await.unwrap());
    let earlier = Instance { registration_time_utc: 1, ..instance("c") };
    provider.report_failure(&earlier);
    assert_eq!(provider.available().len(), 2, "that was another registration");
    provider.report_failure(c.instance());
    assert_eq!([pick(), pick()], ["b", "b"]);
    soon(other.close()).await.unwrap();
    until(provider.cache(), "a c").await;
    assert_eq!(provider.pick(), None);
    let (sticky, random) = (Strategy::Sticky, Strategy::Random);
    for strategy in [sticky, random] {
        let provider = discovery.provider("mail", strategy).await.unwrap();
        assert_eq!(provider.pick().unwrap().id, "c");
    }
}

#[tokio::test]
async fn a_lost_session_ends_copies_and_takes_dynamic_instances_along() {
    let server = start_shared(&[]);
    let (client, witness) = (server.client().await, server.client().await);
    let discovery = Discovery::new(&client, BASE);
    let here = discovery.register(instance("a")).await.unwrap();
    let cache = discovery.cache("mail").await.unwrap();
    let mut instances = cache.watch();
    soon(client.close()).await.unwrap();
    soon(async { while instances.changed().await.is_ok() {} }).await;
    assert_eq!(ids(&cache.instances()), "a", "as it was known last");
    assert!(matches!(cache.state(), CacheState::Over(_)));
    let mut states = here.watch().unwrap();
    drop(soon(states.wait_for(|state| matches!(state, Keeping::Over(_)))).await.unwrap());
    assert_eq!(ids(&listed(&witness).await), "");
}

#[tokio::test]
async fn lost_answers_make_no_difference() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    for path in ["/services", "/services/mail"] {
        witness.create(Create::new(path, b"")).await.unwrap();
    }
    let cache = Discovery::new(&witness, BASE).cache("mail").await.unwrap();
    for (op, port) in [(Op::Create, 1), (Op::Multi, 2)] {
        relay.set_at(op, Door::Mute);
        let wanted = instance("a").service_type(ServiceType::Permanent).port(port);
        let registering = tokio::spawn({
            let (discovery, wanted) = (Discovery::new(&client, BASE), wanted.clone());
            async move { discovery.register(wanted).await }
        });
        let mut instances = cache.watch();
        let is_there = |found: &Arc<Instances>| found.readable.iter().any(|found| **found == wanted);
        drop(soon(instances.wait_for(is_there)).await.unwrap());
        relay.cut(&client).await;
        drop(soon(registering).await.unwrap().unwrap());
        assert_eq!(*listed(&witness).await.readable[0], wanted);
    }
}

#[tokio::test]
async fn what_can_have_no_node_is_refused() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let discovery = Discovery::new(&client, BASE);
    let sequential = instance("a").service_type(ServiceType::DynamicSequential);
    for invalid in [instance("a/b"), instance(""), sequential, Instance::new("/").id("a")] {
        let refusal = discovery.register(invalid).await.unwrap_err();
        assert!(matches!(refusal, RecipeError::InvalidInstance(_)), "{refusal}");
    }
    let mut here = discovery.register(Instance::new("/deep/mail").id("a")).await.unwrap();
    assert_eq!(here.path(), "/services/deep/mail/a");
    for other in [here.instance().clone().id("b"), here.instance().clone().service_type(ServiceType::Static)]
    {
        let refusal = here.update(other).await.unwrap_err();
        assert!(matches!(refusal, RecipeError::InvalidInstance(_)), "{refusal}");
    }
    assert_eq!(ids(&discovery.instances("/deep/mail").await.unwrap()), "a");
}
