//! Who is who and who may do what: identities of connections, permissions of ACLs.
//!
//! Schemes: `world` (only `anyone`), `ip`, `digest`, and `auth` and `super` in their special roles. `sasl` and `x509`
//! are unknown here, as they are to a ZooKeeper without those providers: such ids are not accepted in new ACLs, and
//! those in old data match nobody.

mod digest;
mod fix_up;
mod ip;

pub use digest::DigestAlgorithm;

use protocol::acl::write_acls;
use protocol::{Acl, ErrorCode, Id, JuteWrite, Perms};

use crate::acl_table::AclList;

/// Identities that one connection may collect; more is refused like wrong credentials. Real applications have one or
/// two; 1,000 of them are about 100 KB and bound the time of a permission check.
pub const IDS_PER_CONNECTION_MAX: usize = 1_000;

/// How the server was configured to authorize. The same on all servers of an ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthRules {
    /// Everybody may do everything (`zookeeper.skipACL`).
    pub skip_acl: bool,
    /// The digest identity, hashed, whose owner may do everything
    /// (`zookeeper.DigestAuthenticationProvider.superDigest`).
    pub super_digest: Option<String>,
    /// Whether the digest scheme exists (`zookeeper.DigestAuthenticationProvider.enabled`).
    pub digest_enabled: bool,
    /// The hash of digest identities.
    pub digest_algorithm: DigestAlgorithm,
}

impl Default for AuthRules {
    fn default() -> AuthRules {
        AuthRules {
            skip_acl: false,
            super_digest: None,
            digest_enabled: true,
            digest_algorithm: DigestAlgorithm::default(),
        }
    }
}

impl AuthRules {
    /// Whether a connection with these identities has at least one of the wanted permissions
    /// (`ZooKeeperServer.checkACL`). An empty list allows everything.
    pub fn allows(&self, acl: &AclList, wanted: Perms, ids: &[Id]) -> bool {
        self.skip_acl
            || acl.is_open()
            || acl.entries.is_empty()
            || ids.iter().any(|id| id.scheme == "super")
            || acl.entries.iter().any(|entry| entry.perms.intersects(wanted) && self.matches(&entry.id, ids))
    }

    /// The refusal that goes with [`AuthRules::allows`]: `NoAuth`.
    pub fn check(&self, acl: &AclList, wanted: Perms, ids: &[Id]) -> Result<(), ErrorCode> {
        if self.allows(acl, wanted, ids) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn matches(&self, wanted: &Id, ids: &[Id]) -> bool {
        let mut same_scheme = ids.iter().filter(|id| id.scheme == wanted.scheme);
        match wanted.scheme.as_str() {
            "world" => wanted.id == "anyone",
            "ip" => same_scheme.any(|id| ip::matches(&id.id, &wanted.id)),
            "digest" => self.digest_enabled && same_scheme.any(|id| id.id == wanted.id),
            _ => false,
        }
    }

    /// Takes an auth packet: adds the identities that it proves to those of the connection, each once. Whatever is
    /// wrong is `AuthFailed`, and the connection must then be closed after the reply.
    pub fn authenticate(&self, scheme: &str, auth: &[u8], ids: &mut Vec<Id>) -> Result<(), ErrorCode> {
        match scheme {
            // The address was there from the start.
            "ip" => Ok(()),
            "digest" if self.digest_enabled => {
                let identity = self.digest_algorithm.identity(&String::from_utf8_lossy(auth));
                if self.super_digest.as_deref() == Some(identity.as_str()) {
                    add_identity(ids, Id::new("super", ""))?;
                }
                add_identity(ids, Id::new("digest", identity))
            }
            _ => Err(ErrorCode::AuthFailed),
        }
    }

    /// Whether a new ACL may hold this id.
    pub fn is_valid_id(&self, scheme: &str, id: &str) -> bool {
        match scheme {
            "world" => id == "anyone",
            "ip" => ip::is_valid(id),
            "digest" => self.digest_enabled && digest::is_valid(id),
            _ => false,
        }
    }

    fn has_provider(&self, scheme: &str) -> bool {
        scheme == "ip" || (scheme == "digest" && self.digest_enabled)
    }

    /// Whether an identity of this scheme stands for somebody who proved who they are.
    fn is_authenticated(&self, scheme: &str) -> bool {
        scheme == "digest" && self.digest_enabled
    }

    /// Appends an ACL as getACL shows it, count included: whoever has neither READ nor ADMIN gets `NoAuth`, and only
    /// ADMIN sees the hashes of digest ids.
    pub fn write_acl_for(&self, acl: &AclList, ids: &[Id], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        self.check(acl, Perms::READ.or(Perms::ADMIN), ids)?;
        if self.allows(acl, Perms::ADMIN, ids) {
            out.put_bytes(acl.as_slice().as_bytes());
        } else {
            write_acls(out, &acl.entries.iter().map(masked).collect::<Vec<Acl>>());
        }
        Ok(())
    }

    /// The name that whoAmI and the audit log show for an identity; empty for `super`, which has no provider.
    pub fn user_name<'i>(&self, id: &'i Id) -> &'i str {
        match id.scheme.as_str() {
            "ip" => &id.id,
            "digest" if self.digest_enabled => id.id.split(':').next().unwrap_or_default(),
            _ => "",
        }
    }
}

fn add_identity(ids: &mut Vec<Id>, id: Id) -> Result<(), ErrorCode> {
    if ids.contains(&id) {
        return Ok(());
    }
    if ids.len() >= IDS_PER_CONNECTION_MAX {
        return Err(ErrorCode::AuthFailed);
    }
    ids.push(id);
    Ok(())
}

/// An entry without its secret: everything from the first colon of a digest id becomes `:x`.
fn masked(acl: &Acl) -> Acl {
    match acl.id.id.split_once(':') {
        Some((user, _)) if acl.id.scheme == "digest" => {
            Acl { perms: acl.perms, id: Id::new("digest", format!("{user}:x")) }
        }
        _ => acl.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{AclSlice, Reader};

    fn list(acls: &[(i32, &str, &str)]) -> AclList {
        let acls: Vec<Acl> = acls
            .iter()
            .map(|&(perms, scheme, id)| Acl { perms: Perms::from_bits(perms), id: Id::new(scheme, id) })
            .collect();
        let mut bytes = Vec::new();
        write_acls(&mut bytes, &acls);
        AclList::parse(AclSlice::read(&mut Reader::new(&bytes)).unwrap()).unwrap()
    }

    #[test]
    fn permission_needs_the_right_bit_and_the_right_identity() {
        let rules = AuthRules::default();
        let acl = list(&[(1, "world", "anyone"), (2, "digest", "bob:h"), (4, "ip", "10.0.0.0/8")]);
        let bob = [Id::new("ip", "10.1.1.1"), Id::new("digest", "bob:h")];
        let stranger = [Id::new("ip", "11.1.1.1"), Id::new("digest", "eve:h")];
        assert!(rules.allows(&acl, Perms::READ, &stranger));
        assert!(!rules.allows(&acl, Perms::WRITE, &stranger));
        assert!(rules.allows(&acl, Perms::WRITE, &bob));
        assert!(rules.allows(&acl, Perms::CREATE, &bob));
        assert!(!rules.allows(&acl, Perms::CREATE, &stranger));
        assert!(!rules.allows(&acl, Perms::ADMIN, &bob));
        assert!(rules.allows(&acl, Perms::ADMIN.or(Perms::READ), &stranger));
        assert!(rules.allows(&acl, Perms::ADMIN, &[Id::new("super", "")]));
        assert!(rules.allows(&list(&[]), Perms::ADMIN, &[]));
        let skip = AuthRules { skip_acl: true, ..AuthRules::default() };
        assert!(skip.allows(&acl, Perms::ADMIN, &stranger));
        let no_digest = AuthRules { digest_enabled: false, ..AuthRules::default() };
        assert!(!no_digest.allows(&acl, Perms::WRITE, &bob));
    }

    #[test]
    fn ids_of_schemes_without_a_provider_match_nobody() {
        let acl = list(&[(31, "sasl", "bob"), (31, "world", "bob")]);
        let ids = [Id::new("sasl", "bob"), Id::new("world", "bob")];
        assert!(!AuthRules::default().allows(&acl, Perms::READ, &ids));
    }

    #[test]
    fn credentials_become_identities_once() {
        let rules = AuthRules::default();
        let mut ids = vec![Id::new("ip", "127.0.0.1")];
        rules.authenticate("digest", b"bob:pw", &mut ids).unwrap();
        rules.authenticate("digest", b"bob:pw", &mut ids).unwrap();
        rules.authenticate("ip", b"", &mut ids).unwrap();
        assert_eq!(ids, [Id::new("ip", "127.0.0.1"), Id::new("digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")]);
        for scheme in ["world", "auth", "super", "sasl", "x509", ""] {
            assert_eq!(rules.authenticate(scheme, b"x", &mut ids), Err(ErrorCode::AuthFailed), "{scheme}");
        }
        let no_digest = AuthRules { digest_enabled: false, ..rules };
        assert_eq!(no_digest.authenticate("digest", b"a:b", &mut ids), Err(ErrorCode::AuthFailed));
        assert_eq!(ids.len(), 2);
    }

    #[test]
    fn the_super_digest_makes_a_superuser() {
        let identity = DigestAlgorithm::Sha1.identity("super:secret");
        let rules = AuthRules { super_digest: Some(identity.clone()), ..AuthRules::default() };
        let mut ids = Vec::new();
        rules.authenticate("digest", b"super:secret", &mut ids).unwrap();
        assert_eq!(ids, [Id::new("super", ""), Id::new("digest", identity)]);
        let mut wrong = Vec::new();
        rules.authenticate("digest", b"super:other", &mut wrong).unwrap();
        assert_eq!(wrong.len(), 1);
    }

    #[test]
    fn a_connection_cannot_hoard_identities() {
        let rules = AuthRules::default();
        let mut ids = Vec::new();
        for n in 0..IDS_PER_CONNECTION_MAX {
            rules.authenticate("digest", format!("user{n}").as_bytes(), &mut ids).unwrap();
        }
        assert_eq!(rules.authenticate("digest", b"one more", &mut ids), Err(ErrorCode::AuthFailed));
        assert_eq!(rules.authenticate("digest", b"user7", &mut ids), Ok(()));
    }

    #[test]
    fn only_admin_sees_the_hashes() {
        let rules = AuthRules::default();
        let acl = list(&[(1, "world", "anyone"), (31, "digest", "bob:secret"), (1, "ip", "::1")]);
        let shown = |ids: &[Id]| {
            let mut out = Vec::new();
            rules.write_acl_for(&acl, ids, &mut out).unwrap();
            let acls = AclSlice::read(&mut Reader::new(&out)).unwrap().to_vec().unwrap();
            acls.into_iter().map(|acl| acl.id.id).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[]), ["anyone", "bob:x", "::1"]);
        assert_eq!(shown(&[Id::new("digest", "bob:secret")]), ["anyone", "bob:secret", "::1"]);
        let closed = list(&[(2, "world", "anyone")]);
        assert_eq!(rules.write_acl_for(&closed, &[], &mut Vec::new()), Err(ErrorCode::NoAuth));
    }

    #[test]
    fn user_names_leave_out_what_is_secret() {
        let rules = AuthRules::default();
        assert_eq!(rules.user_name(&Id::new("digest", "bob:hash")), "bob");
        assert_eq!(rules.user_name(&Id::new("ip", "127.0.0.1")), "127.0.0.1");
        assert_eq!(rules.user_name(&Id::new("super", "")), "");
    }
}
