//! `txn`: several operations that happen all at once, or not at all.
//!
//! They stand behind `txn`, one a word, or on the lines that follow, up to `commit` or `abort`. An operation that makes no
//! sense keeps the whole from being committed: what follows was typed for all of them.

use ferrokeeper_client::{Create, Error, Multi, Outcome as Done, Version};
use serde_json::{Value, json};

use crate::catalogue::{Command, find};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::json;
use crate::line;
use crate::nodes;
use crate::options::{self, Flag, valued};

/// Bytes of the operations' lines: about what a server takes in a request.
const BYTES_MAX: usize = 1 << 20;
const CHECK: &[Flag] = &[valued("v", "version")];

#[derive(Clone, PartialEq, Eq, Debug)]
enum Operation {
    Create(Create, String),
    Delete(String, Version),
    Set(String, Vec<u8>, Version),
    Check(String, Version),
}

impl Operation {
    fn parse(text: &str) -> Result<Operation, Failure> {
        let words = line::words(text);
        let name = words.first().map_or("", String::as_str);
        if name == "check" {
            let parsed = options::parse(CHECK, options::Choice::Free, &words)?;
            let path = parsed.argument(0).ok_or_else(|| Failure::new("check [-v version] path"))?;
            return Ok(Operation::Check(path.to_owned(), nodes::version(parsed.value("v"))?));
        }
        let refused = || Failure::new(format!("{name} is none of create, set, delete and check"));
        let entry = find(name).ok_or_else(refused)?;
        let parsed = options::parse(entry.flags, entry.choice, &words)?;
        let path = || parsed.argument(0).map(str::to_owned).ok_or_else(|| Failure::new(entry.usage()));
        match entry.command {
            Command::Create => {
                let (node, complaints) = nodes::described(entry, &parsed)?;
                match complaints.into_iter().next() {
                    Some(complaint) => Err(Failure::new(complaint)),
                    None => Ok(Operation::Create(node, path()?)),
                }
            }
            Command::Delete => Ok(Operation::Delete(path()?, nodes::version(parsed.value("v"))?)),
            Command::Set => {
                let data = nodes::data_to_set(entry, &parsed)?;
                Ok(Operation::Set(path()?, data, nodes::version(parsed.value("v"))?))
            }
            _ => Err(refused()),
        }
    }

    fn path(&self) -> &str {
        match self {
            Operation::Create(_, path)
            | Operation::Delete(path, _)
            | Operation::Set(path, ..)
            | Operation::Check(path, _) => path,
        }
    }

    fn add_to(&self, multi: Multi) -> Multi {
        match self {
            Operation::Create(create, _) => multi.create(create.clone()),
            Operation::Delete(path, version) => multi.delete(path, *version),
            Operation::Set(path, data, version) => multi.set(path, data.as_slice(), *version),
            Operation::Check(path, version) => multi.check(path, *version),
        }
    }
}

/// A transaction that is being typed.
#[derive(Debug, Default)]
pub struct Draft {
    operations: Vec<Operation>,
    bytes: usize,
    /// The operation, counted from 1, that keeps it from being committed.
    broken: Option<usize>,
}

impl Draft {
    /// Adds an operation.
    pub fn add(&mut self, text: &str) -> Outcome {
        let number = self.operations.len() + 1;
        if let Some(number) = self.broken {
            return Err(Failure::new(format!("operation {number} makes no sense: only abort can follow")));
        }
        self.bytes += text.len();
        let operation = match self.bytes > BYTES_MAX {
            true => Err(Failure::new(format!("more than {BYTES_MAX} bytes of operations"))),
            false => Operation::parse(text),
        };
        match operation {
            Ok(operation) => {
                self.operations.push(operation);
                Ok(())
            }
            Err(failure) => {
                self.broken = Some(number);
                Err(Failure { message: format!("operation {number}: {}", failure.message), ..failure })
            }
        }
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Has it carried out.
    pub async fn commit(&self, context: &Context<'_>) -> Outcome {
        if let Some(number) = self.broken {
            return Err(Failure::new(format!("operation {number} makes no sense: nothing is changed")));
        }
        if self.operations.is_empty() {
            return Ok(());
        }
        let client = context.clients().await.here;
        let multi = self.operations.iter().fold(Multi::new(), |multi, operation| operation.add_to(multi));
        let done = client.multi(multi).await.map_err(|error| self.undone(&error))?;
        let mut list = context.output.list("operations");
        for (at, (operation, done)) in self.operations.iter().zip(&done).enumerate() {
            list.push(|| told(at + 1, operation, done), || document(operation, done));
        }
        list.end(serde_json::Map::new());
        Ok(())
    }

    fn undone(&self, error: &Error) -> Failure {
        let Error::MultiRefused { index, .. } = error else {
            let mut failure = Failure::of(error, None);
            if error.may_have_happened() {
                failure.message += "; all of it may have happened, or nothing";
            }
            return failure;
        };
        let mut failure = Failure::of(error, self.operations.get(*index).map(Operation::path));
        failure.message = format!("operation {}: {}; nothing is changed", index + 1, failure.message);
        failure
    }
}

fn told(number: usize, operation: &Operation, done: &Done) -> String {
    match done {
        Done::Created { path, .. } => format!("{number} created {path}"),
        Done::Deleted => format!("{number} deleted {}", operation.path()),
        Done::Set(stat) => format!("{number} set {}, version {}", operation.path(), stat.version),
        Done::Checked => format!("{number} checked {}", operation.path()),
    }
}

fn document(operation: &Operation, done: &Done) -> Value {
    match done {
        Done::Created { path, stat } => {
            json!({ "done": "create", "path": path, "stat": stat.as_ref().map(json::stat) })
        }
        Done::Deleted => json!({ "done": "delete", "path": operation.path() }),
        Done::Set(stat) => json!({ "done": "set", "path": operation.path(), "stat": json::stat(stat) }),
        Done::Checked => json!({ "done": "check", "path": operation.path() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_typed_like_commands() {
        assert_eq!(
            Operation::parse("set -v 3 /a 'some data'").unwrap(),
            Operation::Set("/a".into(), b"some data".to_vec(), Version::Is(3))
        );
        assert_eq!(Operation::parse("check /a").unwrap(), Operation::Check("/a".into(), Version::Any));
        assert_eq!(
            Operation::parse("create -e -s /a-").unwrap(),
            Operation::Create(Create::null("/a-").sequential().ephemeral(), "/a-".into())
        );
        for (line, begin) in [
            ("", " is none of"),
            ("ls /", "ls is none of"),
            ("nonsense", "nonsense is none of"),
            ("check", "check [-v version] path"),
            ("delete", "delete [-v version] path"),
            ("set /a", "set path data"),
            ("create /a x world:anyone:q", "Unknown perm type"),
            ("create -x /a", "org.apache.commons.cli.Unrecognized"),
        ] {
            let told = Operation::parse(line).unwrap_err().message;
            assert!(told.starts_with(begin), "{line}: {told}");
        }
    }

    #[test]
    fn what_follows_an_operation_that_makes_no_sense_is_not_taken() {
        let mut draft = Draft::default();
        assert!(draft.add("create /a").is_ok());
        assert_eq!(
            draft.add("ls /").unwrap_err().message,
            "operation 2: ls is none of create, set, delete and check"
        );
        assert_eq!(
            draft.add("create /b").unwrap_err().message,
            "operation 2 makes no sense: only abort can follow"
        );
        assert_eq!(draft.len(), 1);
        assert!(Draft::default().add(&format!("create /a {}", "x".repeat(BYTES_MAX))).is_err());
    }
}
