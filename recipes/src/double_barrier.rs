//! Beginning together and ending together.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrokeeper_client::{
    Client, Create, Error, ErrorCode, EventType, Multi, Stat, Version, Zxid, child_path,
};

use crate::error::RecipeError;
use crate::guard::Lost;
use crate::protected::ProtectedNode;
use crate::requests::{children, delete, fired, through_losses};

const STEM: &str = "member-";
const READY: &str = "ready";

/// A barrier that opens when enough members have come, and that they leave together.
///
/// **Guarantees.** [`DoubleBarrier::enter`] returns when so many members are there, as far as their sessions live; the
/// number is a threshold and not a limit, so that late ones may still come in. [`Inside::leave`] returns when everybody who
/// was inside when it was called has begun to leave, or has lost the session. Then the same path serves for the next round.
/// The one who comes last wakes the others, each once; of those who leave, all but one wait for the same one.
///
/// **Lost connections** are waited out. **A lost session** ends the membership: others go on without it. Should all
/// members lose their sessions inside, the open door stays behind; whoever comes next closes it.
///
/// **Others.** The layout is that of Curator's `DistributedDoubleBarrier`: a node of each member, of any name, and
/// `<path>/ready` when the door is open. kazoo's `DoubleBarrier` has the same one. All of them may share a barrier, as long
/// as each is told the same number; Curator's `leave` may return while one member is still inside, and kazoo's closes
/// the door to late ones.
#[derive(Clone, Debug)]
pub struct DoubleBarrier {
    client: Client,
    path: String,
    data: Vec<u8>,
    members: usize,
}

/// A membership behind an open [`DoubleBarrier`], until [`Inside::leave`], or until this is dropped: then its node is
/// deleted by a task in the background (see [`ProtectedNode`]), and nobody is waited for.
#[derive(Debug)]
#[must_use = "dropping it leaves without waiting for the others"]
pub struct Inside {
    barrier: DoubleBarrier,
    node: ProtectedNode,
}

impl DoubleBarrier {
    /// A barrier that opens for so many members. Nothing is sent yet; the path is created when it is needed, and goes
    /// when nobody has used it for a while.
    pub fn new(client: &Client, path: &str, members: u32) -> DoubleBarrier {
        DoubleBarrier::with_data(client, path, members, b"")
    }

    /// Likewise, with data for the nodes of this member: it may say who it is.
    pub fn with_data(client: &Client, path: &str, members: u32, data: &[u8]) -> DoubleBarrier {
        DoubleBarrier {
            client: client.clone(),
            path: path.to_owned(),
            data: data.to_vec(),
            members: usize::try_from(members).unwrap_or(usize::MAX),
        }
    }

    /// Waits until enough members have come. Single requests may take as long as the client allows one operation.
    ///
    /// Cancel-safe: dropping the future takes the membership back, unless the barrier has opened meanwhile and others have
    /// gone in with it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn enter(&self) -> Result<Inside, RecipeError> {
        let node = ProtectedNode::create(&self.client, &self.path, STEM, &self.data).await?;
        let ready = self.ready();
        loop {
            let (door, opened) = through_losses(|| self.client.exists_and_watch(&ready)).await?;
            // The node's creation was answered in this session: who came earlier and is still there is seen. So of
            // enough members the last one knows that they are enough.
            let names = children(&self.client, &self.path).await?;
            let door = match door {
                Some(stat) if self.is_anybody_inside(&names, &node, stat.czxid).await? => {
                    Door::Open { since: stat.czxid }
                }
                Some(_) => Door::LeftOpen,
                None => Door::Shut,
            };
            match way_in(&names, node.name(), door, self.members) {
                WayIn::Gone => return Err(RecipeError::Evicted),
                WayIn::In => break,
                WayIn::Late { since } if since < node.czxid() => {
                    if self.mark(&node, since).await? {
                        break;
                    }
                }
                // It is one of those for whom the door was opened.
                WayIn::Late { .. } => break,
                WayIn::Open => match through_losses(|| self.client.create(Create::new(&ready, b""))).await {
                    Ok(_) | Err(Error::Refused(ErrorCode::NodeExists)) => break,
                    Err(error) => return Err(error.into()),
                },
                WayIn::Close => self.close(&names, &node).await?,
                WayIn::Wait => match opened.await {
                    // It was open, though somebody may have closed it already.
                    Ok(event) if event.kind == EventType::NodeCreated => break,
                    Ok(_) => {}
                    Err(end) => {
                        if let Some(error) = end.session_error() {
                            return Err(error.into());
                        }
                    }
                },
            }
        }
        Ok(Inside { barrier: self.clone(), node })
    }

    /// As [`DoubleBarrier::enter`], but no longer than this: then `None`, and this member has not come.
    pub async fn enter_within(&self, patience: Duration) -> Result<Option<Inside>, RecipeError> {
        // The future that is dropped cleans up.
        tokio::time::timeout(patience, self.enter()).await.ok().transpose()
    }

    /// Whether anybody else is behind a door, as far as that can be told.
    async fn is_anybody_inside(
        &self,
        names: &[String],
        node: &ProtectedNode,
        since: Zxid,
    ) -> Result<bool, Error> {
        for name in names.iter().filter(|&name| name != READY && name != node.name()) {
            let path = child_path(&self.path, name);
            let stat = through_losses(|| self.client.exists(&path)).await?;
            if stat.is_some_and(|stat| is_inside(name, &stat, since)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Marks the node of a member who comes in late. False if the door has closed, and this one does not come in.
    async fn mark(&self, node: &ProtectedNode, since: Zxid) -> Result<bool, RecipeError> {
        let path = node.path();
        match through_losses(|| self.client.set(&path, &self.data, Version::Any)).await {
            Ok(_) => Ok(self.opening().await? == Some(since)),
            Err(Error::Refused(ErrorCode::NoNode)) => Err(RecipeError::Evicted),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes a door that nobody has come through who is there, unless one of those comes in late meanwhile.
    async fn close(&self, names: &[String], node: &ProtectedNode) -> Result<(), Error> {
        let others = names.iter().filter(|&name| name != READY && name != node.name());
        let unmarked = others
            .fold(Multi::new(), |multi, name| multi.check(child_path(&self.path, name), Version::Is(0)));
        match self.client.multi(unmarked.delete(self.ready(), Version::Any)).await {
            // If it was not closed, something has changed, or the connection was lost: the next look tells. Once more might
            // close another door.
            Ok(_) | Err(Error::MultiRefused { .. } | Error::ConnectionLost(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn ready(&self) -> String {
        child_path(&self.path, READY)
    }

    /// The transaction that opened the barrier, if it is open.
    async fn opening(&self) -> Result<Option<Zxid>, Error> {
        let ready = self.ready();
        Ok(through_losses(|| self.client.exists(&ready)).await?.map(|stat| stat.czxid))
    }
}

impl Inside {
    /// The path of the membership's node.
    pub fn path(&self) -> String {
        self.node.path()
    }

    /// Waits until the membership is lost, or can no longer be relied upon: others may leave without it. Cancel-safe:
    /// called again it says so again, as long as it is so.
    pub async fn lost(&self) -> Lost {
        self.node.lost().await
    }

    /// Leaves, and waits until the others leave too.
    ///
    /// Cancel-safe: dropping the future leaves without waiting. When it fails although the session lives, leaving goes on
    /// in the background.
    pub async fn leave(self) -> Result<(), Error> {
        let Inside { barrier, node } = self;
        let (client, path) = (&barrier.client, &barrier.path);
        let opening = barrier.opening().await?;
        let own = node.name().to_owned();
        let mut node = Some(node);
        // Those who are inside now. Who comes later may come for the next round.
        let mut companions: Option<BTreeSet<String>> = None;
        loop {
            let present = members(children(client, path).await?);
            if !present.contains(&own) {
                // Somebody has deleted it.
                node = None;
            }
            let companions = companions
                .get_or_insert_with(|| present.iter().filter(|&name| *name != own).cloned().collect());
            companions.retain(|name| present.contains(name));
            let other = match (way_out(&own, node.is_some(), companions), node.take()) {
                (WayOut::Last, Some(node)) => return node.delete_with(&barrier.ready()).await,
                (WayOut::Step, Some(node)) => {
                    node.delete().await?;
                    continue;
                }
                (WayOut::Await(other), still_in) => {
                    node = still_in;
                    child_path(path, other)
                }
                (WayOut::Done | WayOut::Last | WayOut::Step, _) => break,
            };
            // A read, which leaves no watch behind when the node has gone meanwhile.
            match through_losses(|| client.get_and_watch(&other)).await {
                Ok((_, _, changed)) => fired(changed).await?,
                Err(Error::Refused(ErrorCode::NoNode)) => {}
                Err(error) => return Err(error),
            }
        }
        // Usually the last one has closed the door; unless its session is what has ended.
        if opening.is_some() && barrier.opening().await? == opening {
            delete(client, &barrier.ready()).await?;
        }
        Ok(())
    }

    /// As [`Inside::leave`], but waits no longer than this for the others: then `false`. This member has left all the
    /// same.
    pub async fn leave_within(self, patience: Duration) -> Result<bool, Error> {
        match tokio::time::timeout(patience, self.leave()).await {
            Ok(result) => result.map(|()| true),
            // The future that is dropped cleans up.
            Err(_) => Ok(false),
        }
    }
}

/// The door, as somebody who wants in sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Door {
    Shut,
    /// Somebody is inside.
    Open {
        /// The transaction that opened it.
        since: Zxid,
    },
    /// Whoever came through it is not there any more.
    LeftOpen,
}

/// Whether a member is behind a door that was opened by some transaction: it was there by then, or came in late, which
/// members of ours say by setting their data. Others do not say it; it is assumed.
fn is_inside(name: &str, stat: &Stat, since: Zxid) -> bool {
    stat.czxid < since || stat.version > 0 || !name.contains(STEM)
}

/// What somebody does who wants in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WayIn {
    /// Somebody has deleted the member's node.
    Gone,
    /// Go in.
    In,
    /// Go in where others are inside already, who will wait for all the others when leaving: also for this one.
    Late {
        since: Zxid,
    },
    /// There are enough: open the door for all.
    Open,
    /// The door was left open by others, none of whom is there any more.
    Close,
    Wait,
}

fn way_in(names: &[String], own: &str, door: Door, threshold: usize) -> WayIn {
    if !names.iter().any(|name| name == own) {
        return WayIn::Gone;
    }
    let count = names.iter().filter(|name| *name != READY).count();
    match door {
        Door::Open { .. } | Door::LeftOpen if threshold <= 1 => WayIn::In,
        Door::Open { since } => WayIn::Late { since },
        Door::LeftOpen => WayIn::Close,
        Door::Shut if count >= threshold => WayIn::Open,
        Door::Shut => WayIn::Wait,
    }
}

/// What somebody does who wants out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WayOut<'a> {
    /// Delete the own node, and close the door.
    Last,
    /// Delete the own node.
    Step,
    /// Wait until this one has gone, then look again.
    Await(&'a str),
    Done,
}

/// The first by name stays inside until all others have gone, and the others wait until it has.
fn way_out<'a>(own: &str, is_inside: bool, others: &'a BTreeSet<String>) -> WayOut<'a> {
    match (is_inside, others.first(), others.last()) {
        (true, Some(first), Some(last)) if own < first.as_str() => WayOut::Await(last),
        (true, Some(_), Some(_)) => WayOut::Step,
        (true, ..) => WayOut::Last,
        (false, Some(first), _) => WayOut::Await(first),
        (false, None, _) => WayOut::Done,
    }
}

fn members(names: Vec<String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| name != READY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_door_opens_when_enough_are_there_and_not_earlier() {
        let shut = |all: &[&str], threshold| way_in(&names(all), "b", Door::Shut, threshold);
        assert_eq!(shut(&["a", "b"], 3), WayIn::Wait);
        assert_eq!(shut(&["a", "b", "c"], 3), WayIn::Open);
        assert_eq!(shut(&["a", "b", "c", "d"], 3), WayIn::Open);
        assert_eq!(shut(&["a", "b", "ready"], 3), WayIn::Wait, "a door is no member");
        assert_eq!(shut(&["a", "c"], 2), WayIn::Gone);
    }

    #[test]
    fn who_comes_late_goes_in_unless_nobody_is_inside() {
        let since = Zxid::from_wire(7);
        let both = names(&["a", "b", "ready"]);
        assert_eq!(way_in(&both, "b", Door::Open { since }, 3), WayIn::Late { since });
        assert_eq!(way_in(&both, "b", Door::LeftOpen, 3), WayIn::Close);
        assert_eq!(way_in(&both, "b", Door::LeftOpen, 2), WayIn::Close);
        assert_eq!(way_in(&both, "b", Door::LeftOpen, 1), WayIn::In);
        assert_eq!(way_in(&both, "c", Door::LeftOpen, 1), WayIn::Gone);
    }

    #[test]
    fn inside_is_who_was_there_when_the_door_opened_or_says_so_or_cannot() {
        let (ours, theirs) = ("_c_1-member-0000000001", "6f1c1d0e-3b5e-4f4e-8f2b-0d8f7a0c9a11");
        let stat = |czxid, version| Stat { czxid: Zxid::from_wire(czxid), version, ..Stat::default() };
        let is_inside = |name, stat| is_inside(name, &stat, Zxid::from_wire(7));
        assert!(is_inside(ours, stat(6, 0)));
        assert!(!is_inside(ours, stat(8, 0)));
        assert!(is_inside(ours, stat(8, 1)));
        assert!(is_inside(theirs, stat(8, 0)));
    }

    #[test]
    fn whatever_the_order_of_leaving_all_get_out_and_nobody_waits_for_oneself() {
        // Each in turn does what it can, in every rotation of who begins.
        let all = names(&["a", "b", "c", "d"]);
        for rotation in 0..all.len() {
            let mut inside: BTreeSet<String> = all.iter().cloned().collect();
            let mut done = BTreeSet::new();
            for turn in 0..20 {
                let own = &all[(turn + rotation) % all.len()];
                let others: BTreeSet<String> = inside.iter().filter(|name| *name != own).cloned().collect();
                match way_out(own, inside.contains(own), &others) {
                    WayOut::Last => {
                        inside.remove(own);
                        done.insert(own);
                    }
                    WayOut::Step => drop(inside.remove(own)),
                    WayOut::Await(other) => assert!(inside.contains(other) && other != own),
                    WayOut::Done => {
                        assert!(inside.is_empty(), "who is done has seen all leave");
                        done.insert(own);
                    }
                }
            }
            assert_eq!(done.len(), all.len());
        }
    }
}
