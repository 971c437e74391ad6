//! Several operations in one request.

use std::borrow::Cow;

use protocol::client::multi::{MultiHeader, MultiOp, write_op};
use protocol::client::response::{MultiResult, Response};
use protocol::{ErrorCode, Stat};

use crate::create::Create;
use crate::error::Error;
use crate::namespace::Namespace;
use crate::version::Version;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Create(Create),
    Delete(String, Version),
    Set(String, Vec<u8>, Version),
    Check(String, Version),
}

/// Writes that happen all at once, or not at all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use = "this describes a transaction; give it to Client::multi"]
pub struct Multi {
    steps: Vec<Step>,
}

/// What one operation of a [`Multi`] did. Stats are those right after the operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A node was created.
    Created {
        /// Its path, with the number of a sequential node.
        path: String,
        /// Its stat; Java's servers before 3.8.3 leave it out.
        stat: Option<Stat>,
    },
    /// A node was deleted.
    Deleted,
    /// Data was set.
    Set(Stat),
    /// A version was as expected.
    Checked,
}

impl Multi {
    /// Nothing yet.
    pub fn new() -> Multi {
        Multi::default()
    }

    fn with(mut self, step: Step) -> Multi {
        self.steps.push(step);
        self
    }

    /// Creates a node.
    pub fn create(self, create: Create) -> Multi {
        self.with(Step::Create(create))
    }

    /// Deletes a node without children.
    pub fn delete(self, path: impl Into<String>, version: Version) -> Multi {
        self.with(Step::Delete(path.into(), version))
    }

    /// Sets a node's data.
    pub fn set(self, path: impl Into<String>, data: impl Into<Vec<u8>>, version: Version) -> Multi {
        self.with(Step::Set(path.into(), data.into(), version))
    }

    /// Demands that a node exists and has a version.
    pub fn check(self, path: impl Into<String>, version: Version) -> Multi {
        self.with(Step::Check(path.into(), version))
    }

    /// Checks it and encodes the body.
    pub(crate) fn encode(&self, namespace: &Namespace) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        for step in &self.steps {
            match step {
                Step::Create(create) => {
                    create
                        .with_request(namespace, |request| write_op(&mut out, &MultiOp::Create(request)))?;
                }
                Step::Delete(path, version) => {
                    let op = MultiOp::Delete { path: namespace.full(path)?, version: version.to_wire()? };
                    write_op(&mut out, &op);
                }
                Step::Set(path, data, version) => {
                    let path = namespace.full(path)?;
                    let op = MultiOp::SetData { path, data: Some(data), version: version.to_wire()? };
                    write_op(&mut out, &op);
                }
                Step::Check(path, version) => {
                    let op = MultiOp::Check { path: namespace.full(path)?, version: version.to_wire()? };
                    write_op(&mut out, &op);
                }
            }
        }
        MultiHeader::END.write(&mut out);
        Ok(out)
    }
}

/// What became of a multi: all outcomes, or the refusal of the operation that undid all.
pub(crate) fn outcomes(response: Response, namespace: &Namespace) -> Result<Vec<Outcome>, Error> {
    let Response::Multi(results) = response else { unreachable!("a multi is answered as one") };
    let refusal = |code: i32| ErrorCode::from_wire(code).unwrap_or(ErrorCode::SystemError);
    // In front of the refused operation stand zeros, behind it stand operations that were not tried.
    for (index, result) in results.iter().enumerate() {
        if let MultiResult::Error(code) = result
            && *code != 0
        {
            return Err(Error::MultiRefused { index, code: refusal(*code) });
        }
    }
    results
        .into_iter()
        .enumerate()
        .map(|(index, result)| match result {
            MultiResult::Created { path, stat } => {
                Ok(Outcome::Created { path: namespace.strip_own(path), stat })
            }
            MultiResult::Deleted => Ok(Outcome::Deleted),
            MultiResult::DataSet(stat) => Ok(Outcome::Set(stat)),
            MultiResult::Checked => Ok(Outcome::Checked),
            // A server that undoes a multi names who is to blame, and one that does a write answers with a write's
            // result. One that does not is broken.
            MultiResult::Error(_) | MultiResult::Data(..) | MultiResult::Children(_) => {
                Err(Error::MultiRefused { index, code: ErrorCode::SystemError })
            }
        })
        .collect()
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum ReadStep {
    Get(String),
    Children(String),
}

/// Several reads in one request. Each has a result of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use = "this describes reads; give it to Client::multi_read"]
pub struct MultiRead {
    steps: Vec<ReadStep>,
}

/// What one read of a [`MultiRead`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// A node's data and stat.
    Data(Vec<u8>, Stat),
    /// The names of a node's children.
    Children(Vec<String>),
}

impl MultiRead {
    /// Nothing yet.
    pub fn new() -> MultiRead {
        MultiRead::default()
    }

    /// Reads a node's data.
    pub fn get(mut self, path: impl Into<String>) -> MultiRead {
        self.steps.push(ReadStep::Get(path.into()));
        self
    }

    /// Lists a node's children.
    pub fn children(mut self, path: impl Into<String>) -> MultiRead {
        self.steps.push(ReadStep::Children(path.into()));
        self
    }

    /// Checks it and encodes the body.
    pub(crate) fn encode(&self, namespace: &Namespace) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        for step in &self.steps {
            let full = |path| -> Result<Cow<'_, str>, Error> { namespace.full(path) };
            let op = match step {
                ReadStep::Get(path) => MultiOp::GetData { path: full(path)? },
                ReadStep::Children(path) => MultiOp::GetChildren { path: full(path)? },
            };
            write_op(&mut out, &op);
        }
        MultiHeader::END.write(&mut out);
        Ok(out)
    }
}

/// What every read found, or why it did not.
pub(crate) fn read_outcomes(response: Response) -> Vec<Result<ReadOutcome, ErrorCode>> {
    let Response::Multi(results) = response else { unreachable!("a multiRead is answered as one") };
    let outcome = |result| match result {
        MultiResult::Data(data, stat) => Ok(ReadOutcome::Data(data.unwrap_or_default(), stat)),
        MultiResult::Children(names) => Ok(ReadOutcome::Children(names)),
        MultiResult::Error(code) => Err(ErrorCode::from_wire(code).unwrap_or(ErrorCode::SystemError)),
        // A write's result for a read: the server is broken.
        MultiResult::Created { .. }
        | MultiResult::Deleted
        | MultiResult::DataSet(_)
        | MultiResult::Checked => Err(ErrorCode::SystemError),
    };
    results.into_iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operation_that_undid_all_is_named() {
        let results = vec![MultiResult::Error(0), MultiResult::Error(-103), MultiResult::Error(-2)];
        assert_eq!(
            outcomes(Response::Multi(results), &Namespace::default()),
            Err(Error::MultiRefused { index: 1, code: ErrorCode::BadVersion })
        );
        assert_eq!(outcomes(Response::Multi(vec![]), &Namespace::default()), Ok(vec![]));
    }

    #[test]
    fn a_malformed_operation_keeps_the_whole_multi_here() {
        let multi = Multi::new().delete("/a", Version::Any).check("b", Version::Any);
        assert!(multi.encode(&Namespace::default()).is_err());
    }
}
