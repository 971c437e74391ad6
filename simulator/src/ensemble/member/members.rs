//! Who belongs to the ensemble, as one server knows it, and that it is found again after a restart: each membership is in
//! a file of its own, as production has it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::ServerId;
use protocol::peer::Membership;
use storage::disk::{Access, Disk};

use super::{Member, must_stop};
use crate::ensemble::bugs::Bug;
use crate::ensemble::chances::server_at;
use crate::ensemble::checkers::memberships::Stored;
use crate::ensemble::scene::Scene;
use crate::ensemble::schedule::Event;
use crate::server::Trouble;

const COMMITTED: &str = "members";
const PROPOSED: &str = "members.next";

/// What a server knows of the membership.
pub(super) struct KnownMembers {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// The one in force.
    pub committed: Arc<Membership>,
    /// A newer one that was proposed.
    pub proposed: Option<Arc<Membership>>,
}

impl KnownMembers {
    /// What is in the files; `first` as long as there is nothing.
    ///
    /// # Errors
    /// The disk fails.
    pub fn load(
        disk: Arc<dyn Disk>,
        folder: &Path,
        first: Membership,
        may_change: bool,
    ) -> io::Result<KnownMembers> {
        let file = |name| if may_change { read(&*disk, &folder.join(name)) } else { Ok(None) };
        let committed = file(COMMITTED)?.unwrap_or(first);
        let proposed = file(PROPOSED)?;
        // A crash may have come between the two files.
        let proposed = proposed.filter(|proposed| proposed.version > committed.version);
        let (committed, proposed) = (Arc::new(committed), proposed.map(Arc::new));
        Ok(KnownMembers { disk, folder: folder.to_owned(), committed, proposed })
    }

    fn propose(&mut self, membership: Arc<Membership>) -> io::Result<()> {
        write(&*self.disk, &self.folder, PROPOSED, &membership)?;
        self.proposed = Some(membership);
        Ok(())
    }

    fn forget_proposed(&mut self) -> io::Result<()> {
        let path = self.folder.join(PROPOSED);
        if self.disk.exists(&path)? {
            self.disk.remove(&path)?;
            self.disk.sync_dir(&self.folder)?;
        }
        self.proposed = None;
        Ok(())
    }

    fn activate(&mut self, membership: Arc<Membership>) -> io::Result<()> {
        write(&*self.disk, &self.folder, COMMITTED, &membership)?;
        if self.proposed.as_ref().is_some_and(|proposed| proposed.version <= membership.version) {
            self.forget_proposed()?;
        }
        self.committed = membership;
        Ok(())
    }

    /// For the checkers.
    pub fn stored(&self) -> Stored {
        let proposed = self.proposed.as_ref().map_or(0, |membership| membership.version);
        Stored { committed: self.committed.version, proposed }
    }

    fn names(&self, server: ServerId) -> bool {
        let proposed = self.proposed.as_ref().and_then(|membership| membership.member(server));
        self.committed.member(server).or(proposed).is_some()
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Membership>> {
    if !disk.exists(path)? {
        return Ok(None);
    }
    let file = disk.open(path, Access::Read)?;
    let mut text = vec![0; file.length()? as usize];
    let mut done = 0;
    while done < text.len() {
        done += file.read_at(&mut text[done..], done as u64)?;
    }
    let text = String::from_utf8(text).expect("what was stored is text");
    Ok(Some(Membership::parse(&text).expect("what was stored can be read")))
}

fn write(disk: &dyn Disk, folder: &Path, name: &str, membership: &Membership) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.tmp"));
    if disk.exists(&temporary)? {
        disk.remove(&temporary)?;
    }
    let file = disk.open(&temporary, Access::CreateNew)?;
    file.write_at(membership.to_string().as_bytes(), 0)?;
    file.sync_all()?;
    disk.rename(&temporary, &folder.join(name))?;
    disk.sync_dir(folder)
}

impl Member {
    pub(super) fn store_proposed(
        &mut self,
        scene: &mut Scene,
        membership: Arc<Membership>,
    ) -> Result<(), Trouble> {
        scene.note(|| format!("{} hears of the proposed members {:?}", self.me, membership.to_string()));
        if scene.random.chance(scene.options.ambush_percent, 100) {
            let delay_us = scene.random.below(2 * scene.options.sync_us_max);
            scene.schedule.after(delay_us, Event::Ambush(self.life));
        }
        if scene.options.bug == Some(Bug::ProposedMembersLost) {
            self.members.proposed = Some(membership);
            return Ok(());
        }
        self.members.propose(membership).map_err(must_stop)?;
        self.note_stored(scene);
        Ok(())
    }

    pub(super) fn forget_proposed(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        let version = self.members.proposed.as_ref().map_or(0, |membership| membership.version);
        scene.note(|| format!("{} forgets the proposed members {version:x}", self.me));
        let memberships = &scene.oracle.memberships;
        let first = protocol::Zxid::from_wire(version).counter() == 0;
        let lost = !first && memberships.version(version).is_none();
        scene.oracle.tally.note_if(lost, "reconfiguration lost with its leader");
        self.members.forget_proposed().map_err(must_stop)?;
        self.note_stored(scene);
        Ok(())
    }

    pub(super) fn activate(&mut self, scene: &mut Scene, membership: Arc<Membership>) -> Result<(), Trouble> {
        scene.note(|| format!("{} goes by {:?}", self.me, membership.to_string()));
        scene.oracle.on_activated(self.me, &membership)?;
        self.members.activate(membership).map_err(must_stop)?;
        self.note_stored(scene);
        Ok(())
    }

    fn note_stored(&self, scene: &mut Scene) {
        scene.oracle.memberships.stored[self.life.host] = self.members.stored();
    }

    /// Whether this server knows where another one is.
    pub(super) fn knows_place_of(&self, host: usize) -> bool {
        self.members.names(server_at(host))
    }

    /// Whether it goes by this version and no other, and has it on its disk.
    pub fn goes_by(&self, version: i64) -> bool {
        let stored = Stored { committed: version, proposed: 0 };
        self.replica.peer().membership().version == version && self.members.stored() == stored
    }
}
