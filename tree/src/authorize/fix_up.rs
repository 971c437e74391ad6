//! What a client writes as an ACL becomes what is stored (`PrepRequestProcessor.fixupACL`).

use std::borrow::Cow;
use std::collections::BTreeSet;

use protocol::acl::RawAcl;
use protocol::{AclSlice, ErrorCode, Id, JuteWrite};

use super::AuthRules;

/// The longest encoded list that is stored: what a frame of default size can carry. `auth` entries multiply by the
/// identities of the connection, so a short request could otherwise ask for gigabytes.
const ACL_BYTES_MAX: usize = 0xf_ffff;

impl AuthRules {
    /// Checks and completes the ACL of a create or setACL: exact duplicates go, `auth` becomes the authenticated
    /// identities of the connection. The result is the canonical encoding of what is to be stored.
    ///
    /// `InvalidAcl` for an empty list, an unknown scheme or an id that its scheme does not accept, also when the
    /// result would be longer than a megabyte. `MarshallingError` for a null id where one is needed; this is how
    /// the reference answers it, for a whole multi.
    pub fn fix_up<'a>(&self, acl: AclSlice<'a>, ids: &[Id]) -> Result<Cow<'a, [u8]>, ErrorCode> {
        if acl.is_open() {
            return Ok(Cow::Borrowed(acl.as_bytes()));
        }
        let entries = acl.entries().map_err(|_| ErrorCode::MarshallingError)?.unwrap_or_default();
        let mut out = Vec::with_capacity(acl.as_bytes().len());
        out.put_i32(0);
        let mut count = 0;
        let mut seen = BTreeSet::new();
        for entry in &entries {
            if seen.insert((entry.perms.bits(), entry.scheme.as_deref(), entry.id.as_deref())) {
                count += self.fix_up_entry(entry, ids, &mut out)?;
            }
        }
        if count == 0 {
            return Err(ErrorCode::InvalidAcl);
        }
        out[..4].copy_from_slice(&count.to_be_bytes());
        Ok(Cow::Owned(out))
    }

    /// Appends what becomes of one entry and says how many entries that is.
    fn fix_up_entry(&self, entry: &RawAcl<'_>, ids: &[Id], out: &mut Vec<u8>) -> Result<i32, ErrorCode> {
        let scheme = entry.scheme.as_deref().ok_or(ErrorCode::InvalidAcl)?;
        let mut put = |scheme: &str, id: &str| {
            out.put_i32(entry.perms.bits());
            out.put_str(scheme);
            out.put_str(id);
            if out.len() > ACL_BYTES_MAX { Err(ErrorCode::InvalidAcl) } else { Ok(()) }
        };
        if scheme == "auth" {
            let mut count = 0;
            for id in ids.iter().filter(|id| self.is_authenticated(&id.scheme)) {
                put(&id.scheme, &id.id)?;
                count += 1;
            }
            return if count == 0 { Err(ErrorCode::InvalidAcl) } else { Ok(count) };
        }
        if scheme != "world" && !self.has_provider(scheme) {
            return Err(ErrorCode::InvalidAcl);
        }
        let id = entry.id.as_deref().ok_or(ErrorCode::MarshallingError)?;
        if !self.is_valid_id(scheme, id) {
            return Err(ErrorCode::InvalidAcl);
        }
        put(scheme, id)?;
        Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::acl::{Acl, OPEN_ACL_BYTES, write_acls};
    use protocol::{Perms, Reader};

    fn entry(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms: Perms::from_bits(perms), id: Id::new(scheme, id) }
    }

    fn fix_up(rules: &AuthRules, acls: &[Acl], ids: &[Id]) -> Result<Vec<Acl>, ErrorCode> {
        let mut bytes = Vec::new();
        write_acls(&mut bytes, acls);
        let fixed = rules.fix_up(AclSlice::read(&mut Reader::new(&bytes)).unwrap(), ids)?;
        Ok(AclSlice::read(&mut Reader::new(&fixed)).unwrap().to_vec().unwrap())
    }

    #[test]
    fn the_open_list_passes_without_a_copy() {
        let fixed = AuthRules::default().fix_up(AclSlice::OPEN, &[]).unwrap();
        assert!(matches!(fixed, Cow::Borrowed(bytes) if bytes == OPEN_ACL_BYTES));
    }

    #[test]
    fn duplicates_go_and_the_order_stays() {
        let (a, b) = (entry(1, "ip", "10.0.0.1"), entry(31, "world", "anyone"));
        let fixed = fix_up(&AuthRules::default(), &[a.clone(), b.clone(), a.clone(), b.clone()], &[]);
        assert_eq!(fixed, Ok(vec![a, b]));
    }

    #[test]
    fn auth_becomes_every_authenticated_identity_in_place() {
        let ids = [
            Id::new("ip", "10.0.0.1"),
            Id::new("digest", "a:x"),
            Id::new("super", ""),
            Id::new("digest", "b:y"),
        ];
        let fixed =
            fix_up(&AuthRules::default(), &[entry(3, "auth", "any"), entry(1, "world", "anyone")], &ids);
        assert_eq!(
            fixed,
            Ok(vec![entry(3, "digest", "a:x"), entry(3, "digest", "b:y"), entry(1, "world", "anyone")])
        );
        let only_ip = fix_up(&AuthRules::default(), &[entry(3, "auth", "")], &ids[..1]);
        assert_eq!(only_ip, Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn what_no_scheme_accepts_is_refused() {
        let rules = AuthRules::default();
        for acls in [
            vec![],
            vec![entry(31, "world", "somebody")],
            vec![entry(31, "super", "")],
            vec![entry(31, "sasl", "bob")],
            vec![entry(31, "digest", "bob")],
            vec![entry(31, "ip", "10.0.0")],
            vec![entry(31, "world", "anyone"), entry(31, "nobody", "x")],
        ] {
            assert_eq!(fix_up(&rules, &acls, &[]), Err(ErrorCode::InvalidAcl), "{acls:?}");
        }
        let no_digest = AuthRules { digest_enabled: false, ..rules };
        assert_eq!(fix_up(&no_digest, &[entry(31, "digest", "a:x")], &[]), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn permissions_outside_the_five_are_kept() {
        let odd = entry(-1, "world", "anyone");
        assert_eq!(fix_up(&AuthRules::default(), std::slice::from_ref(&odd), &[]), Ok(vec![odd]));
    }

    #[test]
    fn null_lists_schemes_and_ids_have_their_own_answers() {
        let rules = AuthRules::default();
        let read = |bytes: &'static [u8]| AclSlice::read(&mut Reader::new(bytes)).unwrap();
        assert_eq!(rules.fix_up(read(b"\xff\xff\xff\xff"), &[]), Err(ErrorCode::InvalidAcl));
        let null_scheme = read(b"\0\0\0\x01\0\0\0\x1f\xff\xff\xff\xff\0\0\0\0");
        assert_eq!(rules.fix_up(null_scheme, &[]), Err(ErrorCode::InvalidAcl));
        let null_id = read(b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\xff\xff\xff\xff");
        assert_eq!(rules.fix_up(null_id, &[]), Err(ErrorCode::MarshallingError));
        let null_auth_id = read(b"\0\0\0\x01\0\0\0\x1f\0\0\0\x04auth\xff\xff\xff\xff");
        assert!(rules.fix_up(null_auth_id, &[Id::new("digest", "a:x")]).is_ok());
    }

    #[test]
    fn a_list_that_multiplies_beyond_a_frame_is_refused() {
        let ids: Vec<Id> = (0..1000).map(|n| Id::new("digest", format!("user{n}:hash"))).collect();
        let acls: Vec<Acl> = (0..1000).map(|n| entry(31, "auth", &n.to_string())).collect();
        assert_eq!(fix_up(&AuthRules::default(), &acls, &ids), Err(ErrorCode::InvalidAcl));
    }
}
