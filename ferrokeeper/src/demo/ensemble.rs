//! The servers of the demo together: their folder, their ports, and that nothing of them remains.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::Context;
use protocol::ServerId;

use super::member::{Member, Part};

/// The members: three servers, so that one may fail, and one that only listens.
const PARTS: [Part; 4] = [Part::Voter, Part::Voter, Part::Voter, Part::Observer];

/// The unit of all times between servers. Short, so that a frozen leader is missed soon; long enough for a machine
/// that is busy with other things.
const TICK_MS: u64 = 500;

/// Ticks of silence after which servers give each other up.
const SYNC_LIMIT_TICKS: u64 = 6;

/// Silence after which servers give each other up.
pub const SILENCE_LIMIT_MS: u64 = TICK_MS * SYNC_LIMIT_TICKS;

/// Ports begin here, a block of [`BLOCK_PORTS`] for each demo: below those that the kernel gives to outgoing
/// connections (32768 and up), so that none of these takes the port of a server that is to be started again.
const FIRST_PORT: u32 = 20_100;
const BLOCK_PORTS: u32 = 100;
const BLOCKS: u32 = 120;

/// Where in its block a server has its ports, after its number: clients, leader, election.
const PORT_OFFSETS: [u16; 3] = [0, 10, 20];

/// Three servers and an observer. Dropping it ends their processes and removes their folder.
#[derive(Debug)]
pub struct Ensemble {
    /// In the order of their numbers.
    pub members: Vec<Member>,
    folder: PathBuf,
    program: PathBuf,
}

impl Ensemble {
    /// Writes the files. Nothing runs yet.
    pub fn create() -> anyhow::Result<Ensemble> {
        let program = std::env::current_exe().context("cannot find out which program this is")?;
        let folder = create_folder(&std::env::temp_dir())?;
        let mut ensemble = Ensemble { members: Vec::new(), folder, program };
        let base = free_ports()?;
        for (id, part) in (1..).zip(PARTS) {
            let folder = ensemble.folder.join(id.to_string());
            let config = config(id, part, &folder, base);
            let member = Member::create(ServerId::new(id.into()), part, folder, base + id, &config)?;
            ensemble.members.push(member);
        }
        Ok(ensemble)
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The numbers of the members.
    pub fn ids(&self) -> Vec<ServerId> {
        self.members.iter().map(|member| member.id).collect()
    }

    /// The member with this number, which there must be.
    pub fn member(&mut self, id: ServerId) -> &mut Member {
        let member = self.members.iter_mut().find(|member| member.id == id);
        member.expect("only numbers of members are given out")
    }

    /// Starts a member.
    pub fn start(&mut self, id: ServerId) -> anyhow::Result<()> {
        let program = self.program.clone();
        self.member(id).start(&program)
    }

    /// What a client is told to connect to: all members.
    pub fn connect_string(&self) -> String {
        let addresses: Vec<String> =
            self.members.iter().map(|member| member.client_address().to_string()).collect();
        addresses.join(",")
    }

    /// Ends all processes at once, since what they would write is not kept, and removes the folder.
    pub fn remove(&mut self) -> anyhow::Result<()> {
        let killed: Vec<_> = self.members.iter_mut().map(Member::kill).collect();
        killed.into_iter().collect::<anyhow::Result<()>>()?;
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        // Whoever wanted to know has called it already.
        let _ = self.remove();
    }
}

/// A new folder that only this user can read.
fn create_folder(parent: &Path) -> anyhow::Result<PathBuf> {
    let mut attempt = 0;
    loop {
        let folder = parent.join(match attempt {
            0 => format!("ferrokeeper-demo-{}", process::id()),
            _ => format!("ferrokeeper-demo-{}-{attempt}", process::id()),
        });
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            // A demo that was killed had this process id.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", folder.display())),
        }
    }
}

/// The first port of a block in which all ports of all members are free.
fn free_ports() -> anyhow::Result<u16> {
    for attempt in 0..BLOCKS {
        // Several demos may start at once: each looks somewhere else first.
        let block = process::id().wrapping_add(attempt) % BLOCKS;
        let base = (FIRST_PORT + block * BLOCK_PORTS) as u16;
        let mut ports = (1..=PARTS.len() as u16).flat_map(|id| PORT_OFFSETS.map(|offset| base + offset + id));
        if ports.all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(base);
        }
    }
    anyhow::bail!("no free ports on 127.0.0.1 between {FIRST_PORT} and 32768")
}

/// The `zoo.cfg` of one member.
fn config(id: u16, part: Part, folder: &Path, base: u16) -> String {
    let mut text = format!(
        "# Written by ferrokeeper demo, which removes it when it ends.\n\
         tickTime={TICK_MS}\ninitLimit=20\nsyncLimit={SYNC_LIMIT_TICKS}\n\
         dataDir={}\nclientPortAddress=127.0.0.1\nclientPort={}\n\
         4lw.commands.whitelist=*\nadmin.enableServer=false\n",
        folder.join("data").display(),
        base + PORT_OFFSETS[0] + id,
    );
    for (other, part) in (1..).zip(PARTS) {
        let [_, leader, election] = PORT_OFFSETS.map(|offset| base + offset + other);
        let suffix = if part == Part::Observer { ":observer" } else { "" };
        text += &format!("server.{other}=127.0.0.1:{leader}:{election}{suffix}\n");
    }
    if part == Part::Observer {
        text += "peerType=observer\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_knows_all_and_an_observer_says_so() {
        let voter = config(2, Part::Voter, Path::new("/x/2"), 20_100);
        assert!(
            voter.contains("dataDir=/x/2/data\nclientPortAddress=127.0.0.1\nclientPort=20102\n"),
            "{voter}"
        );
        assert!(
            voter.contains("server.1=127.0.0.1:20111:20121\nserver.2=127.0.0.1:20112:20122\n"),
            "{voter}"
        );
        assert!(voter.ends_with("server.4=127.0.0.1:20114:20124:observer\n"), "{voter}");
        assert!(config(4, Part::Observer, Path::new("/x/4"), 20_100).ends_with("\npeerType=observer\n"));
    }

    #[test]
    fn a_folder_that_is_left_over_is_not_taken() {
        let parent = create_folder(&std::env::temp_dir()).unwrap();
        let (first, second) = (create_folder(&parent).unwrap(), create_folder(&parent).unwrap());
        assert_ne!(first, second);
        assert!(second.is_dir());
        fs::remove_dir_all(&parent).unwrap();
    }
}
