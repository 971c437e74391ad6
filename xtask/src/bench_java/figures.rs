//! What is measured, and what it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::server::Side;

/// A group of measurements that belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// getData, 64 connections with 16 requests each.
    Get64x16,
    /// getData, 64 connections with one request each.
    Get64x1,
    /// setData, 64 connections with 16 requests each.
    Set64x16,
    /// setData, one connection with one request.
    Set1x1,
    /// Nine getData to one setData, 64 connections with 16 requests each.
    Mix64x16,
    /// Events to 1,000 watchers of one node.
    Watch1000,
    /// create, 64 connections with 16 requests each: behind the others, because it makes the tree large.
    Create64x16,
    /// Memory, restart and snapshots with a million nodes.
    Nodes,
    /// 5,000 sessions that only ping.
    Idle5000,
    /// The leader of three is killed.
    Kill,
    /// A follower comes back after many writes.
    Away,
}

impl Figure {
    /// Those of one server, in the order in which they are measured.
    pub const STANDALONE: [Figure; 9] = [
        Figure::Get64x16,
        Figure::Get64x1,
        Figure::Set64x16,
        Figure::Set1x1,
        Figure::Mix64x16,
        Figure::Watch1000,
        Figure::Create64x16,
        Figure::Nodes,
        Figure::Idle5000,
    ];

    /// Those of an ensemble of three.
    pub const ENSEMBLE: [Figure; 5] =
        [Figure::Get64x16, Figure::Set64x16, Figure::Create64x16, Figure::Away, Figure::Kill];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Get64x16 => "get64x16",
            Figure::Get64x1 => "get64x1",
            Figure::Set64x16 => "set64x16",
            Figure::Set1x1 => "set1x1",
            Figure::Mix64x16 => "mix64x16",
            Figure::Watch1000 => "watch1000",
            Figure::Create64x16 => "create64x16",
            Figure::Nodes => "nodes",
            Figure::Idle5000 => "idle5000",
            Figure::Kill => "kill",
            Figure::Away => "away",
        }
    }

    /// Connections, pipeline and mix of a figure that is a load; `None` for the others.
    pub fn load(self) -> Option<Load> {
        let load = |connections, pipeline, mix| Some(Load { connections, pipeline, mix });
        match self {
            Figure::Get64x16 => load(64, 16, "get=1"),
            Figure::Get64x1 => load(64, 1, "get=1"),
            Figure::Set64x16 => load(64, 16, "set=1"),
            Figure::Set1x1 => load(1, 1, "set=1"),
            Figure::Mix64x16 => load(64, 16, "get=90,set=10"),
            Figure::Create64x16 => load(64, 16, "create=1"),
            Figure::Watch1000 | Figure::Nodes | Figure::Idle5000 | Figure::Kill | Figure::Away => None,
        }
    }
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(text: &str) -> Result<Figure, String> {
        let all = || Figure::STANDALONE.into_iter().chain(Figure::ENSEMBLE);
        all().find(|figure| figure.name() == text).ok_or_else(|| {
            let names: BTreeSet<_> = all().map(Figure::name).collect();
            format!("unknown figure: one of {}", Vec::from_iter(names).join(", "))
        })
    }
}

/// A closed loop of operations.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// Requests under way on each.
    pub pipeline: usize,
    /// Operations and weights.
    pub mix: &'static str,
}

/// Something that is measured on both sides, in every round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Metric {
    /// The figure it belongs to.
    pub figure: &'static str,
    /// What it is called in the samples.
    pub name: &'static str,
}

/// What was measured, by metric and side, one value per round.
#[derive(Clone, Default, Debug)]
pub struct Samples(BTreeMap<(Metric, Side), Vec<f64>>);

impl Samples {
    /// Adds the value of one round.
    pub fn add(&mut self, figure: Figure, name: &'static str, side: Side, value: f64) {
        let metric = Metric { figure: figure.name(), name };
        self.0.entry((metric, side)).or_default().push(value);
    }

    /// The values of a metric, in the order of the rounds.
    pub fn get(&self, metric: Metric, side: Side) -> &[f64] {
        self.0.get(&(metric, side)).map_or(&[], Vec::as_slice)
    }

    /// All values of one name, whatever the figure and the side.
    pub fn all_named(&self, name: &str) -> Vec<f64> {
        self.0
            .iter()
            .filter(|((metric, _), _)| metric.name == name)
            .flat_map(|(_, values)| values.clone())
            .collect()
    }
}

/// How a target is put.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// Ours divided by Java's, of the same round, at least.
    RatioAtLeast(f64),
    /// Ours divided by Java's, of the same round, at most.
    RatioAtMost(f64),
    /// Ours, at least.
    AtLeast(f64),
    /// Ours, at most.
    AtMost(f64),
    /// Only for information.
    None,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it says in the first column.
    pub label: &'static str,
    /// What is shown.
    pub metric: Metric,
    /// Digits after the point.
    pub decimals: usize,
    /// What it should be.
    pub target: Target,
}

const fn row(
    figure: &'static str,
    name: &'static str,
    label: &'static str,
    decimals: usize,
    target: Target,
) -> Row {
    Row { label, metric: Metric { figure, name }, decimals, target }
}

/// The table of one server.
pub const STANDALONE_ROWS: &[Row] = &[
    row("get64x16", "ops_per_s", "getData 64x16, ops/s", 0, Target::RatioAtLeast(8.0)),
    row(
        "get64x16",
        "server_cpu_us_per_op",
        "getData 64x16, server CPU per op, us",
        2,
        Target::RatioAtMost(0.1),
    ),
    row("get64x16", "of_echo", "getData 64x16, of the echo floor", 2, Target::None),
    row("get64x16", "p99_us", "getData 64x16, p99, us", 0, Target::None),
    row("get64x1", "ops_per_s", "getData 64x1, ops/s", 0, Target::None),
    row("get64x1", "of_echo", "getData 64x1, of the echo floor", 2, Target::AtLeast(0.8)),
    row("set64x16", "ops_per_s", "setData 64x16, ops/s", 0, Target::RatioAtLeast(5.0)),
    row(
        "set64x16",
        "server_cpu_us_per_op",
        "setData 64x16, server CPU per op, us",
        2,
        Target::RatioAtMost(1.0 / 6.0),
    ),
    row("set64x16", "p99_us", "setData 64x16, p99, us", 0, Target::None),
    row("create64x16", "ops_per_s", "create 64x16, ops/s", 0, Target::RatioAtLeast(5.0)),
    row(
        "create64x16",
        "server_cpu_us_per_op",
        "create 64x16, server CPU per op, us",
        2,
        Target::RatioAtMost(1.0 / 6.0),
    ),
    row("create64x16", "p99_us", "create 64x16, p99, us", 0, Target::None),
    row("set1x1", "p50_us", "setData 1x1, median, us", 0, Target::None),
    row("set1x1", "of_floors", "setData 1x1, median / (fdatasync + echo)", 2, Target::AtMost(1.3)),
    row("mix64x16", "ops_per_s", "90 % getData, 10 % setData, 64x16, ops/s", 0, Target::RatioAtLeast(5.0)),
    row("mix64x16", "server_cpu_us_per_op", "the same, server CPU per op, us", 2, Target::None),
    row(
        "watch1000",
        "events_per_s_1",
        "1,000 watchers, one set in flight, events/s",
        0,
        Target::RatioAtLeast(5.0),
    ),
    row(
        "watch1000",
        "events_per_s_8",
        "1,000 watchers, eight sets in flight, events/s",
        0,
        Target::RatioAtLeast(5.0),
    ),
    row("watch1000", "cpu_us_per_event", "the same, server CPU per event, us", 2, Target::None),
    row("watch1000", "last_p50_us", "one set in flight, its last watcher, median, us", 0, Target::None),
    row("nodes", "fill_ops_per_s", "filling with the nodes, creates/s", 0, Target::None),
    row("nodes", "fill_max_us", "filling with the nodes, slowest reply, us", 0, Target::None),
    row("nodes", "bytes_per_node", "resident bytes per node", 0, Target::AtMost(250.0)),
    row("nodes", "restart_ms", "kill -9, start, first read, ms", 0, Target::RatioAtMost(0.1)),
    row("nodes", "quiet_get_max_us", "probe without a snapshot, slowest getData, us", 0, Target::None),
    row("nodes", "quiet_set_max_us", "probe without a snapshot, slowest setData, us", 0, Target::None),
    row("nodes", "snapshot_get_max_us", "probe during snapshots, slowest getData, us", 0, Target::None),
    row("nodes", "snapshot_set_max_us", "probe during snapshots, slowest setData, us", 0, Target::None),
    row(
        "nodes",
        "snapshot_control_max_us",
        "meanwhile, slowest reply of an echo server, us",
        0,
        Target::None,
    ),
    row("nodes", "snapshot_delay_us", "slowest reply, what snapshots add, us", 0, Target::AtMost(10_000.0)),
    row("idle5000", "bytes_per_session", "resident bytes per idle session", 0, Target::AtMost(3_072.0)),
    row("idle5000", "cpu_busy", "5,000 idle sessions, processors used", 3, Target::None),
];

/// The table of an ensemble of three.
pub const ENSEMBLE_ROWS: &[Row] = &[
    row("get64x16", "ops_per_s", "getData 64x16, ops/s", 0, Target::RatioAtLeast(8.0)),
    row("get64x16", "server_cpu_us_per_op", "getData 64x16, CPU of all servers per op, us", 2, Target::None),
    row("get64x16", "p99_us", "getData 64x16, p99, us", 0, Target::None),
    row("set64x16", "ops_per_s", "setData 64x16, ops/s", 0, Target::RatioAtLeast(5.0)),
    row(
        "set64x16",
        "server_cpu_us_per_op",
        "setData 64x16, CPU of all servers per op, us",
        2,
        Target::RatioAtMost(0.2),
    ),
    row("set64x16", "p99_us", "setData 64x16, p99, us", 0, Target::None),
    row("create64x16", "ops_per_s", "create 64x16, ops/s", 0, Target::RatioAtLeast(5.0)),
    row(
        "create64x16",
        "server_cpu_us_per_op",
        "create 64x16, CPU of all servers per op, us",
        2,
        Target::RatioAtMost(0.2),
    ),
    row("create64x16", "p99_us", "create 64x16, p99, us", 0, Target::None),
    row("away", "fill_ops_per_s", "creates while one of three is away, ops/s", 0, Target::None),
    row("away", "back_ms", "follower after them, start to in sync, ms", 0, Target::RatioAtMost(0.25)),
    row("kill", "gap_ms", "leader killed, longest gap in writes, ms", 0, Target::RatioAtMost(1.0 / 3.0)),
    row("kill", "gap_ms", "the same, by itself", 0, Target::AtMost(300.0)),
    row("kill", "p50_us", "the same client, one write, median, us", 0, Target::None),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_belongs_to_a_figure() {
        for (rows, figures) in
            [(STANDALONE_ROWS, Figure::STANDALONE.as_slice()), (ENSEMBLE_ROWS, Figure::ENSEMBLE.as_slice())]
        {
            for row in rows {
                let figure = row.metric.figure.parse::<Figure>();
                assert!(figure.is_ok_and(|figure| figures.contains(&figure)), "{}", row.label);
            }
        }
        assert!("get".parse::<Figure>().is_err());
    }
}
