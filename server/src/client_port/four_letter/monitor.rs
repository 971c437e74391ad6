//! `mntr`: metrics under the names that ZooKeeper 3.9 gives them (`MonitorCommand`, `ServerMetrics`).
//!
//! Only what is measured is printed, and zeros for what this server does not have at all, so that they are true.
//! The order is Java's: gauges, gauge sets, counters, summaries, summaries with percentiles.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use ::tree::{QuotaValues, Tree};
use replica::status::ServerRole;

use super::process;
use super::server_lines::mode;
use super::text::{JavaDouble, Text, mean};
use crate::context::ServerContext;
use crate::stats::{Latency, LatencyDistribution, read};
use crate::version::FULL_VERSION;

/// Nodes below `/zookeeper/quota` that are looked at. Everybody may ask, and readers of the tree wait for nothing
/// else: beyond, the quota gauges are left out, since parts of sums would be wrong.
const QUOTA_NODES_MAX: usize = 20_000;

const QUOTA: &str = "/zookeeper/quota";

pub(super) fn write_mntr(out: &mut Text, server: &ServerContext, tree: &Tree) -> fmt::Result {
    put(out, "version", FULL_VERSION)?;
    put(out, "server_state", mode(server))?;
    write_ensemble(out, server)?;
    write_gauges(out, server, tree)?;
    write_quotas(out, tree)?;
    write_counters(out, server)?;
    write_summary(out, "fsynctime", &server.stats.fsync)?;
    write_summary(out, "snapshottime", &server.stats.snapshot)?;
    write_percentiles(out, "readlatency", &server.stats.read_latency)?;
    write_percentiles(out, "updatelatency", &server.stats.update_latency)
}

fn put(out: &mut Text, key: &str, value: impl Display) -> fmt::Result {
    writeln!(out, "zk_{key}\t{value}")
}

/// What a member knows of its ensemble (`Leader.registerMetrics`, `QuorumPeer`).
fn write_ensemble(out: &mut Text, server: &ServerContext) -> fmt::Result {
    let Some(standing) = &server.standing else { return Ok(()) };
    let status = &server.shared.status;
    let state = match status.role() {
        ServerRole::Leader => "leading - broadcast",
        ServerRole::Follower => "following - broadcast",
        ServerRole::Observer => "observing - broadcast",
        ServerRole::Standalone | ServerRole::Looking | ServerRole::ReadOnly => "looking",
    };
    put(out, "peer_state", state)?;
    if status.role() == ServerRole::Observer {
        put(out, "observer_master_id", server.stats.learns_from.load(Relaxed))?;
    }
    if status.role() == ServerRole::Follower {
        put(out, "synced_observers", status.observers_served())?;
    }
    put(out, "quorum_size", standing.read().membership.voters().count())?;
    let Some(learners) = status.learners() else { return Ok(()) };
    put(out, "learners", learners.connected)?;
    put(out, "synced_followers", learners.followers)?;
    put(out, "synced_non_voting_followers", learners.non_voting_followers)?;
    put(out, "synced_observers", learners.observers)?;
    put(out, "pending_syncs", learners.pending_syncs)?;
    put(out, "leader_uptime", server.clock.monotonic_ms().saturating_sub(status.role_since_ms()))
}

fn write_gauges(out: &mut Text, server: &ServerContext, tree: &Tree) -> fmt::Result {
    let stats = &server.stats;
    let latency = &stats.latency;
    put(out, "avg_latency", JavaDouble(mean(latency.sum_ms(), latency.count())))?;
    put(out, "max_latency", latency.max_ms())?;
    put(out, "min_latency", latency.min_ms())?;
    put(out, "packets_received", read(&stats.packets_received))?;
    put(out, "packets_sent", read(&stats.packets_sent))?;
    put(out, "num_alive_connections", server.registry.count())?;
    put(out, "outstanding_requests", server.intake.outstanding())?;
    put(out, "uptime", server.clock.monotonic_ms())?;
    put(out, "znode_count", tree.node_count())?;
    let watches = server.shared.watches.lock().counts();
    put(out, "watch_count", watches.data + watches.child)?;
    put(out, "ephemerals_count", tree.ephemerals_count())?;
    put(out, "approximate_data_size", tree.approximate_data_size())?;
    put(out, "global_sessions", tree.sessions().len())?;
    put(out, "local_sessions", 0)?;
    if let Some(files) = process::open_files() {
        put(out, "open_file_descriptor_count", files)?;
    }
    if let Some(files_max) = process::open_files_max() {
        put(out, "max_file_descriptor_count", files_max)?;
    }
    put(out, "connection_drop_probability", JavaDouble(0.0))?;
    put(out, "outstanding_tls_handshake", 0)?;
    put(out, "auth_failed_count", read(&stats.auth_failed))
}

fn write_counters(out: &mut Text, server: &ServerContext) -> fmt::Result {
    let stats = &server.stats;
    put(out, "snapshot_error_count", read(&stats.snapshot_errors))?;
    put(out, "connection_request_count", read(&stats.connection_requests))?;
    put(out, "connection_rejected", read(&stats.connections_rejected))?;
    put(out, "bytes_received_count", read(&stats.bytes_received))?;
    put(out, "sessionless_connections_expired", read(&stats.sessionless_expired))?;
    put(out, "stale_sessions_expired", read(&stats.sessions_expired))?;
    put(out, "digest_mismatches_count", server.shared.status.digest_mismatches())?;
    put(out, "watch_bytes", server.shared.watch_bytes())
}

fn write_summary(out: &mut Text, name: &str, latency: &Latency) -> fmt::Result {
    let average = JavaDouble(mean(latency.sum_ms(), latency.count()));
    put(out, &format!("avg_{name}"), average)?;
    put(out, &format!("min_{name}"), latency.min_ms())?;
    put(out, &format!("max_{name}"), latency.max_ms())?;
    put(out, &format!("cnt_{name}"), latency.count())?;
    put(out, &format!("sum_{name}"), latency.sum_ms())
}

fn write_percentiles(out: &mut Text, name: &str, distribution: &LatencyDistribution) -> fmt::Result {
    write_summary(out, name, distribution.latency())?;
    for (key, per_mille) in [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)] {
        // The middle of a bucket may lie above everything that is in it.
        let quantile_ms = distribution.quantile_ms(per_mille).min(distribution.latency().max_ms());
        put(out, &format!("{key}_{name}"), quantile_ms)?;
    }
    Ok(())
}

/// Limits and usage below one node right under the root, summed up (`QuotaMetricsUtils`).
#[derive(Clone, Copy, Default)]
struct NamespaceQuota {
    limits: Option<Amounts>,
    usage: Option<Amounts>,
}

#[derive(Clone, Copy, Default)]
struct Amounts {
    count: i64,
    bytes: i64,
}

impl Amounts {
    fn plus(this: Option<Amounts>, count: i64, bytes: i64) -> Option<Amounts> {
        let this = this.unwrap_or_default();
        let (count, bytes) = (this.count.saturating_add(count), this.bytes.saturating_add(bytes));
        Some(Amounts { count, bytes })
    }
}

fn write_quotas(out: &mut Text, tree: &Tree) -> fmt::Result {
    let Some(quotas) = quotas(tree) else { return Ok(()) };
    type Pick = fn(&NamespaceQuota) -> Option<i64>;
    let gauges: [(&str, Pick); 4] = [
        ("count_limit", |quota| Some(quota.limits?.count)),
        ("bytes_limit", |quota| Some(quota.limits?.bytes)),
        ("count_usage", |quota| Some(quota.usage?.count)),
        ("bytes_usage", |quota| Some(quota.usage?.bytes)),
    ];
    for (gauge, pick) in gauges {
        for (namespace, quota) in &quotas {
            if let Some(value) = pick(quota) {
                put(out, &format!("{namespace}_quota_{gauge}_per_namespace"), value)?;
            }
        }
    }
    Ok(())
}

/// Every namespace with a quota somewhere in it; `None` if there are too many quotas to look at.
fn quotas(tree: &Tree) -> Option<BTreeMap<String, NamespaceQuota>> {
    let mut quotas: BTreeMap<String, NamespaceQuota> = BTreeMap::new();
    let mut paths = vec![QUOTA.to_owned()];
    let mut seen = 0;
    while let Some(path) = paths.pop() {
        seen += 1;
        if seen > QUOTA_NODES_MAX {
            return None;
        }
        let Some(node) = tree.find(&path) else { continue };
        if node.child_count() > 0 {
            if seen + paths.len() + node.child_count() > QUOTA_NODES_MAX {
                return None;
            }
            paths.extend(node.children().map(|name| format!("{path}/{name}")));
            continue;
        }
        let Some((prefix, leaf)) = path[QUOTA.len()..].rsplit_once('/') else { continue };
        let Some(namespace) = prefix.split('/').find(|name| !name.is_empty()) else { continue };
        let Some(values) = QuotaValues::parse(node.data()) else { continue };
        match leaf {
            "zookeeper_limits" => {
                // A hard limit goes before a soft one.
                let hard_or_soft = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
                let count = hard_or_soft(values.count_hard(), values.count());
                let bytes = hard_or_soft(values.bytes_hard(), values.bytes());
                let quota = quotas.entry(namespace.to_owned()).or_default();
                quota.limits = Amounts::plus(quota.limits, count, bytes);
            }
            "zookeeper_stats" => {
                let quota = quotas.entry(namespace.to_owned()).or_default();
                quota.usage = Amounts::plus(quota.usage, values.count(), values.bytes());
            }
            _ => {}
        }
    }
    Some(quotas)
}
