//! Leading in turns.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Lock};
use std::time::Duration;

use ferrokeeper_client::{Create, Error, State, Version};
use ferrokeeper_recipes::{LeaderSelector, Led, Lost, Mutex, Participant, RecipeError};
use tokio::sync::watch;

use crate::relay::{Door, Relay};
use crate::running::{SHORT_SESSIONS, soon, start_shared};
use crate::until_children;

const PATH: &str = "/lead";

/// Counts how many there are.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: &watch::Sender<usize>) -> Counted {
        count.send_modify(|count| *count += 1);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn until_count(count: &watch::Sender<usize>, wanted: usize) {
    drop(soon(count.subscribe().wait_for(|&count| count == wanted)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_two_lead_and_epochs_grow() {
    const TERMS: usize = 6;
    let server = start_shared(&[]);
    let leads = Arc::new(AtomicBool::new(false));
    let last = Arc::new(AtomicI64::new(0));
    let mut candidates = Vec::new();
    for _ in 0..4 {
        let selector = LeaderSelector::new(&server.client().await, PATH, b"");
        let (leads, last, terms) = (Arc::clone(&leads), Arc::clone(&last), AtomicUsize::new(0));
        let terms = Arc::new(terms);
        candidates.push(tokio::spawn(async move {
            let work = |epoch: ferrokeeper_client::Zxid| {
                let (leads, last, terms) = (Arc::clone(&leads), Arc::clone(&last), Arc::clone(&terms));
                async move {
                    assert!(!leads.swap(true, Ordering::SeqCst), "two lead");
                    assert!(last.swap(epoch.to_wire(), Ordering::SeqCst) < epoch.to_wire());
                    tokio::task::yield_now().await;
                    assert!(leads.swap(false, Ordering::SeqCst));
                    match terms.fetch_add(1, Ordering::SeqCst) + 1 {
                        TERMS => ControlFlow::Break("enough"),
                        _ => ControlFlow::Continue(()),
                    }
                }
            };
            selector.lead_in_turns(work).await
        }));
    }
    for candidate in candidates {
        assert_eq!(soon(candidate).await.unwrap(), Ok("enough"));
    }
    until_children(&server.client().await, PATH, 0).await;
}

#[tokio::test]
async fn who_has_led_stands_again_at_the_end_of_the_line() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let terms = Arc::new(Lock::new(Vec::new()));
    let mut candidates = Vec::new();
    for name in ["a", "b", "c"] {
        let selector = LeaderSelector::new(&server.client().await, PATH, name.as_bytes());
        let (terms, observer) = (Arc::clone(&terms), witness.clone());
        let work = move |_| {
            let (terms, witness) = (Arc::clone(&terms), observer.clone());
            async move {
                // Nobody who is left is on the way to the end of the line.
                let is_first_round = terms.lock().unwrap().len() < 3;
                let standing = if is_first_round { 3 } else { 6 - terms.lock().unwrap().len() };
                until_children(&witness, PATH, standing).await;
                terms.lock().unwrap().push(name);
                match is_first_round {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            }
        };
        candidates.push(tokio::spawn(async move { selector.lead_in_turns(work).await }));
        until_children(&witness, PATH, candidates.len()).await;
    }
    for candidate in candidates {
        soon(candidate).await.unwrap().unwrap();
    }
    assert_eq!(*terms.lock().unwrap(), ["a", "b", "c", "a", "b", "c"]);
}

#[tokio::test]
async fn work_ends_with_its_lead_and_the_next_lead_is_a_new_one() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let selector = LeaderSelector::new(&client, PATH, b"1");
    let working = watch::Sender::new(0);
    let counted = working.clone();
    let once = tokio::spawn({
        let selector = selector.clone();
        async move {
            selector
                .lead(async move |_| {
                    let _counted = Counted::new(&counted);
                    pending::<()>().await
                })
                .await
        }
    });
    until_count(&working, 1).await;
    let name = until_children(&client, PATH, 1).await.remove(0);
    client.delete(&format!("{PATH}/{name}"), Version::Any).await.unwrap();
    assert_eq!(soon(once).await.unwrap(), Ok(Led::Cut(Lost::NodeDeleted)));
    assert_eq!(*working.borrow(), 0, "the work was dropped");

    let (epochs, mut led) = tokio::sync::mpsc::unbounded_channel();
    let again = tokio::spawn(async move {
        selector
            .lead_in_turns(|epoch| {
                epochs.send(epoch).unwrap();
                pending::<ControlFlow<()>>()
            })
            .await
    });
    let first = soon(led.recv()).await.unwrap();
    let name = until_children(&client, PATH, 1).await.remove(0);
    client.delete(&format!("{PATH}/{name}"), Version::Any).await.unwrap();
    assert!(soon(led.recv()).await.unwrap() > first);
    again.abort();
    until_children(&client, PATH, 0).await;
}

#[tokio::test]
async fn a_leader_that_dies_is_followed_and_its_work_is_dropped() {
    let server = start_shared(SHORT_SESSIONS);
    let relay = Relay::before(&server).await;
    let builder = relay.builder().session_timeout(Duration::from_secs(2));
    let client = soon(builder.connect()).await.unwrap();
    let working = watch::Sender::new(0);
    let counted = working.clone();
    let mortal = LeaderSelector::new(&client, PATH, b"mortal");
    let leading = tokio::spawn(async move {
        let work = |_| {
            let counted = Counted::new(&counted);
            async move {
                let _counted = counted;
                pending::<ControlFlow<()>>().await
            }
        };
        mortal.lead_in_turns(work).await
    });
    until_count(&working, 1).await;
    let heir = LeaderSelector::new(&server.client().await, PATH, b"heir");
    let heir = tokio::spawn(async move { heir.lead(async |_| ()).await });
    relay.set(Door::Shut);
    assert_eq!(soon(heir).await.unwrap(), Ok(Led::Finished(())));
    until_count(&working, 0).await;
    relay.set(Door::Open);
    soon(client.states().until(|state| state == State::Expired)).await.unwrap();
    assert_eq!(soon(leading).await.unwrap(), Err(Error::SessionExpired.into()));
    assert_eq!(*working.borrow(), 0);
}

#[tokio::test]
async fn who_hears_nothing_stops_working_and_stands_again() {
    let server = start_shared(SHORT_SESSIONS);
    let relay = Relay::before(&server).await;
    let client = relay.impatient_client().await;
    let working = watch::Sender::new(0);
    let counted = working.clone();
    let selector = LeaderSelector::new(&client, PATH, b"");
    let (epochs, mut led) = tokio::sync::mpsc::unbounded_channel();
    let mut leading = tokio::spawn(async move {
        let work = |epoch| {
            let counted = Counted::new(&counted);
            epochs.send(epoch).unwrap();
            async move {
                let _counted = counted;
                pending::<ControlFlow<()>>().await
            }
        };
        selector.lead_in_turns(work).await
    });
    let first = soon(led.recv()).await.unwrap();
    // Its attempts to connect keep the session alive, unless the machine is too slow for that.
    relay.set(Door::Mute);
    until_count(&working, 0).await;
    relay.set(Door::Open);
    let again = soon(async {
        tokio::select! {
            biased;
            epoch = led.recv() => epoch,
            ended = &mut leading => {
                assert_eq!(ended.unwrap(), Err(Error::SessionExpired.into()));
                None
            }
        }
    });
    if let Some(epoch) = again.await {
        assert!(epoch > first);
        assert_eq!(until_children(&server.client().await, PATH, 1).await.len(), 1);
    }
    leading.abort();
}

#[tokio::test]
async fn a_candidate_whose_node_is_deleted_stands_again() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let holder = Mutex::new(&client, PATH).lock().await.unwrap();
    let selector = LeaderSelector::new(&client, PATH, b"");
    let leading = tokio::spawn(async move { selector.lead_in_turns(async |_| ControlFlow::Break(7)).await });
    let name = until_children(&client, PATH, 2).await.remove(1);
    client.delete(&format!("{PATH}/{name}"), Version::Any).await.unwrap();
    // It watches the one in front, and so learns of it when that one goes.
    holder.release().await.unwrap();
    assert_eq!(soon(leading).await.unwrap(), Ok(7));
}

#[tokio::test]
async fn a_candidacy_outlives_its_connection() {
    let server = start_shared(&[]);
    let witness = server.client().await;
    let relay = Relay::before(&server).await;
    let client = relay.client().await;
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let selector = LeaderSelector::new(&client, PATH, b"");
    let leading = tokio::spawn(async move {
        let work = |_| async move {
            begin.send(()).unwrap();
            ended.await
        };
        selector.lead(work).await
    });
    soon(begun).await.unwrap();
    relay.cut(&client).await;
    client.sync(PATH).await.unwrap();
    assert_eq!(until_children(&witness, PATH, 1).await.len(), 1);
    end.send(()).unwrap();
    assert_eq!(soon(leading).await.unwrap(), Ok(Led::Finished(Ok(()))));
    until_children(&witness, PATH, 0).await;
}

#[tokio::test]
async fn whatever_ends_a_candidacy_leaves_no_node() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let selector = LeaderSelector::new(&client, PATH, b"");
    let stand = || {
        let selector = selector.clone();
        tokio::spawn(async move { selector.lead(async |_| pending::<()>().await).await })
    };
    let leading = stand();
    until_children(&client, PATH, 1).await;
    let waiting = stand();
    until_children(&client, PATH, 2).await;
    waiting.abort();
    until_children(&client, PATH, 1).await;
    leading.abort();
    until_children(&client, PATH, 0).await;
    let panicking = selector.clone();
    let panicking = tokio::spawn(async move { panicking.lead(async |_| panic!("as it must")).await });
    let error = soon(panicking).await.map(|led: Result<Led<()>, RecipeError>| led.is_ok()).unwrap_err();
    assert!(error.is_panic());
    until_children(&client, PATH, 0).await;
}

#[tokio::test]
async fn candidates_are_listed_in_their_order_whoever_made_them() {
    let server = start_shared(&[]);
    let client = server.client().await;
    let selector = LeaderSelector::new(&client, PATH, b"ours");
    assert_eq!(selector.participants().await, Ok(Vec::new()));
    assert_eq!(selector.leader().await, Ok(None));
    client.create(Create::new(PATH, b"")).await.unwrap();
    for (head, id) in [("_c_ffff-lock-", "curator's"), ("0000__lock__", "kazoo's"), ("_c_0-latch-", "junk")] {
        let node = Create::new(format!("{PATH}/{head}"), id).ephemeral().sequential();
        client.create(node).await.unwrap();
    }
    let standing = selector.clone();
    let standing = tokio::spawn(async move { standing.lead(async |_| pending::<()>().await).await });
    until_children(&client, PATH, 4).await;
    let all = [("curator's", true), ("kazoo's", false), ("ours", false)]
        .map(|(id, is_leader)| Participant { id: id.into(), is_leader });
    assert_eq!(selector.participants().await, Ok(all.to_vec()));
    assert_eq!(selector.leader().await, Ok(Some(b"curator's".to_vec())));
    assert!(!standing.is_finished());
    standing.abort();
}
