//! Who may do what with a znode.

use std::fmt;

use crate::jute::{DecodeError, JuteWrite, Reader};

/// A set of permissions, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Perms(i32);

impl Perms {
    /// Read data and list children.
    pub const READ: Perms = Perms(1);
    /// Change data.
    pub const WRITE: Perms = Perms(2);
    /// Create children.
    pub const CREATE: Perms = Perms(4);
    /// Delete children.
    pub const DELETE: Perms = Perms(8);
    /// Change the ACL.
    pub const ADMIN: Perms = Perms(16);
    /// All five.
    pub const ALL: Perms = Perms(31);

    /// Wraps the bits; ZooKeeper does not check their range.
    pub const fn from_bits(bits: i32) -> Perms {
        Perms(bits)
    }

    /// The bits.
    pub const fn bits(self) -> i32 {
        self.0
    }

    /// Both sets together.
    pub const fn or(self, other: Perms) -> Perms {
        Perms(self.0 | other.0)
    }

    /// Whether the two sets share a permission.
    pub const fn intersects(self, other: Perms) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Display for Perms {
    /// Letters in the order `cdrwa`, as ZooKeeper's shell prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (perm, letter) in [
            (Perms::CREATE, 'c'),
            (Perms::DELETE, 'd'),
            (Perms::READ, 'r'),
            (Perms::WRITE, 'w'),
            (Perms::ADMIN, 'a'),
        ] {
            if self.intersects(perm) {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// Somebody: a scheme and a name within it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Id {
    /// `world`, `ip`, `digest`, `sasl`, `x509`, `auth`, `super`.
    pub scheme: String,
    /// The name within the scheme.
    pub id: String,
}

impl Id {
    /// Joins the two parts.
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Id {
        Id { scheme: scheme.into(), id: id.into() }
    }
}

/// One line of an access control list.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Acl {
    /// What may be done.
    pub perms: Perms,
    /// By whom.
    pub id: Id,
}

impl Acl {
    /// Everybody may do everything.
    pub fn open() -> Acl {
        Acl { perms: Perms::ALL, id: Id::new("world", "anyone") }
    }

    /// Everybody may read.
    pub fn read_only() -> Acl {
        Acl { perms: Perms::READ, id: Id::new("world", "anyone") }
    }
}

/// The encoded form of the list that nearly every znode has: `world:anyone:cdrwa`.
pub const OPEN_ACL_BYTES: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

/// An encoded list of ACLs, count included: checked for its form, decoded only by those who need to look inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AclSlice<'a>(&'a [u8]);

impl<'a> AclSlice<'a> {
    /// The list that nearly every znode has.
    pub const OPEN: AclSlice<'static> = AclSlice(OPEN_ACL_BYTES);

    /// Reads a list and checks its form.
    pub fn read(reader: &mut Reader<'a>) -> Result<AclSlice<'a>, DecodeError> {
        let start = reader.offset();
        for _ in 0..reader.count()?.unwrap_or(0) {
            reader.i32()?;
            reader.buffer()?;
            reader.buffer()?;
        }
        Ok(AclSlice(reader.since(start)))
    }

    /// The encoded bytes, count included.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether this is the open list, byte for byte.
    pub fn is_open(self) -> bool {
        self.0 == OPEN_ACL_BYTES
    }

    /// The entries; scheme and id may be null, which only the fix-up of a request forgives with a refusal.
    /// `None` for a null list.
    pub fn entries(self) -> Result<Option<Vec<RawAcl<'a>>>, DecodeError> {
        let mut reader = Reader::new(self.0);
        let Some(count) = reader.count()? else {
            return Ok(None);
        };
        let mut entries = Vec::with_capacity(count.min(reader.left() / 12));
        for _ in 0..count {
            entries.push(RawAcl {
                perms: Perms(reader.i32()?),
                scheme: reader.string()?,
                id: reader.string()?,
            });
        }
        Ok(Some(entries))
    }

    /// The entries as owned values, null strings read as empty; a null list as an empty one.
    pub fn to_vec(self) -> Result<Vec<Acl>, DecodeError> {
        Ok(self
            .entries()?
            .unwrap_or_default()
            .into_iter()
            .map(|entry| Acl {
                perms: entry.perms,
                id: Id::new(entry.scheme.unwrap_or_default(), entry.id.unwrap_or_default()),
            })
            .collect())
    }
}

/// An ACL entry as it came over the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawAcl<'a> {
    /// What may be done.
    pub perms: Perms,
    /// The scheme, if any.
    pub scheme: Option<std::borrow::Cow<'a, str>>,
    /// The id, if any.
    pub id: Option<std::borrow::Cow<'a, str>>,
}

/// Appends a list of ACLs.
pub fn write_acls(out: &mut Vec<u8>, acls: &[Acl]) {
    out.put_length(acls.len());
    for acl in acls {
        out.put_i32(acl.perms.0);
        out.put_str(&acl.id.scheme);
        out.put_str(&acl.id.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_list_is_encoded_as_java_does() {
        let mut out = Vec::new();
        write_acls(&mut out, &[Acl::open()]);
        assert_eq!(out, OPEN_ACL_BYTES);
        let slice = AclSlice::read(&mut Reader::new(&out)).unwrap();
        assert!(slice.is_open());
        assert_eq!(slice.to_vec().unwrap(), [Acl::open()]);
    }

    #[test]
    fn a_null_list_is_told_from_an_empty_one() {
        assert_eq!(AclSlice::read(&mut Reader::new(&[0xff; 4])).unwrap().entries(), Ok(None));
        assert_eq!(AclSlice::read(&mut Reader::new(&[0; 4])).unwrap().entries(), Ok(Some(vec![])));
    }

    #[test]
    fn permissions_print_as_in_the_shell() {
        assert_eq!(Perms::ALL.to_string(), "cdrwa");
        assert_eq!(Perms::READ.or(Perms::ADMIN).to_string(), "ra");
    }
}
