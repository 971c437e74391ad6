//! Numbers: for ever, and for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrokeeper_client::{Client, Error, State, Version};
use ferrokeeper_recipes::{Counter, CounterEncoding, IdGenerator, Lost, RecipeError, WorkerId};

use crate::relay::{Door, Op, Relay};
use crate::running::{SHORT_SESSIONS, soon, start_shared};
use crate::until_children;

const PATH: &str = "/ids/orders";
const WORKERS: &str = "/workers";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_is_given_twice_and_each_generators_grow() {
    const EACH: usize = 40;
    let server = start_shared(&[]);
    let mut users = Vec::new();
    for number in 0..3 {
        let generator = IdGenerator::new(&server.client().await, PATH, 1 + 10 * number);
        for _ in 0..2 {
            let generator = generator.clone();
            users.push(tokio::spawn(async move {
                let mut given = Vec::new();
                for _ in 0..EACH {
                    given.push(generator.next().await.unwrap());
                }
                given
            }));
        }
    }
    let mut all = BTreeSet::new();
    for user in users {
        let given = soon(user).await.unwrap();
        assert!(given.is_sorted_by(|one, next| one < next), "{given:?}");
        all.extend(given);
    }
    assert_eq!(all.len(), 3 * 2 * EACH);
}

#[tokio::test]
async fn a_block_costs_one_write_and_is_good_without_a_session() {
    let server = start_shared(&[]);
    let (client, witness) = (server.client().await, server.client().await);
    let generator = IdGenerator::new(&client, PATH, 100);
    assert_eq!(generator.next().await, Ok(0));
    assert_eq!(generator.clone().next().await, Ok(1));
    let (data, stat) = witness.get(PATH).await.unwrap();
    assert_eq!((data, stat.version), (100_i64.to_be_bytes().to_vec(), 1), "Curator's long");
    assert_eq!(IdGenerator::new(&witness, PATH, 1).next().await, Ok(100));
    soon(client.close()).await.unwrap();
    for number in 2..100 {
        assert_eq!(generator.next().await, Ok(number));
    }
    assert_eq!(generator.next().await, Err(Error::Closed.into()));
}

#[tokio::test]
async fn a_lost_answer_makes_a_gap_and_no_number_twice() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let generator = IdGenerator::new(&client, PATH, 10);
    for number in 0..10 {
        assert_eq!(generator.next().await, Ok(number));
    }
    let (_, changed) = witness.exists_and_watch(PATH).await.unwrap();
    relay.set_at(Op::SetData, Door::Mute);
    let next = tokio::spawn(async move { generator.next().await });
    soon(changed).await.unwrap();
    // Others reserve, too, so that nobody can tell whose the lost change was.
    assert_eq!(IdGenerator::new(&witness, PATH, 5).next().await, Ok(20));
    relay.cut(&client).await;
    assert_eq!(soon(next).await.unwrap(), Ok(25));
}

#[tokio::test]
async fn numbers_that_are_set_back_are_not_given_again() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let generator = IdGenerator::new(&client, PATH, 2);
    for number in 0..2 {
        assert_eq!(generator.next().await, Ok(number));
    }
    client.delete(PATH, Version::Any).await.unwrap();
    assert_eq!(generator.next().await, Err(RecipeError::SetBack(PATH.to_owned())));
    let counter = Counter::new(&client, PATH, CounterEncoding::BigEndian64);
    assert_eq!(counter.add(i64::MAX - 3).await, Ok(i64::MAX - 1));
    assert_eq!(generator.next().await, Err(RecipeError::Overflow));
}

#[tokio::test]
async fn each_holder_has_the_smallest_number_that_is_free() {
    let server = start_shared(&[]);
    let (client, other) = (server.client().await, server.client().await);
    let claim = |client: &Client| {
        let client = client.clone();
        async move { WorkerId::claim(&client, WORKERS, 3).await.unwrap() }
    };
    let first = claim(&client).await.unwrap();
    let second = claim(&other).await.unwrap();
    let third = claim(&client).await.unwrap();
    assert_eq!([first.number(), second.number(), third.number()], [0, 1, 2]);
    assert!(claim(&client).await.is_none());
    second.release().await.unwrap();
    let second = claim(&client).await.unwrap();
    assert_eq!(second.number(), 1);
    client.delete("/workers/1", Version::Any).await.unwrap();
    assert_eq!(soon(second.lost()).await, Lost::NodeDeleted);
    let heirs = claim(&other).await.unwrap();
    assert_eq!(heirs.number(), 1);
    assert_eq!(second.release().await, Ok(()));
    assert!(claim(&client).await.is_none(), "what is somebody else's by now is left to them");
    drop((first, third, heirs));
    until_children(&client, WORKERS, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_claim_at_once_each_gets_another_number() {
    let server = start_shared(&[]);
    let mut claims = Vec::new();
    for _ in 0..4 {
        let client = server.client().await;
        for _ in 0..3 {
            let client = client.clone();
            claims.push(tokio::spawn(async move { WorkerId::claim(&client, WORKERS, 11).await.unwrap() }));
        }
    }
    let mut held = Vec::new();
    for claim in claims {
        held.extend(soon(claim).await.unwrap());
    }
    let numbers: BTreeSet<u32> = held.iter().map(WorkerId::number).collect();
    assert_eq!((held.len(), numbers), (11, (0..11).collect()));
}

#[tokio::test]
async fn two_of_a_session_whose_answers_are_lost_together_get_different_numbers() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    drop(WorkerId::claim(&witness, WORKERS, 9).await.unwrap());
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    for _ in 0..3 {
        until_children(&witness, WORKERS, 0).await;
        relay.set_at(Op::Create, Door::Mute);
        let claimer = client.clone();
        let both = tokio::spawn(async move {
            let claim = || WorkerId::claim(&claimer, WORKERS, 9);
            let (one, other) = tokio::join!(claim(), claim());
            (one.unwrap().unwrap(), other.unwrap().unwrap())
        });
        until_children(&witness, WORKERS, 1).await;
        relay.cut(&client).await;
        let (one, other) = soon(both).await.unwrap();
        assert_ne!(one.number(), other.number());
    }
}

#[tokio::test]
async fn a_claim_survives_a_lost_answer_and_ends_with_its_session() {
    let server = start_shared(SHORT_SESSIONS);
    let witness = server.client().await;
    drop(WorkerId::claim(&witness, WORKERS, 9).await.unwrap());
    until_children(&witness, WORKERS, 0).await;
    let relay = Relay::before(&server).await;
    let builder = relay.builder().session_timeout(Duration::from_secs(2));
    let client = soon(builder.connect()).await.unwrap();
    let claim = || {
        let client = client.clone();
        tokio::spawn(async move { WorkerId::claim(&client, WORKERS, 9).await.unwrap().unwrap() })
    };
    relay.set_at(Op::Create, Door::Mute);
    let dropped = claim();
    until_children(&witness, WORKERS, 1).await;
    dropped.abort();
    assert!(soon(dropped).await.is_err());
    relay.cut(&client).await;
    until_children(&witness, WORKERS, 0).await;
    relay.set_at(Op::Create, Door::Mute);
    let claiming = claim();
    until_children(&witness, WORKERS, 1).await;
    relay.cut(&client).await;
    let held = soon(claiming).await.unwrap();
    assert_eq!(held.number(), 0);
    assert_eq!(until_children(&witness, WORKERS, 1).await, ["0"]);
    relay.set(Door::Shut);
    until_children(&witness, WORKERS, 0).await;
    assert!(matches!(soon(held.lost()).await, Lost::Overdue | Lost::SessionOver));
    relay.set(Door::Open);
    soon(client.states().until(|state| state == State::Expired)).await.unwrap();
    assert_eq!(soon(held.lost()).await, Lost::SessionOver);
}
