//! Values and numbers that many change.

use ferrokeeper_client::{Client, Create, State, Version};
use ferrokeeper_recipes::{AtomicValue, Counter, CounterEncoding, RecipeError};

use crate::relay::{Door, Op, Relay};
use crate::running::{soon, start_shared};

const PATH: &str = "/counts/a";

fn add(client: &Client, amount: i64) -> tokio::task::JoinHandle<Result<i64, RecipeError>> {
    let counter = Counter::new(client, PATH, CounterEncoding::Text);
    tokio::spawn(async move { counter.add(amount).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_additions_none_is_lost() {
    let server = start_shared(&[]);
    let mut adders = Vec::new();
    for adder in 0..6_i64 {
        let counter = Counter::new(&server.client().await, PATH, CounterEncoding::Text);
        adders.push(tokio::spawn(async move {
            for _ in 0..20 {
                counter.add(adder - 2).await.unwrap();
            }
        }));
    }
    for adder in adders {
        soon(adder).await.unwrap();
    }
    let client = server.client().await;
    assert_eq!(client.get(PATH).await.unwrap().0, b"60", "as kazoo writes it");
}

#[tokio::test]
async fn numbers_of_others_are_added_to_and_what_is_no_number_stays() {
    let server = start_shared(&[]);
    let client = server.client().await;
    client.create(Create::new("/counts", b"")).await.unwrap();
    client.create(Create::new(PATH, [0, 0, 0, 41])).await.unwrap();
    let counter = Counter::new(&client, PATH, CounterEncoding::BigEndian32);
    assert_eq!(counter.add(1).await, Ok(42));
    assert_eq!(client.get(PATH).await.unwrap().0, [0, 0, 0, 42]);
    assert_eq!(counter.add(i32::MAX.into()).await, Err(RecipeError::Overflow));
    assert_eq!(counter.get().await, Ok(42));
    let wrong = Counter::new(&client, PATH, CounterEncoding::BigEndian64);
    assert_eq!(wrong.add(1).await, Err(RecipeError::NotANumber(PATH.to_owned())));
    let missing = Counter::new(&client, "/counts/b", CounterEncoding::BigEndian64);
    assert_eq!(missing.get().await, Ok(0));
    assert_eq!(missing.compare_and_set(1, 9).await, Ok(false));
    assert_eq!(missing.compare_and_set(0, 9).await, Ok(true));
    assert_eq!(missing.add(-10).await, Ok(-1));
}

#[tokio::test]
async fn a_value_is_set_only_from_what_was_seen() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let value = AtomicValue::new(&client, PATH);
    assert_eq!(value.get().await, Ok(None));
    let first = value.update(|data| [data, b"a"].concat()).await.unwrap();
    assert_eq!(first.data, b"a");
    let second = value.compare_and_set(&first, b"b").await.unwrap().unwrap();
    assert_eq!(value.compare_and_set(&first, b"c").await, Ok(None));
    assert_eq!(value.get().await, Ok(Some(second.clone())));
    client.delete(PATH, Version::Any).await.unwrap();
    assert_eq!(value.compare_and_set(&second, b"c").await, Ok(None));
    let mut attempts = 0;
    let again = value.update(|data| {
        attempts += 1;
        [data, b"d"].concat()
    });
    assert_eq!(again.await.unwrap().data, b"d");
    assert_eq!(attempts, 1);
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_unknown_and_not_made_twice() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    assert_eq!(soon(add(&witness, 1)).await.unwrap(), Ok(1));
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    relay.set_at(Op::SetData, Door::Mute);
    let adding = add(&client, 1);
    soon(async { while witness.get(PATH).await.unwrap().0 != b"2" {} }).await;
    relay.cut(&client).await;
    assert_eq!(soon(adding).await.unwrap(), Err(RecipeError::Unknown));
    assert_eq!(soon(add(&witness, 0)).await.unwrap(), Ok(2));
}

#[tokio::test]
async fn a_change_that_was_never_made_is_made_after_the_loss_on_top_of_others() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    assert_eq!(soon(add(&witness, 1)).await.unwrap(), Ok(1));
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    for (others, sum) in [(0, 2), (10, 13)] {
        let mut states = client.states();
        relay.set_at(Op::SetData, Door::Shut);
        let adding = add(&client, 1);
        soon(states.until(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
        if others > 0 {
            soon(add(&witness, others)).await.unwrap().unwrap();
        }
        relay.set(Door::Open);
        assert_eq!(soon(adding).await.unwrap(), Ok(sum));
    }
}

#[tokio::test]
async fn a_change_that_nobody_can_look_for_any_more_is_unknown() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    assert_eq!(soon(add(&witness, 1)).await.unwrap(), Ok(1));
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let mut states = client.states();
    relay.set_at(Op::SetData, Door::Shut);
    let adding = add(&client, 1);
    soon(states.until(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
    // Looking at the node fails, and would not have changed anything; the change may have been made.
    let _ = soon(client.close()).await;
    assert_eq!(soon(adding).await.unwrap(), Err(RecipeError::Unknown));
}
