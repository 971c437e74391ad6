//! The numbers of the operations (`ZooDefs.OpCode`).

macro_rules! op_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal $short:literal,)+) => {
        /// An operation that a client may ask for.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(i32)]
        pub enum OpCode { $($(#[doc = $doc])+ $name = $value,)+ }

        impl OpCode {
            /// Every operation, in the order of the table.
            pub const ALL: &[OpCode] = &[$(OpCode::$name,)+];

            /// The operation for a number on the wire.
            pub fn from_wire(value: i32) -> Option<OpCode> {
                match value { $($value => Some(OpCode::$name),)+ _ => None }
            }

            /// The four or so letters that `cons` prints for it (`Request.op2String`'s short form).
            pub fn short_name(self) -> &'static str {
                match self { $(OpCode::$name => $short,)+ }
            }
        }
    };
}

op_codes! {
    /// Close the session.
    CloseSession = -11 "CLOS",
    /// Open a session; internal, never accepted from a client.
    CreateSession = -10 "SESS",
    /// Create a node, reply with its path.
    Create = 1 "CREA",
    /// Delete a node.
    Delete = 2 "DELE",
    /// Ask whether a node exists.
    Exists = 3 "EXIS",
    /// Read a node's data.
    GetData = 4 "GETD",
    /// Change a node's data.
    SetData = 5 "SETD",
    /// Read a node's ACL.
    GetAcl = 6 "GETA",
    /// Change a node's ACL.
    SetAcl = 7 "SETA",
    /// List a node's children.
    GetChildren = 8 "GETC",
    /// Catch up with the leader.
    Sync = 9 "SYNC",
    /// Keep the session alive.
    Ping = 11 "PING",
    /// List a node's children and its stat.
    GetChildren2 = 12 "GETC",
    /// Check a version; only inside a multi.
    Check = 13 "CHEC",
    /// Several writes, all or none.
    Multi = 14 "MULT",
    /// Create a node, reply with its path and stat.
    Create2 = 15 "CREA",
    /// Change the ensemble.
    Reconfig = 16 "RECO",
    /// Ask whether a watch is set.
    CheckWatches = 17 "CHKW",
    /// Remove a watch.
    RemoveWatches = 18 "REMW",
    /// Create a container node.
    CreateContainer = 19 "CREA",
    /// Delete an empty container or TTL node; internal, never accepted from a client.
    DeleteContainer = 20 "DELC",
    /// Create a node that dies when it is unused for long enough.
    CreateTtl = 21 "CREA",
    /// Several reads.
    MultiRead = 22 "MLTR",
    /// Present credentials.
    Auth = 100 "AUTH",
    /// Set watches again after a reconnection.
    SetWatches = 101 "SETW",
    /// One step of a SASL exchange.
    Sasl = 102 "SASL",
    /// List the session's ephemeral nodes.
    GetEphemerals = 103 "GETE",
    /// Count a node's descendants.
    GetAllChildrenNumber = 104 "GETACN",
    /// Set watches again, persistent ones too.
    SetWatches2 = 105 "STW2",
    /// Set a persistent watch.
    AddWatch = 106 "ADDW",
    /// List the identities of the connection.
    WhoAmI = 107 "HOMI",
}

impl OpCode {
    /// The number on the wire.
    pub const fn to_wire(self) -> i32 {
        self as i32
    }

    /// Whether the operation changes the tree or the sessions, and so takes a zxid.
    pub fn is_write(self) -> bool {
        use OpCode::*;
        matches!(
            self,
            CloseSession
                | CreateSession
                | Create
                | Delete
                | SetData
                | SetAcl
                | Multi
                | Create2
                | Reconfig
                | CreateContainer
                | DeleteContainer
                | CreateTtl
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_survives_the_wire() {
        for &op in OpCode::ALL {
            assert_eq!(OpCode::from_wire(op.to_wire()), Some(op));
        }
        assert_eq!(OpCode::from_wire(10), None);
        assert_eq!(OpCode::from_wire(500), None);
    }
}
