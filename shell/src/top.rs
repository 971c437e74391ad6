//! `top`: the servers of the ensemble, side by side.
//!
//! The servers are those that the connect string names and those that the configuration tells clients of. Each is asked
//! `srvr`; one that does not answer has a line, too.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::catalogue::Entry;
use crate::context::Context;
use crate::ensemble::client_addresses;
use crate::failure::{Failure, Outcome};
use crate::options::Parsed;
use crate::search::number;

/// How long a server may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer; `srvr` takes some hundred.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Servers that are looked at: far above any ensemble.
const SERVERS_MAX: usize = 64;
const PAUSE_SECONDS: u64 = 2;
/// To the upper left corner, and nothing below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// `top`.
pub async fn top(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    if parsed.words.len() > 1 {
        return Err(Failure::new(entry.usage()));
    }
    let redraws = context.output.is_terminal() && !context.output.is_json();
    let times = number(parsed, "n")?.unwrap_or(if redraws { u64::MAX } else { 1 });
    let pause = Duration::from_secs(number(parsed, "i")?.unwrap_or(PAUSE_SECONDS));
    let mut servers: BTreeSet<String> = context.session.hosts().iter().map(ToString::to_string).collect();
    for look in 0..times {
        if look > 0 {
            tokio::time::sleep(pause).await;
        }
        // Without a connection, or without permission, those that are known will do. A connection is waited for once.
        if (look == 0 || context.session.state().is_connected())
            && let Ok((config, _)) = context.clients().await.root.config().await
        {
            servers.extend(client_addresses(&String::from_utf8_lossy(&config)));
        }
        let rows = survey(servers.iter().take(SERVERS_MAX)).await;
        let newest = newest(&rows);
        context.output.result(
            || format!("{}{}", if redraws { CLEAR } else { "" }, table(&rows, newest)),
            || json!({ "servers": rows.iter().map(|row| row.to_json(newest)).collect::<Vec<_>>() }),
        );
    }
    Ok(())
}

async fn survey<'s>(servers: impl Iterator<Item = &'s String>) -> Vec<Row> {
    let mut asking = JoinSet::new();
    for server in servers.cloned() {
        asking.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, ask(&server)).await;
            let status = match answer {
                Err(_) => Err("no answer".to_owned()),
                Ok(Err(error)) => Err(error.to_string()),
                Ok(Ok(answer)) => Status::parse(&answer),
            };
            Row { server, status }
        });
    }
    let mut rows = asking.join_all().await;
    rows.sort_by(|one, other| one.server.cmp(&other.server));
    rows
}

async fn ask(server: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(b"srvr").await?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await {
        // A server that closes with bytes of ours unread resets the connection behind its answer.
        Err(error) if error.kind() != ErrorKind::ConnectionReset || answer.is_empty() => Err(error),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// A server, and what it says or why it does not.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    server: String,
    status: Result<Status, String>,
}

/// What `srvr` says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Status {
    role: String,
    zxid: Zxid,
    /// Least, mean and most, in milliseconds.
    latency: String,
    connections: u64,
    outstanding: u64,
    nodes: u64,
}

/// The epoch is in the upper half.
type Zxid = u64;

impl Status {
    fn parse(answer: &str) -> Result<Status, String> {
        let field = |name: &str| {
            let mut fields = answer.lines().filter_map(|line| line.split_once(": "));
            fields.find(|(found, _)| *found == name).map(|(_, value)| value.trim())
        };
        let count = |name: &str| field(name)?.parse().ok();
        let status = || {
            Some(Status {
                role: field("Mode")?.to_owned(),
                zxid: u64::from_str_radix(field("Zxid")?.strip_prefix("0x")?, 16).ok()?,
                latency: field("Latency min/avg/max")?.to_owned(),
                connections: count("Connections")?,
                outstanding: count("Outstanding")?,
                nodes: count("Node count")?,
            })
        };
        status().ok_or_else(|| match answer.lines().next() {
            // It says why: it does not serve, or not this word.
            Some(line) if line.starts_with("This ZooKeeper instance") => "not serving".to_owned(),
            Some(line) if line.contains("not in the whitelist") => "srvr is not allowed".to_owned(),
            _ => "no answer of a ZooKeeper server".to_owned(),
        })
    }

    /// How many transactions it has not applied yet; `None` if it is in an older epoch, whose end nobody tells.
    fn behind(&self, newest: Zxid) -> Option<u64> {
        (self.zxid >> 32 == newest >> 32).then(|| newest.saturating_sub(self.zxid))
    }
}

/// The leader's last transaction. A Java leader may tell of an epoch's beginning only, and a follower of more than that.
fn newest(rows: &[Row]) -> Zxid {
    rows.iter().filter_map(|row| row.status.as_ref().ok()).map(|status| status.zxid).max().unwrap_or(0)
}

impl Row {
    fn cells(&self, newest: Zxid) -> [String; 8] {
        match &self.status {
            Err(reason) => {
                let mut cells: [String; 8] = Default::default();
                cells[0].clone_from(&self.server);
                cells[1].clone_from(reason);
                cells
            }
            Ok(status) => [
                self.server.clone(),
                status.role.clone(),
                format!("0x{:x}", status.zxid),
                status.behind(newest).map_or_else(|| "an epoch".to_owned(), |behind| behind.to_string()),
                status.latency.clone(),
                status.connections.to_string(),
                status.outstanding.to_string(),
                status.nodes.to_string(),
            ],
        }
    }

    fn to_json(&self, newest: Zxid) -> Value {
        match &self.status {
            Err(reason) => json!({ "server": self.server, "error": reason }),
            Ok(status) => json!({
                "server": self.server,
                "role": status.role,
                "zxid": format!("0x{:x}", status.zxid),
                "behind": status.behind(newest),
                "latency": status.latency,
                "connections": status.connections,
                "outstanding": status.outstanding,
                "nodes": status.nodes,
            }),
        }
    }
}

fn table(rows: &[Row], newest: Zxid) -> String {
    let head = ["SERVER", "ROLE", "ZXID", "BEHIND", "LATENCY", "CONNECTIONS", "OUTSTANDING", "NODES"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| row.cells(newest)));
    let widths: Vec<usize> =
        (0..head.len()).map(|at| lines.iter().map(|line| line[at].len()).max().unwrap_or(0)).collect();
    let line = |cells: &[String; 8]| -> String {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(mode: &str, zxid: &str) -> String {
        format!(
            "Zookeeper version: 3.9.5-x, built on 2026-11-22 00:00 UTC\nLatency min/avg/max: 0/0.5/8\nReceived: 12\n\
             Sent: 11\nConnections: 2\nOutstanding: 1\nZxid: {zxid}\nMode: {mode}\nNode count: 8\n"
        )
    }

    #[test]
    fn servers_stand_side_by_side() {
        let row = |server: &str, answer: &str| Row { server: server.into(), status: Status::parse(answer) };
        let rows = [
            row("a:2181", &answer("follower", "0x20000000a")),
            row("b:2181", &answer("leader", "0x20000000f")),
            row("c:2181", &answer("observer", "0x1000000ff")),
            row("d:2181", "This ZooKeeper instance is not currently serving requests\n"),
            row("e:2181", "srvr is not executed because it is not in the whitelist.\n"),
            row("f:2181", "HTTP/1.1 400 Bad Request\r\n"),
        ];
        let newest = newest(&rows);
        assert_eq!(
            table(&rows, newest),
            "SERVER  ROLE                             ZXID         BEHIND    LATENCY  CONNECTIONS  OUTSTANDING  NODES\n\
             a:2181  follower                         0x20000000a  5         0/0.5/8  2            1            8\n\
             b:2181  leader                           0x20000000f  0         0/0.5/8  2            1            8\n\
             c:2181  observer                         0x1000000ff  an epoch  0/0.5/8  2            1            8\n\
             d:2181  not serving\n\
             e:2181  srvr is not allowed\n\
             f:2181  no answer of a ZooKeeper server"
        );
        assert_eq!(
            rows[0].to_json(newest).to_string(),
            r#"{"behind":5,"connections":2,"latency":"0/0.5/8","nodes":8,"outstanding":1,"role":"follower","server":"a:2181","zxid":"0x20000000a"}"#
        );
        assert_eq!(rows[2].to_json(newest)["behind"], Value::Null);
        assert_eq!(rows[3].to_json(newest).to_string(), r#"{"error":"not serving","server":"d:2181"}"#);
    }
}
