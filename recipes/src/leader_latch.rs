//! Election.

use ferrokeeper_client::{Client, Error, State, Zxid};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::RecipeError;
use crate::guard::Lost;
use crate::line::{Line, until_turn};
use crate::protected::ProtectedNode;
use crate::turns::{Kind, Stems};

const STEM: &str = "latch-";
const STEMS: Stems = &[(STEM, Kind::Exclusive)];

/// A candidacy for the lead of a path: among all of them, the oldest leads.
///
/// A task of its own stands in line and says how things are; the candidacy lasts until [`LeaderLatch::leave`], or until
/// this is dropped.
///
/// **Guarantees.** No two candidates of one path lead at the same time, as far as their sessions live. Who leads is
/// told to step down when nothing was heard of any server for so long that the session may be over
/// ([`Leadership::Waiting`]); another process may lead a little earlier than that is known here, which is why what is led
/// should refuse every epoch that is lower than one it has seen ([`Leadership::Leading`]). Each candidate watches the one
/// in front of it: when a leader goes, one candidate wakes.
///
/// **A lost session** ends the candidacy with [`Leadership::Over`]. To stand again is the caller's: with a new client,
/// and a new latch.
///
/// **Others.** The layout is that of Curator's `LeaderLatch`: `<path>/_c_<guid>-latch-<number>`, with the candidate's id
/// as data; processes with Curator and with this crate may stand for the same lead. Curator's `LeaderSelector` and kazoo's
/// `Election` are locks: that is [`LeaderSelector`](crate::LeaderSelector). An `Election` has no option to respect others;
/// its lock has, `election.lock = client.Lock(path, extra_lock_patterns=["lock-"])`.
#[derive(Debug)]
#[must_use = "dropping it ends the candidacy"]
pub struct LeaderLatch {
    states: watch::Receiver<Leadership>,
    /// Told, or dropped, when the candidacy is to end.
    leave: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

/// How a candidacy stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Leadership {
    /// Somebody else leads, or may lead.
    Waiting,
    /// This candidate leads.
    Leading {
        /// Higher than that of everybody who led before: the transaction that created this candidate's node.
        epoch: Zxid,
    },
    /// The candidacy has ended by itself, and this is why.
    Over(RecipeError),
    /// The candidacy was given up.
    Left,
}

impl LeaderLatch {
    /// Stands for the lead of a path, under an id that others can read, and returns when that is known to the servers.
    /// The path is created when it is needed, and goes when nobody has used it for a while.
    ///
    /// Cancel-safe: dropping the future ends the candidacy.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn join(client: &Client, path: &str, id: &[u8]) -> Result<LeaderLatch, RecipeError> {
        let line = Line {
            client: client.clone(),
            path: path.to_owned(),
            data: id.to_vec(),
            stem: STEM,
            stems: STEMS,
        };
        let node = line.join().await?;
        let (sender, states) = watch::channel(Leadership::Waiting);
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(stand(node, sender, left));
        Ok(LeaderLatch { states, leave, task })
    }

    /// Waits until this candidate leads and says in which epoch; at once if it does. Cancel-safe.
    pub async fn wait(&self) -> Result<Zxid, RecipeError> {
        let mut states = self.states.clone();
        let settled = |state: &Leadership| *state != Leadership::Waiting;
        let state = states.wait_for(settled).await.map(|state| state.clone());
        match state {
            Ok(Leadership::Leading { epoch }) => Ok(epoch),
            Ok(Leadership::Over(error)) => Err(error),
            // The runtime that the task lived in is gone.
            Ok(Leadership::Waiting | Leadership::Left) | Err(_) => Err(Error::Closed.into()),
        }
    }

    /// How the candidacy stands now.
    pub fn leadership(&self) -> Leadership {
        self.states.borrow().clone()
    }

    /// Watches how the candidacy stands. A reader that is slow sees the latest state and not every one in between.
    pub fn watch(&self) -> watch::Receiver<Leadership> {
        self.states.clone()
    }

    /// Ends the candidacy and waits until that is done. Everybody who watches it is told before others can lead; if work
    /// is to be finished first, finish it before. When it fails although the session lives, or the future is dropped, it
    /// goes on in the background.
    pub async fn leave(self) -> Result<(), Error> {
        // If nobody listens, it has ended.
        let _ = self.leave.send(());
        self.task.await.unwrap_or(Err(Error::Closed))
    }
}

/// Stands in line until told to leave.
async fn stand(
    node: ProtectedNode,
    states: watch::Sender<Leadership>,
    left: oneshot::Receiver<()>,
) -> Result<(), Error> {
    let candidacy = async {
        loop {
            match until_turn(&node, STEMS).await {
                Ok(()) => drop(states.send_replace(Leadership::Leading { epoch: node.czxid() })),
                // There is no hurry: servers that do not answer let nobody lead.
                Err(RecipeError::Client(Error::TimedOut(_))) => continue,
                Err(error) => return error,
            }
            match node.lost().await {
                Lost::Overdue => drop(states.send_replace(Leadership::Waiting)),
                Lost::NodeDeleted => return RecipeError::Evicted,
                Lost::SessionOver => return end_of(node.client().state()).into(),
            }
        }
    };
    tokio::select! {
        error = candidacy => drop(states.send_replace(Leadership::Over(error))),
        _ = left => drop(states.send_replace(Leadership::Left)),
    }
    node.delete().await
}

fn end_of(state: State) -> Error {
    match state {
        State::Expired => Error::SessionExpired,
        State::AuthFailed => Error::AuthFailed,
        _ => Error::Closed,
    }
}
