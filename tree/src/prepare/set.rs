//! Changing a node: its data, its ACL; and checking its version.

use std::borrow::Cow;

use protocol::txn::{TxnBody, node_digest_prefix};
use protocol::{AclSlice, ErrorCode, Perms, Reader, path};

use crate::quota::{QuotaExcess, QuotaVerdict};

use super::{Pending, PrepareContext, Prepared, Sink};

impl Pending {
    pub(super) fn set_data(
        &mut self,
        ctx: &PrepareContext<'_>,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        ctx.session_check?;
        validate(path)?;
        let mut node = self.changes.find(ctx, path).ok_or(ErrorCode::NoNode)?;
        ctx.rules.auth.check(&node.acl, Perms::WRITE, ctx.ids)?;
        let data_length = data.map_or(0, <[u8]>::len);
        let soft_quota = ctx.soft_excess(path, data_length as i64 - node.data_length as i64, 0)?;
        let version = next_version(node.stat.version, version)?;

        let share_before = node.share();
        node.stat.version = version;
        node.stat.mzxid = ctx.zxid;
        node.stat.mtime_ms = ctx.time_ms;
        node.data_length = data_length;
        if ctx.rules.txn_digest {
            node.digest_prefix = node_digest_prefix(path, data);
        }
        self.changes.put(ctx, path, share_before, Some(node));
        sink.put(ctx, &TxnBody::SetData { path: Cow::Borrowed(path), data, version, reconfig: false });
        Ok(Prepared { soft_quota, ..Prepared::default() })
    }

    pub(super) fn set_acl(
        &mut self,
        ctx: &PrepareContext<'_>,
        path: &str,
        acl: AclSlice<'_>,
        version: i32,
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        ctx.session_check?;
        validate(path)?;
        let acl_bytes = ctx.rules.auth.fix_up(acl, ctx.ids)?;
        let mut node = self.changes.find(ctx, path).ok_or(ErrorCode::NoNode)?;
        ctx.rules.auth.check(&node.acl, Perms::ADMIN, ctx.ids)?;
        let version = next_version(node.stat.aversion, version)?;

        let acl = AclSlice::read(&mut Reader::new(&acl_bytes)).map_err(|_| ErrorCode::MarshallingError)?;
        let share_before = node.share();
        node.stat.aversion = version;
        node.acl = self.acl_list(ctx, acl)?;
        self.changes.put(ctx, path, share_before, Some(node));
        sink.put(ctx, &TxnBody::SetAcl { path: Cow::Borrowed(path), acl, version });
        Ok(Prepared::default())
    }

    /// Only inside a multi.
    pub(super) fn check(
        &mut self,
        ctx: &PrepareContext<'_>,
        path: &str,
        version: i32,
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        ctx.session_check?;
        validate(path)?;
        let node = self.changes.find(ctx, path).ok_or(ErrorCode::NoNode)?;
        ctx.rules.auth.check(&node.acl, Perms::READ, ctx.ids)?;
        let version = next_version(node.stat.version, version)?;
        sink.put(ctx, &TxnBody::Check { path: Cow::Borrowed(path), version });
        Ok(Prepared::default())
    }
}

impl PrepareContext<'_> {
    /// Refuses what a hard limit forbids and says which soft ones are exceeded. What is pending does not count, as
    /// in the reference, so that pipelined writes can go beyond a limit.
    pub(super) fn soft_excess(
        &self,
        path: &str,
        bytes: i64,
        count: i64,
    ) -> Result<Vec<QuotaExcess>, ErrorCode> {
        if !self.rules.enforce_quota {
            return Ok(Vec::new());
        }
        let verdict = self.tree.quota_check(path, bytes, count);
        match (verdict.refusal(), verdict) {
            (Some(code), _) => Err(code),
            (None, QuotaVerdict::SoftExceeded(excess)) => Ok(excess),
            (None, _) => Ok(Vec::new()),
        }
    }
}

fn validate(path: &str) -> Result<(), ErrorCode> {
    path::validate(path).map_err(|_| ErrorCode::BadArguments)
}

/// The version after a change, if the one before is what the client expects: -1 expects nothing, every other number
/// is compared as it is. After the highest version comes the lowest.
pub(super) fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BadVersion);
    }
    Ok(current.wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_one_expects_nothing_and_the_highest_version_is_followed_by_the_lowest() {
        assert_eq!(next_version(5, 5), Ok(6));
        assert_eq!(next_version(5, -1), Ok(6));
        assert_eq!(next_version(5, -2), Err(ErrorCode::BadVersion));
        assert_eq!(next_version(5, 6), Err(ErrorCode::BadVersion));
        assert_eq!(next_version(i32::MAX, i32::MAX), Ok(i32::MIN));
        assert_eq!(next_version(-2, -2), Ok(-1));
    }
}
