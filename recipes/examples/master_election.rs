//! One master, a standby that takes over, and an old master that can do no harm any more.
//!
//! `cargo run -p ferrokeeper-recipes --example master_election`
//!
//! As YARN's ResourceManagers do it. A master that hangs may believe for a while that it still leads. So who takes over
//! first takes the right to create and delete below the state's root, and every change of the state creates and deletes a
//! node there, in the same transaction: from then on, whatever the old master tries is refused by the server.

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ferrokeeper_client::{Acl, Client, Create, Error, ErrorCode, Id, Multi, Perms, Version};
use ferrokeeper_recipes::{LeaderLatch, Leadership};
use sha1::{Digest, Sha1};

use crate::scenario::{Outcome, Place, ensure, play, soon};

#[path = "shared/scenario.rs"]
mod scenario;

const STATE: &str = "/state";
const JOB: &str = "/state/job";
const FENCE: &str = "/state/fence";

/// What all masters know.
const CLUSTER: &str = "cluster:a secret of the cluster";

fn main() -> ExitCode {
    play("master_election", story)
}

async fn story(place: Place) -> Outcome {
    let janitor = place.builder().credentials("digest", CLUSTER).connect().await?;
    let everything = Acl { perms: Perms::ALL, id: digest(CLUSTER) };
    janitor.create(Create::new(STATE, b"").acl([everything])).await?;
    janitor.create(Create::new(JOB, b"not begun")).await?;
    let outcome = two_masters(&place).await;
    // So that the example can be removed.
    janitor.set_acl(STATE, &[Acl::open()], Version::Any).await?;
    outcome
}

async fn two_masters(place: &Place) -> Outcome {
    let (first, second) = (Master::start(place, "first").await?, Master::start(place, "second").await?);
    let candidacy = LeaderLatch::join(&first.election, "/election", b"first").await?;
    let epoch = soon("the first master to lead", candidacy.wait()).await??;
    first.take_over().await?;
    first.save("half done").await?;
    let standby = LeaderLatch::join(&second.election, "/election", b"second").await?;
    ensure(standby.leadership() == Leadership::Waiting, "the second must wait while the first leads")?;
    println!("the first master leads, and the second stands by");

    println!("the first master's session of the election ends, but the first does not know it yet");
    first.election.clone().close().await?;
    let later = soon("the second master to lead", standby.wait()).await??;
    ensure(later > epoch, "epochs must grow")?;
    second.take_over().await?;
    // Read after the old master was shut out: nothing comes in between any more.
    let state = second.state().await?;
    ensure(state == "half done", format!("the second must find what the first has left, and not {state:?}"))?;
    println!("the second master leads, and finds the job {state}");

    let refusal = first.save("done twice").await.err().and_then(|error| error.code());
    ensure(
        refusal == Some(ErrorCode::NoAuth),
        format!("what the first master writes now must be refused, but: {refusal:?}"),
    )?;
    println!("the first master tries to go on, and is refused");
    second.save("done").await?;
    let state = second.state().await?;
    println!("the second master goes on: the job is {state}");
    ensure(state == "done", "only the second may have written")
}

/// A process that may be master. The session that stands for election is not the one that works, as in YARN.
struct Master {
    election: Client,
    store: Client,
    secret: String,
}

impl Master {
    async fn start(place: &Place, name: &str) -> Outcome<Master> {
        let secret =
            format!("{name}:{:032x}", u128::from(getrandom::u64()?) << 64 | u128::from(getrandom::u64()?));
        let store = place.builder().credentials("digest", CLUSTER).credentials("digest", secret.as_str());
        Ok(Master { election: place.client().await?, store: store.connect().await?, secret })
    }

    /// Leaves the right to create and delete below the state's root to nobody else. Any master may take it again.
    async fn take_over(&self) -> Result<(), Error> {
        let others = Perms::READ.or(Perms::WRITE).or(Perms::ADMIN);
        let acl = [
            Acl { perms: others, id: digest(CLUSTER) },
            Acl { perms: Perms::CREATE.or(Perms::DELETE), id: digest(&self.secret) },
        ];
        self.store.set_acl(STATE, &acl, Version::Any).await.map(drop)
    }

    /// Writes the state, if nobody else has taken over.
    async fn save(&self, state: &str) -> Result<(), Error> {
        let fenced = Multi::new()
            .create(Create::new(FENCE, b""))
            .set(JOB, state, Version::Any)
            .delete(FENCE, Version::Any);
        self.store.multi(fenced).await.map(drop)
    }

    async fn state(&self) -> Outcome<String> {
        self.store.sync(JOB).await?;
        Ok(String::from_utf8(self.store.get(JOB).await?.0)?)
    }
}

/// How ACLs name those who know a password: `user:password`, of which only a hash is stored.
fn digest(secret: &str) -> Id {
    let user = secret.split(':').next().unwrap_or_default();
    Id::new("digest", format!("{user}:{}", STANDARD.encode(Sha1::digest(secret))))
}
