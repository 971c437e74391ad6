//! `zoo.cfg` and the files beside it: what servers start from, and what they make of it when the members change.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::admin::{Shown, version_in};
use crate::cluster::{Cluster, Pace};
use crate::deadline::wait_for;

/// How long files may take after a change is in force; a server that changes its role restarts first.
const FILES_LIMIT: Duration = Duration::from_secs(20);

/// What a member is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It votes.
    Participant,
    /// It only learns.
    Observer,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Participant => "participant",
            Role::Observer => "observer",
        }
    }
}

/// The line of a member as every server prints it.
pub fn line(cluster: &Cluster, member: usize, role: Role) -> String {
    format!("{}:{};127.0.0.1:{}", address(cluster, member), role.word(), cluster.port(member))
}

fn address(cluster: &Cluster, member: usize) -> String {
    let [quorum, election] = cluster.members()[member].peer_ports();
    format!("server.{}=127.0.0.1:{quorum}:{election}", member + 1)
}

fn settings(cluster: &Cluster, member: usize, pace: Pace) -> String {
    let Pace { tick_ms, init_ticks, sync_ticks } = pace;
    format!(
        "# for this run\ntickTime={tick_ms}\ninitLimit={init_ticks}\nsyncLimit={sync_ticks}\ndataDir={}\n\
         reconfigEnabled=true\nmaxSessionTimeout=60000\nmaxClientCnxns=0\nadmin.enableServer=false\n\
         4lw.commands.whitelist=*\nextendedTypesEnabled=true\n",
        cluster.folder(member).join("data").display(),
    )
}

/// Writes the `zoo.cfg` of one of the first members.
pub fn write_founder(cluster: &Cluster, member: usize, founders: usize, pace: Pace) -> Result<()> {
    let mut text = settings(cluster, member, pace);
    for founder in 0..founders {
        text += &line(cluster, founder, Role::Participant);
        text.push('\n');
    }
    write(cluster, member, &text)
}

/// Writes the `zoo.cfg` of a server that is no member yet: it knows some members and calls itself an observer. Its
/// port for clients stands where it does in a file that was never changed.
pub fn write_joiner(cluster: &Cluster, member: usize, members: &str, pace: Pace) -> Result<()> {
    let mut text = settings(cluster, member, pace);
    text += &format!("clientPort={}\nclientPortAddress=127.0.0.1\n", cluster.port(member));
    text += &format!("peerType=observer\n{members}\n{}:observer\n", address(cluster, member));
    write(cluster, member, &text)
}

fn write(cluster: &Cluster, member: usize, text: &str) -> Result<()> {
    let path = cluster.folder(member).join("zoo.cfg");
    std::fs::write(&path, text).with_context(|| format!("write {path:?}"))
}

/// Waits until all servers that run have written a membership down, byte for byte the same.
pub fn expect(cluster: &Cluster, shown: &Shown) -> Result<()> {
    let running: Vec<usize> = cluster.running().collect();
    for &member in &running {
        let mut last = None;
        let written = wait_for("the files of a membership", FILES_LIMIT, || {
            last = look(&cluster.folder(member), shown).err();
            Ok(last.is_none().then_some(()))
        });
        if let (Err(_), Some(error)) = (written, last) {
            return Err(error.context(format!("server {}, {:?}", member + 1, cluster.mode(member))));
        }
    }
    expect_like_settings(cluster, &running)
}

/// The names of all memberships that a server has written down, in order.
pub fn memberships(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("zoo.cfg.dynamic.") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn look(folder: &Path, shown: &Shown) -> Result<()> {
    let name = format!("zoo.cfg.dynamic.{:x}", shown.version);
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path:?}"))?;
    let expected = shown.file_text();
    ensure!(text == expected, "{path:?} holds {text:?}, not {expected:?}");
    let cfg = std::fs::read_to_string(folder.join("zoo.cfg"))?;
    let pointer = format!("dynamicConfigFile={}", path.display());
    ensure!(cfg.lines().any(|line| line == pointer), "zoo.cfg does not name {path:?}:\n{cfg}");
    // Whoever is killed between the two last acts of a change leaves the proposed one, which then counts for nothing.
    if let Ok(proposed) = std::fs::read_to_string(folder.join("zoo.cfg.dynamic.next")) {
        let version = version_in(&proposed).with_context(|| format!("no version in {proposed:?}"))?;
        ensure!(version <= shown.version, "beside version {:x} there is {proposed:?}", shown.version);
    }
    Ok(())
}

/// The same change makes the same of every `zoo.cfg`, whoever makes it; but Java writes the lines in no order that
/// means anything, and forgets comments.
fn expect_like_settings(cluster: &Cluster, running: &[usize]) -> Result<()> {
    let read = |member: usize| -> Result<Vec<String>> {
        let folder = cluster.folder(member);
        let text = std::fs::read_to_string(folder.join("zoo.cfg"))?;
        let text = text.replace(&folder.display().to_string(), "FOLDER");
        let settings = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut settings: Vec<String> = settings.map(str::to_string).collect();
        settings.sort_unstable();
        Ok(settings)
    };
    let first = read(running[0])?;
    for &member in &running[1..] {
        let other = read(member)?;
        ensure!(
            other == first,
            "zoo.cfg of server {} and of server {} are unlike: {first:?} and {other:?}",
            running[0] + 1,
            member + 1
        );
    }
    Ok(())
}
