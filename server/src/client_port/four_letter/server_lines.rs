//! `srvr` and `stat` (`StatCommand`, `ServerStats.toString`).

use std::fmt::{self, Write};

use ::tree::Tree;
use replica::status::ServerRole;

use super::connections::{Detail, write_connection};
use super::text::{JavaDouble, Text, mean};
use crate::context::ServerContext;
use crate::stats::read;
use crate::version::FULL_VERSION;

/// The word for what the server is (`QuorumStats.Provider`).
pub(super) fn mode(server: &ServerContext) -> &'static str {
    match server.shared.status.role() {
        ServerRole::Standalone => "standalone",
        ServerRole::Looking => "leaderelection",
        ServerRole::Leader => "leader",
        ServerRole::Follower => "follower",
        ServerRole::Observer => "observer",
        ServerRole::ReadOnly => "read-only",
    }
}

pub(super) fn write_srvr(out: &mut Text, server: &ServerContext, tree: &Tree) -> fmt::Result {
    write_version(out, server)?;
    write_counts(out, server, tree)
}

pub(super) fn write_stat(out: &mut Text, server: &ServerContext, tree: &Tree) -> fmt::Result {
    write_version(out, server)?;
    writeln!(out, "Clients:")?;
    for link in server.registry.links() {
        write_connection(out, &link, Detail::Brief)?;
    }
    writeln!(out)?;
    write_counts(out, server, tree)
}

fn write_version(out: &mut Text, server: &ServerContext) -> fmt::Result {
    writeln!(out, "Zookeeper version: {FULL_VERSION}")?;
    if server.shared.status.role() == ServerRole::ReadOnly {
        writeln!(out, "READ-ONLY mode; serving only read-only clients")?;
    }
    Ok(())
}

fn write_counts(out: &mut Text, server: &ServerContext, tree: &Tree) -> fmt::Result {
    let stats = &server.stats;
    let latency = &stats.latency;
    let average = JavaDouble(mean(latency.sum_ms(), latency.count()));
    writeln!(out, "Latency min/avg/max: {}/{average}/{}", latency.min_ms(), latency.max_ms())?;
    writeln!(out, "Received: {}", read(&stats.packets_received))?;
    writeln!(out, "Sent: {}", read(&stats.packets_sent))?;
    writeln!(out, "Connections: {}", server.registry.count())?;
    writeln!(out, "Outstanding: {}", server.intake.outstanding())?;
    writeln!(out, "Zxid: {}", tree.last_zxid())?;
    writeln!(out, "Mode: {}", mode(server))?;
    writeln!(out, "Node count: {}", tree.node_count())
}
