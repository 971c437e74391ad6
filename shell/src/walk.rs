//! A walk through a subtree, with bounded memory and bounded requests under way.
//!
//! Nodes come parents first, siblings by name. A tree that others change meanwhile is seen as a walker sees it: a node that
//! vanishes in front of it is left out, one that appears behind it, too.

use std::collections::VecDeque;
use std::vec::IntoIter;

use ferrokeeper_client::{Acl, Advice, Call, Client, Error, ErrorCode, Stat, child_path};

use crate::failure::Failure;

/// Nodes that are asked for ahead of the walker, on all levels together, besides one for each level. Their data may be as
/// long as servers take (a MiB), so that this is also what bounds memory, besides the names of the siblings on the way.
const ASKED_MAX: usize = 64;
/// How often a read is repeated that got no answer: enough for an election, and it changes nothing.
const ATTEMPTS: usize = 5;

/// What is to be known of each node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wants {
    /// Its stat.
    Stat,
    /// Its data, too.
    Data,
    /// And its ACL.
    DataAndAcl,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its path.
    pub path: String,
    /// How far below the first one.
    pub depth: usize,
    /// Whether it is the last of its siblings, as far as that is known.
    pub is_last: bool,
    /// Its stat, of the same moment as the data.
    pub stat: Stat,
    /// Its data, if that is wanted, and not null.
    pub data: Option<Vec<u8>>,
    /// Its ACL, if that is wanted.
    pub acl: Vec<Acl>,
}

/// What a walker comes across.
#[derive(Clone, Debug)]
pub enum Step {
    /// A node.
    Node(Box<Node>),
    /// A node that may not be read, and therefore nothing below it.
    Unreadable(String, ErrorCode),
}

/// A walk.
pub struct Walk<'c> {
    client: &'c Client,
    wants: Wants,
    depth_max: usize,
    /// From the first node's level downwards.
    levels: Vec<Level>,
    /// The node whose children come next.
    below: Option<(String, usize)>,
}

struct Level {
    parent: Option<String>,
    names: IntoIter<String>,
    asked: VecDeque<Question>,
}

struct Question {
    path: String,
    calls: Calls,
}

/// What was asked about a node.
enum Calls {
    Stat(Call<Option<Stat>>),
    Data(Call<(Option<Vec<u8>>, Stat)>),
    DataAndAcl(Call<(Option<Vec<u8>>, Stat)>, Call<(Vec<Acl>, Stat)>),
}

type Answer = (Option<Vec<u8>>, Stat, Vec<Acl>);

impl<'c> Walk<'c> {
    /// A walk from a node, which must exist and be readable, down to some depth below it.
    pub fn from(client: &'c Client, path: &str, wants: Wants, depth_max: Option<usize>) -> Walk<'c> {
        let level = Level { parent: None, names: vec![path.to_owned()].into_iter(), asked: VecDeque::new() };
        let depth_max = depth_max.unwrap_or(usize::MAX);
        Walk { client, wants, depth_max, levels: vec![level], below: None }
    }

    /// Leaves out what is below the node that came last.
    pub fn skip_children(&mut self) {
        self.below = None;
    }

    /// The next node; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Step>, Failure> {
        loop {
            if let Some((path, depth)) = self.below.take()
                && let Some(code) = self.descend(path.clone(), depth).await?
            {
                return Ok(Some(Step::Unreadable(path, code)));
            }
            self.ask_ahead();
            let depth = self.levels.len().saturating_sub(1);
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(Question { path, calls }) = level.asked.pop_front() else {
                self.levels.pop();
                continue;
            };
            let is_last = level.asked.is_empty() && level.names.len() == 0;
            match answered(self.client, &path, self.wants, calls).await {
                Ok((data, stat, acl)) => {
                    if stat.children > 0 && depth < self.depth_max {
                        self.below = Some((path.clone(), depth));
                    }
                    return Ok(Some(Step::Node(Box::new(Node { path, depth, is_last, stat, data, acl }))));
                }
                Err(Error::Refused(ErrorCode::NoNode)) if depth > 0 => {}
                Err(Error::Refused(code @ ErrorCode::NoAuth)) if depth > 0 => {
                    return Ok(Some(Step::Unreadable(path, code)));
                }
                Err(error) => return Err(Failure::of(&error, Some(&path))),
            }
        }
    }

    /// Goes down to a node's children. Returns why they cannot be read.
    async fn descend(&mut self, path: String, depth: usize) -> Result<Option<ErrorCode>, Failure> {
        debug_assert_eq!(depth + 1, self.levels.len(), "only the node that came last can be gone below");
        let mut names = match again(|| self.client.children(&path)).await {
            Ok(names) => names,
            Err(Error::Refused(ErrorCode::NoNode)) => return Ok(None),
            Err(Error::Refused(code @ ErrorCode::NoAuth)) => return Ok(Some(code)),
            Err(error) => return Err(Failure::of(&error, Some(&path))),
        };
        names.sort_unstable();
        self.levels.push(Level { parent: Some(path), names: names.into_iter(), asked: VecDeque::new() });
        Ok(None)
    }

    /// Keeps requests under way for the level that is walked; each level takes half of what those above have left, so that
    /// some remain for those below.
    fn ask_ahead(&mut self) {
        let Some((level, above)) = self.levels.split_last_mut() else { return };
        let taken: usize = above.iter().map(|level| level.asked.len()).sum();
        let most = (ASKED_MAX.saturating_sub(taken) / 2).max(1);
        while level.asked.len() < most
            && let Some(name) = level.names.next()
        {
            let path = level.parent.as_ref().map_or_else(|| name.clone(), |parent| child_path(parent, &name));
            let calls = ask(self.client, &path, self.wants);
            level.asked.push_back(Question { path, calls });
        }
    }
}

fn ask(client: &Client, path: &str, wants: Wants) -> Calls {
    match wants {
        Wants::Stat => Calls::Stat(client.exists(path)),
        Wants::Data => Calls::Data(client.get_or_null(path)),
        Wants::DataAndAcl => Calls::DataAndAcl(client.get_or_null(path), client.get_acl(path)),
    }
}

/// The answer to what was asked about a node; if there was none, to what is asked then.
async fn answered(client: &Client, path: &str, wants: Wants, calls: Calls) -> Result<Answer, Error> {
    let mut calls = Some(calls);
    again(|| settle(calls.take().unwrap_or_else(|| ask(client, path, wants)))).await
}

async fn settle(calls: Calls) -> Result<Answer, Error> {
    match calls {
        Calls::Stat(stat) => {
            let stat = stat.await?.ok_or(Error::Refused(ErrorCode::NoNode))?;
            Ok((None, stat, Vec::new()))
        }
        Calls::Data(data) => {
            let (data, stat) = data.await?;
            Ok((data, stat, Vec::new()))
        }
        Calls::DataAndAcl(data, acl) => {
            let (data, stat) = data.await?;
            Ok((data, stat, acl.await?.0))
        }
    }
}

/// Asks again while there is no answer.
async fn again<T, F>(mut ask: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut attempt = 1;
    loop {
        match ask().await {
            Err(error) if error.advice() == Advice::Retry && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}
