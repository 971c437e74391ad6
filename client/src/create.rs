//! What kind of node to create.

use std::time::Duration;

use protocol::acl::write_acls;
use protocol::client::request::{CreateFlags, CreateRequest};
use protocol::jute::Reader;
use protocol::{Acl, AclSlice, OpCode, Stat};

use crate::error::{Error, InvalidRequest};
use crate::namespace::Namespace;

/// The longest TTL of a node: 40 bits of milliseconds, almost 35 years.
pub const TTL_MAX: Duration = Duration::from_millis(0xff_ffff_ffff);

/// How long a node lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lifetime {
    /// Until it is deleted.
    Persistent,
    /// Until it is deleted or the session ends. It cannot have children.
    Ephemeral,
    /// Until it is deleted, or some time after its last child was. It cannot be sequential.
    Container,
    /// Until it is deleted, or this long after its last change while it has no children: a millisecond to
    /// [`TTL_MAX`]. Java's servers must be told to allow it (`extendedTypesEnabled`).
    Ttl(Duration),
}

/// Who chooses a node's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Naming {
    /// The caller.
    Plain,
    /// The server appends a number of ten digits that grows with every node of the parent.
    Sequential,
}

/// A node to be created: persistent, plainly named and open to all, unless told otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "this describes a node; give it to Client::create or Multi::create"]
pub struct Create {
    path: String,
    data: Option<Vec<u8>>,
    lifetime: Lifetime,
    naming: Naming,
    acl: Option<Vec<Acl>>,
}

/// A node that was created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// Its path, with the number of a sequential node.
    pub path: String,
    /// Its stat. `czxid` is a fencing token: it grows with every node that is created.
    pub stat: Stat,
}

impl Create {
    /// A node with some data. The path of a sequential node is the beginning of its name.
    pub fn new(path: impl Into<String>, data: impl Into<Vec<u8>>) -> Create {
        let (lifetime, naming) = (Lifetime::Persistent, Naming::Plain);
        Create { path: path.into(), data: Some(data.into()), lifetime, naming, acl: None }
    }

    /// A node whose data is null, which is not the same as empty to those who look ([`Client::get_or_null`]).
    ///
    /// [`Client::get_or_null`]: crate::Client::get_or_null
    pub fn null(path: impl Into<String>) -> Create {
        Create { data: None, ..Create::new(path, Vec::new()) }
    }

    /// How long the node lives.
    pub fn lifetime(self, lifetime: Lifetime) -> Create {
        Create { lifetime, ..self }
    }

    /// Who chooses its name.
    pub fn naming(self, naming: Naming) -> Create {
        Create { naming, ..self }
    }

    /// [`Lifetime::Ephemeral`].
    pub fn ephemeral(self) -> Create {
        self.lifetime(Lifetime::Ephemeral)
    }

    /// [`Lifetime::Container`].
    pub fn container(self) -> Create {
        self.lifetime(Lifetime::Container)
    }

    /// [`Lifetime::Ttl`].
    pub fn ttl(self, ttl: Duration) -> Create {
        self.lifetime(Lifetime::Ttl(ttl))
    }

    /// [`Naming::Sequential`].
    pub fn sequential(self) -> Create {
        self.naming(Naming::Sequential)
    }

    /// Who may do what with the node; without it, everybody everything.
    pub fn acl(self, acl: impl Into<Vec<Acl>>) -> Create {
        Create { acl: Some(acl.into()), ..self }
    }

    /// Checks it and gives it to `send`.
    pub(crate) fn with_request<R>(
        &self,
        namespace: &Namespace,
        send: impl FnOnce(CreateRequest<'_>) -> R,
    ) -> Result<R, Error> {
        use CreateFlags::*;
        use Lifetime as L;
        use Naming as N;
        let (flags, op) = match (self.lifetime, self.naming) {
            (L::Persistent, N::Plain) => (Persistent, OpCode::Create2),
            (L::Persistent, N::Sequential) => (PersistentSequential, OpCode::Create2),
            (L::Ephemeral, N::Plain) => (Ephemeral, OpCode::Create2),
            (L::Ephemeral, N::Sequential) => (EphemeralSequential, OpCode::Create2),
            (L::Container, N::Plain) => (Container, OpCode::CreateContainer),
            (L::Container, N::Sequential) => return Err(InvalidRequest::SequentialContainer.into()),
            (L::Ttl(_), N::Plain) => (PersistentWithTtl, OpCode::CreateTtl),
            (L::Ttl(_), N::Sequential) => (PersistentSequentialWithTtl, OpCode::CreateTtl),
        };
        let ttl_ms = match self.lifetime {
            L::Ttl(ttl) => ttl_ms(ttl)?,
            L::Persistent | L::Ephemeral | L::Container => -1,
        };
        let path = match self.naming {
            N::Plain => namespace.full(&self.path)?,
            N::Sequential => namespace.full_sequential(&self.path)?,
        };
        let mut acl_bytes = Vec::new();
        let acl = match &self.acl {
            None => AclSlice::OPEN,
            Some(acl) => encode_acl(acl, &mut acl_bytes),
        };
        let data = self.data.as_deref();
        Ok(send(CreateRequest { op, path, data, acl, flags: flags as i32, ttl_ms }))
    }
}

/// Encodes a list of ACLs into a buffer of its own.
pub(crate) fn encode_acl<'b>(acl: &[Acl], buffer: &'b mut Vec<u8>) -> AclSlice<'b> {
    write_acls(buffer, acl);
    AclSlice::read(&mut Reader::new(buffer)).expect("what was just encoded can be read")
}

fn ttl_ms(ttl: Duration) -> Result<i64, Error> {
    let in_range = ttl <= TTL_MAX && !ttl.is_zero() && ttl.subsec_nanos().is_multiple_of(1_000_000);
    match in_range {
        true => Ok(ttl.as_millis() as i64),
        false => Err(InvalidRequest::Ttl(ttl).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(create: Create) -> Result<(OpCode, i32, i64), Error> {
        create.with_request(&Namespace::default(), |request| (request.op, request.flags, request.ttl_ms))
    }

    #[test]
    fn every_combination_is_the_protocols_or_refused() {
        let node = || Create::new("/a", b"");
        let ttl = Duration::from_millis(5);
        assert_eq!(wire(node()), Ok((OpCode::Create2, 0, -1)));
        assert_eq!(wire(node().ephemeral()), Ok((OpCode::Create2, 1, -1)));
        assert_eq!(wire(node().sequential()), Ok((OpCode::Create2, 2, -1)));
        assert_eq!(wire(node().ephemeral().sequential()), Ok((OpCode::Create2, 3, -1)));
        assert_eq!(wire(node().container()), Ok((OpCode::CreateContainer, 4, -1)));
        assert_eq!(wire(node().ttl(ttl)), Ok((OpCode::CreateTtl, 5, 5)));
        assert_eq!(wire(node().ttl(ttl).sequential()), Ok((OpCode::CreateTtl, 6, 5)));
        let refused = Err(Error::Invalid(InvalidRequest::SequentialContainer));
        assert_eq!(wire(node().container().sequential()), refused);
    }

    #[test]
    fn a_ttl_is_whole_milliseconds_within_forty_bits() {
        for ttl in [Duration::ZERO, Duration::from_nanos(1_000_001), TTL_MAX + Duration::from_millis(1)] {
            assert_eq!(wire(Create::new("/a", b"").ttl(ttl)), Err(Error::Invalid(InvalidRequest::Ttl(ttl))));
        }
        assert!(wire(Create::new("/a", b"").ttl(TTL_MAX)).is_ok());
    }
}
