//! The administrator: asks for another membership and reads the present one.

use std::borrow::Cow;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use protocol::client::request::Request;
use protocol::client::response::Response;
use protocol::{Acl, ErrorCode, OpCode, Zxid};

use crate::client::{CallError, Client, ClientError};
use crate::deadline::wait_for;
use crate::endpoint::Endpoint;
use crate::process::Process;
use crate::server::SUPERUSER;
use crate::toolbox::{JavaRelease, Logging, Toolbox};

/// The node that shows the membership.
pub const CONFIG_PATH: &str = "/zookeeper/config";
/// As long as no election takes.
const SESSION_TIMEOUT_MS: i32 = 20_000;
/// How long other people's clients may take.
const TOOL_LIMIT: Duration = Duration::from_secs(60);
/// Pairs of requests that are tried until one meets the other.
const PAIRS_MAX: usize = 20;
/// kazoo: hosts, joining, leaving.
const KAZOO_SCRIPT: &str = include_str!("../../data/reconfig.py");

/// What a client can ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    joining: Option<String>,
    leaving: Option<String>,
    members: Option<String>,
    /// The version that the membership must have; -1 for any.
    version: i64,
}

impl Change {
    fn new() -> Change {
        Change { joining: None, leaving: None, members: None, version: -1 }
    }

    /// These `server.N` lines, separated by commas, are added, or take the places of those of the same numbers.
    pub fn join(lines: impl Into<String>) -> Change {
        Change { joining: Some(lines.into()), ..Change::new() }
    }

    /// These numbers go.
    pub fn leave(numbers: impl Into<String>) -> Change {
        Change { leaving: Some(numbers.into()), ..Change::new() }
    }

    /// This is the whole membership from then on.
    pub fn whole(text: impl Into<String>) -> Change {
        Change { members: Some(text.into()), ..Change::new() }
    }

    /// The same, if the membership has this version.
    pub fn at(self, version: i64) -> Change {
        Change { version, ..self }
    }

    /// Asks for it without waiting for the answer.
    pub fn send(&self, client: &mut Client) -> Result<(), ClientError> {
        client.send(OpCode::Reconfig, &self.request())
    }

    fn request(&self) -> Request<'_> {
        let part = |text: &'_ Option<String>| text.clone().map(Cow::Owned);
        Request::Reconfig {
            joining: part(&self.joining),
            leaving: part(&self.leaving),
            new_members: part(&self.members),
            config_version: self.version,
        }
    }
}

/// What a server shows as the membership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The data of [`CONFIG_PATH`].
    pub text: String,
    /// The version in the text.
    pub version: i64,
    /// The transaction that made it, by the stat.
    pub mzxid: Zxid,
    /// The version in the stat, which no reconfiguration changes.
    pub data_version: i32,
    /// Who may change it.
    pub acl: Vec<Acl>,
}

impl Shown {
    /// Reads it from a server, which has caught up before.
    pub fn by(server: Endpoint) -> Result<Shown, CallError> {
        let mut client = Client::connect(server, SESSION_TIMEOUT_MS)?;
        client.sync()?;
        let (data, stat) = client.get_data(CONFIG_PATH)?;
        let (acl, _) = client.get_acl(CONFIG_PATH)?;
        client.close()?;
        let text = String::from_utf8_lossy(&data.unwrap_or_default()).into_owned();
        let version = version_in(&text)
            .ok_or_else(|| ClientError::Protocol(format!("{CONFIG_PATH} tells no version: {text:?}")))?;
        Ok(Shown { text, version, mzxid: stat.mzxid, data_version: stat.version, acl })
    }

    /// What stands in the file of this membership: Java sorts the lines and leaves the version to the name.
    pub fn file_text(&self) -> String {
        let mut lines: Vec<&str> = self.text.lines().filter(|line| !line.starts_with("version=")).collect();
        lines.sort_unstable();
        lines.join("\n")
    }
}

/// The version in a membership.
pub fn version_in(text: &str) -> Option<i64> {
    let digits = text.lines().find_map(|line| line.strip_prefix("version="))?;
    i64::from_str_radix(digits, 16).ok()
}

/// A session of the superuser, or of nobody.
pub fn session(server: Endpoint, superuser: bool) -> Result<Client, CallError> {
    let mut client = Client::connect(server, SESSION_TIMEOUT_MS)?;
    if superuser {
        client.authenticate("digest", SUPERUSER)?;
    }
    Ok(client)
}

/// Asks for a change. The new membership as the answer tells it.
pub fn ask(server: Endpoint, superuser: bool, change: &Change) -> Result<String, CallError> {
    let mut client = session(server, superuser)?;
    let text = match client.call(OpCode::Reconfig, &change.request())? {
        Response::Data(data, _) => String::from_utf8_lossy(&data.unwrap_or_default()).into_owned(),
        other => return Err(ClientError::Protocol(format!("unexpected body {other:?}")).into()),
    };
    // The change may take the connection away.
    let _ = client.close();
    Ok(text)
}

/// Asks for two changes at once, again and again until the second finds the first under way. The first makes
/// nobody restart. How many pairs it took.
pub fn meet_another(server: Endpoint, changes: &[Change; 2]) -> Result<usize> {
    let mut client = session(server, true)?;
    for pair in 1..=PAIRS_MAX {
        for change in changes {
            change.send(&mut client)?;
        }
        client.receive()?.result.context("the first of two changes")?;
        match client.receive()?.result {
            Err(ErrorCode::ReconfigInProgress) => {
                client.close()?;
                return Ok(pair);
            }
            Ok(_) => {}
            other => anyhow::bail!("the second of two changes was answered with {other:?}"),
        }
    }
    anyhow::bail!("{PAIRS_MAX} pairs of changes never met")
}

/// Lets kazoo remove members.
pub fn kazoo_leave(toolbox: &Toolbox, server: Endpoint, numbers: &str, log: &std::path::Path) -> Result<()> {
    let mut python = Command::new(toolbox.venv().join("bin/python"));
    python.args(["-c", KAZOO_SCRIPT, &server.to_string(), numbers]);
    run(python, Stdio::null(), log).map(|_| ())
}

/// Lets Java's shell add a member and show the outcome; what it printed.
pub fn zkcli_join(toolbox: &Toolbox, server: Endpoint, line: &str, dir: &std::path::Path) -> Result<String> {
    let script = dir.join("zkcli-script.txt");
    let user = String::from_utf8_lossy(SUPERUSER);
    std::fs::write(&script, format!("addauth digest {user}\nreconfig -add {line}\nconfig\nquit\n"))?;
    let mut java = toolbox.java(JavaRelease::V3_9, Logging::Off);
    java.args(["org.apache.zookeeper.ZooKeeperMain", "-server", &server.to_string()]);
    run(java, std::fs::File::open(&script)?.into(), &dir.join("zkcli.log"))
}

fn run(command: Command, input: Stdio, log: &std::path::Path) -> Result<String> {
    let mut process = Process::spawn_reading(command, input, log)?;
    let status = process.wait(TOOL_LIMIT).with_context(|| process.log_tail())?;
    ensure!(status.success(), "it ended with {status}:\n{}", process.log_tail());
    Ok(process.log())
}

/// Waits until a server shows a membership that is newer than `version`.
pub fn wait_for_newer(server: Endpoint, version: i64, limit: Duration) -> Result<Option<Shown>> {
    let mut last = None;
    let found = wait_for("a newer membership", limit, || {
        last = Shown::by(server).ok();
        Ok(last.as_ref().filter(|shown| shown.version > version).map(|_| ()))
    });
    Ok(found.ok().and(last))
}
