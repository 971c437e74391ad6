//! What setData, reconfig and setACL change.

use protocol::txn::TxnHeader;
use protocol::{AclSlice, ErrorCode};

use crate::change::{Change, ChangeObserver, Outcome};
use crate::tree::Tree;

use super::shown;

impl Tree {
    pub(super) fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        observer: &mut dyn ChangeObserver,
    ) -> Outcome {
        let Some(id) = self.lookup(path) else {
            return Outcome::refused(ErrorCode::NoNode);
        };
        let (meta, old_length) = self.change_data(id, path, data, |stat| {
            stat.mzxid = header.zxid;
            stat.mtime_ms = header.time_ms;
            stat.version = version;
        });
        let length = data.map_or(0, <[u8]>::len);
        self.quota_on_change(path, length as i64 - old_length as i64, 0);
        observer
            .on_change(header.zxid, Change::DataChanged { path: shown(path), acl: self.acls.get(meta.acl) });
        let children = self.slab.get(id).child_count as usize;
        Outcome::DataSet { stat: meta.stat.for_client(length, children) }
    }

    pub(super) fn set_acl(&mut self, path: &str, acl: AclSlice<'_>, version: i32) -> Outcome {
        let Some(id) = self.lookup(path) else {
            return Outcome::refused(ErrorCode::NoNode);
        };
        let Ok(acl) = self.acls.intern(acl) else {
            return Outcome::refused(ErrorCode::MarshallingError);
        };
        self.change_acl(id, acl);
        self.change_stat(id, path, |stat| stat.aversion = version);
        let stat = self.find(path).map(|node| node.client_stat()).unwrap_or_default();
        Outcome::AclSet { stat }
    }
}
