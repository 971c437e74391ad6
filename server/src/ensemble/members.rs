//! Who the members are and where, and that this is found again after a restart.

use std::sync::Arc;

use protocol::ServerId;
use protocol::peer::membership::PeerAddress;
use protocol::peer::{Member, Membership};

use crate::dynamic_config::{DynamicConfig, DynamicConfigError};

/// What a server knows of the membership.
#[derive(Debug)]
pub struct Members {
    me: ServerId,
    in_force: Arc<Membership>,
    proposed: Option<Arc<Membership>>,
    /// Our own line, the last that there was.
    own: Member,
    /// None where members cannot change.
    files: Option<DynamicConfig>,
}

/// Our own line before and after a change.
#[derive(Debug)]
pub struct Change {
    /// Before.
    pub before: Member,
    /// After; none if this server is no member any more.
    pub after: Option<Member>,
}

impl Members {
    /// What the configuration says; `files` where members can change.
    ///
    /// # Panics
    /// If `me` is no member.
    pub fn new(
        me: ServerId,
        in_force: Membership,
        proposed: Option<Membership>,
        files: Option<DynamicConfig>,
    ) -> Members {
        let own = in_force.member(me).expect("the configuration was checked for it").clone();
        Members { me, in_force: Arc::new(in_force), proposed: proposed.map(Arc::new), own, files }
    }

    /// The membership in force.
    pub fn in_force(&self) -> &Arc<Membership> {
        &self.in_force
    }

    /// Our own line, the last that there was.
    pub fn own(&self) -> &Member {
        &self.own
    }

    /// Where a server is. Of those that are in both memberships, the one in force says so: an address that was only
    /// proposed may still belong to another server.
    pub fn find(&self, server: ServerId) -> Option<&Member> {
        self.in_force.member(server).or_else(|| self.proposed.as_ref()?.member(server))
    }

    /// Everybody who may have a say now or soon, and where.
    pub fn addresses(&self) -> Vec<(ServerId, Vec<PeerAddress>)> {
        let new = self.proposed.iter().flat_map(|proposed| proposed.members.keys());
        let new = new.filter(|server| self.in_force.member(**server).is_none());
        let all = self.in_force.members.keys().chain(new);
        all.filter_map(|&server| Some((server, self.find(server)?.addresses.clone()))).collect()
    }

    /// Keeps a membership that was proposed.
    pub fn propose(&mut self, membership: Arc<Membership>) -> Result<(), DynamicConfigError> {
        self.files().store_proposed(&membership)?;
        self.proposed = Some(membership);
        Ok(())
    }

    /// Forgets it.
    pub fn forget_proposed(&mut self) -> Result<(), DynamicConfigError> {
        self.files().forget_proposed()?;
        self.proposed = None;
        Ok(())
    }

    /// Keeps a membership that is in force from now on.
    pub fn activate(&mut self, membership: Arc<Membership>) -> Result<Change, DynamicConfigError> {
        self.files().activate(&membership)?;
        self.proposed.take_if(|proposed| proposed.version <= membership.version);
        let after = membership.member(self.me).cloned();
        let own = after.clone().unwrap_or_else(|| self.own.clone());
        let before = std::mem::replace(&mut self.own, own);
        self.in_force = membership;
        Ok(Change { before, after })
    }

    fn files(&mut self) -> &mut DynamicConfig {
        self.files.as_mut().expect("a peer whose members cannot change does not change them")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn membership(text: &str) -> Membership {
        Membership::parse(text).unwrap()
    }

    /// Server 2 of two, that may change.
    fn two(folder: &tempfile::TempDir) -> Members {
        let config = folder.path().join("zoo.cfg");
        fs::write(&config, "server.1=a:1:2\nserver.2=b:1:2\n").unwrap();
        let me = ServerId::new(2);
        let files = DynamicConfig::open(&config, me, None).unwrap();
        Members::new(me, membership("server.1=a:1:2\nserver.2=b:1:2"), None, Some(files))
    }

    fn hosts(members: &Members) -> Vec<(i64, String)> {
        let host = |addresses: Vec<PeerAddress>| addresses[0].host.clone();
        members.addresses().into_iter().map(|(id, addresses)| (id.get(), host(addresses))).collect()
    }

    #[test]
    fn who_is_only_proposed_is_found_and_who_is_in_force_is_where_he_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut members = two(&folder);
        let next = "server.1=moved:1:2\nserver.3=c:1:2\nversion=7";
        members.propose(Arc::new(membership(next))).unwrap();
        let expected = [(1, "a".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())];
        assert_eq!(hosts(&members), expected);
        assert!(folder.path().join("zoo.cfg.dynamic.next").exists());
        members.forget_proposed().unwrap();
        assert_eq!(hosts(&members), expected[..2]);
        assert!(!folder.path().join("zoo.cfg.dynamic.next").exists());
    }

    #[test]
    fn what_is_in_force_takes_the_place_of_what_is_not_newer() {
        let folder = tempfile::tempdir().unwrap();
        let mut members = two(&folder);
        members.propose(Arc::new(membership("server.2=b:1:2\nserver.4=d:1:2\nversion=9"))).unwrap();
        let change =
            members.activate(Arc::new(membership("server.2=bb:1:2;5\nserver.3=c:1:2\nversion=8"))).unwrap();
        assert_eq!(change.before.addresses[0].host, "b");
        assert_eq!(change.after.as_ref(), Some(members.own()));
        assert_eq!(members.own().client.as_ref().map(|client| client.port), Some(5));
        assert!(members.find(ServerId::new(4)).is_some(), "it is still proposed");
        let change =
            members.activate(Arc::new(membership("server.3=c:1:2\nserver.5=e:1:2\nversion=9"))).unwrap();
        assert!(change.after.is_none());
        assert_eq!(members.own().addresses[0].host, "bb", "where it was last");
        assert_eq!(hosts(&members), [(3, "c".to_owned()), (5, "e".to_owned())]);
        assert_eq!(members.in_force().version, 9);
    }

    #[test]
    fn what_cannot_be_kept_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut members = two(&folder);
        for name in ["zoo.cfg.dynamic.next.tmp", "zoo.cfg.dynamic.8.tmp"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let next = Arc::new(membership("server.2=b:1:2\nserver.3=c:1:2\nversion=8"));
        members.propose(Arc::clone(&next)).unwrap_err();
        assert!(members.find(ServerId::new(3)).is_none());
        members.activate(next).unwrap_err();
        assert!(members.find(ServerId::new(3)).is_none());
        assert_eq!(members.in_force().version, 0);
    }
}
