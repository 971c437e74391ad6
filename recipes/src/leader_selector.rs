//! Leading in turns.

use std::ops::ControlFlow;

use ferrokeeper_client::{Client, Error, ErrorCode, Zxid, child_path};

use crate::error::RecipeError;
use crate::guard::Lost;
use crate::mutex::{Mutex, STEMS};
use crate::requests::{children, data_of_children, through_losses};
use crate::turns::contenders;

/// A candidate who leads as long as some work of its takes, in the order in which the candidates came.
///
/// The lead is a [`Mutex`] that is held while the work runs. When the work has come to its end, the next candidate leads;
/// [`LeaderSelector::lead_in_turns`] then stands again, at the end of the line.
///
/// **Guarantees.** No two candidates of one path work at the same time, as far as their sessions live. The work is dropped
/// where it stands as soon as the lead is lost, or can no longer be relied upon; another process may lead a little earlier
/// than that is known here, which is why what is led should refuse every epoch that is lower than one it has seen. Work
/// that never waits cannot be dropped, and work that it has handed to other tasks goes on: end that in a `Drop`. When a
/// leader goes, one candidate wakes.
///
/// **Lost connections** are waited out, for as long as the session is not overdue. **A lost session** ends the candidacy
/// with an error, and drops the work. To stand again is the caller's: with a new client, and a new selector.
///
/// **Others.** The layout is that of Curator's `LeaderSelector`, `<path>/_c_<guid>-lock-<number>` with the candidate's id as
/// data: processes with Curator and with this crate may stand for the same lead. kazoo's `Election` is respected here, and
/// respects this one if its lock is told to, as [`Mutex`] says; its identifiers are listed among the candidates.
///
/// ```no_run
/// # async fn example(client: ferrokeeper_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use std::ops::ControlFlow;
///
/// let selector = ferrokeeper_recipes::LeaderSelector::new(&client, "/lead", b"host 7");
/// selector
///     .lead_in_turns(|epoch| async move {
///         work_for_a_while(epoch).await;
///         ControlFlow::<()>::Continue(())
///     })
///     .await?;
/// # Ok(())
/// # }
/// # async fn work_for_a_while(_: ferrokeeper_client::Zxid) {}
/// ```
#[derive(Clone, Debug)]
pub struct LeaderSelector {
    client: Client,
    path: String,
    lead: Mutex,
}

/// What has become of a lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the work may have been dropped"]
pub enum Led<T> {
    /// The work has come to its end.
    Finished(T),
    /// The lead was lost, and the work was dropped.
    Cut(Lost),
}

/// A candidate, as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Participant {
    /// What it says who it is: its node's data.
    pub id: Vec<u8>,
    /// Whether it leads, or is about to.
    pub is_leader: bool,
}

impl LeaderSelector {
    /// A candidate for the lead of a path, under an id that others can read. Nothing is sent yet; the path is created when
    /// it is needed, and goes when nobody has used it for a while.
    pub fn new(client: &Client, path: &str, id: &[u8]) -> LeaderSelector {
        LeaderSelector {
            client: client.clone(),
            path: path.to_owned(),
            lead: Mutex::with_data(client, path, id),
        }
    }

    /// Waits for the lead, and works once. `work` is told its epoch, which is higher than that of everybody who led before.
    ///
    /// When it returns, the candidate has left the line, or does so in the background; what has failed about that is not
    /// told, because the work is done all the same.
    ///
    /// Cancel-safe: dropping the future drops the work, and gives the lead or the place in the line up. So does a panic of
    /// the work.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn lead<T, Work>(&self, work: impl FnOnce(Zxid) -> Work) -> Result<Led<T>, RecipeError>
    where
        Work: Future<Output = T>,
    {
        let guard = self.lead.lock().await?;
        let led = tokio::select! {
            // No work begins with a lead that is lost by now.
            biased;
            lost = guard.lost() => Led::Cut(lost),
            done = work(guard.fencing_token()) => Led::Finished(done),
        };
        match led {
            Led::Finished(_) => drop(guard.release().await),
            // There may be no server to wait for. Its deletion is called now, and so comes before a next candidacy.
            Led::Cut(_) => drop(guard),
        }
        Ok(led)
    }

    /// Leads and works again and again, each time from the end of the line, until `work` breaks off. A lead that was lost
    /// while the session lived, or a node that somebody has deleted, is no end: then it stands again. Fails when the
    /// session is over, or what was asked makes no sense.
    ///
    /// Cancel-safe, and panics, as [`LeaderSelector::lead`].
    pub async fn lead_in_turns<T, Work>(&self, mut work: impl FnMut(Zxid) -> Work) -> Result<T, RecipeError>
    where
        Work: Future<Output = ControlFlow<T>>,
    {
        loop {
            match self.lead(&mut work).await {
                Ok(Led::Finished(ControlFlow::Break(result))) => return Ok(result),
                // If it was the session's end that has cut it, the next attempt says so.
                Ok(Led::Finished(ControlFlow::Continue(())) | Led::Cut(_)) | Err(RecipeError::Evicted) => {}
                // There is no hurry: servers that do not answer let nobody lead.
                Err(RecipeError::Client(Error::TimedOut(_))) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The candidates, the leader first, Curator's and kazoo's among them. It may be a little old, as all reads.
    ///
    /// Cancel-safe.
    pub async fn participants(&self) -> Result<Vec<Participant>, Error> {
        let names = contenders(children(&self.client, &self.path).await?, STEMS);
        let ids = data_of_children(&self.client, &self.path, &names).await?;
        let participant = |(place, (_, id)): (usize, (&str, Result<Vec<u8>, ErrorCode>))| {
            Ok(Participant { id: id.map_err(Error::Refused)?, is_leader: place == 0 })
        };
        ids.into_iter().enumerate().map(participant).collect()
    }

    /// The id of who leads, or is about to; `None` if there are no candidates. Cancel-safe.
    pub async fn leader(&self) -> Result<Option<Vec<u8>>, Error> {
        for name in contenders(children(&self.client, &self.path).await?, STEMS) {
            if let Some(id) = self.id(&name).await? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// What a candidate says who it is; `None` if it has gone.
    async fn id(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = child_path(&self.path, name);
        match through_losses(|| self.client.get(&path)).await {
            Ok((id, _)) => Ok(Some(id)),
            Err(Error::Refused(ErrorCode::NoNode)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
