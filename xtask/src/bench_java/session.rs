//! One round after the other, and what was found.

use anyhow::{Context, Result, ensure};

use super::client::Figures;
use super::figures::{Figure, Load, Samples};
use super::server::{Bench, Server, Side};

/// A JIT compiler needs this long under load before it is at its best, in ms; both sides get it.
const WARM_UP_MS: u64 = 6_000;
/// A node that the filling creates.
const A_NODE: &str = "/bench.fill/p00000/n000000000";
/// Writes between two snapshots while the probe is to see some: at 200 sets a second, one every 3 to 5 s.
const SNAP_COUNT_LOW: u32 = 1_000;
/// Likewise, while it is to see none.
const SNAP_COUNT_HIGH: u32 = 1_000_000_000;
/// How long a probe lasts, in ms.
const PROBE_MS: u64 = 15_000;

/// All rounds.
#[derive(Debug)]
pub struct Session {
    /// What was measured.
    pub samples: Samples,
    /// Wrong replies, of both sides together.
    pub faults: u64,
    bench: Bench,
    figures: Vec<Figure>,
    duration_ms: u64,
    nodes: u64,
}

impl Session {
    /// Nothing measured yet.
    pub fn new(bench: Bench, figures: Vec<Figure>, duration_ms: u64, nodes: u64) -> Session {
        Session { samples: Samples::default(), faults: 0, bench, figures, duration_ms, nodes }
    }

    /// Measures everything on one side.
    pub fn round(&mut self, side: Side) -> Result<()> {
        let bench = self.bench.clone();
        let figures = self.figures.clone();
        let on_one_server = |figure: &Figure| figure.load().is_some() || *figure == Figure::Watch1000;
        if figures.iter().any(on_one_server) {
            let server = bench.start_empty(side)?;
            let warm_up = args(["--keep", "--duration-ms"], [WARM_UP_MS]);
            self.run(&server, &warm_up).context("warming up")?;
            for figure in figures.iter().copied().filter(on_one_server) {
                eprintln!("  {}", figure.name());
                match figure.load() {
                    Some(load) => self.load(&server, side, figure, load),
                    None => self.watch(&server, side),
                }
                .with_context(|| figure.name())?;
            }
            server.kill()?;
        }
        if figures.contains(&Figure::Nodes) {
            eprintln!("  nodes");
            self.nodes(&bench, side).context("nodes")?;
        }
        if figures.contains(&Figure::Idle5000) {
            eprintln!("  idle5000");
            self.idle(&bench, side).context("idle5000")?;
        }
        Ok(())
    }

    fn run(&mut self, server: &Server<'_>, args: &[String]) -> Result<Figures> {
        let figures = server.bench(args)?;
        self.faults += figures.get("faults")? as u64;
        Ok(figures)
    }

    fn load(&mut self, server: &Server<'_>, side: Side, figure: Figure, load: Load) -> Result<()> {
        let Load { connections, pipeline, mix } = load;
        let mut all = args(["--connections", "--pipeline"], [connections as u64, pipeline as u64]);
        all.extend(args(["--warmup-ms", "--duration-ms"], [self.duration_ms / 3, self.duration_ms]));
        all.extend(["--mix", mix, "--keep", "--floor", "--floor-dir"].map(str::to_owned));
        all.push(self.bench.dir().display().to_string());
        let found = self.run(server, &all)?;
        for name in ["ops_per_s", "server_cpu_us_per_op", "p50_us", "p99_us", "other_cpu_busy"] {
            self.samples.add(figure, name, side, found.get(name)?);
        }
        let floor = |name| found.get(name);
        let of_echo = found.get("ops_per_s")? / floor("floor_echo_ops_per_s")?;
        self.samples.add(figure, "of_echo", side, of_echo);
        let floors = floor("floor_fdatasync_p50_us")? + floor("floor_echo_1x1_p50_us")?;
        self.samples.add(figure, "of_floors", side, found.get("p50_us")? / floors);
        for name in ["floor_echo_ops_per_s", "floor_echo_1x1_p50_us", "floor_fdatasync_p50_us"] {
            self.samples.add(figure, name, side, floor(name)?);
        }
        Ok(())
    }

    fn watch(&mut self, server: &Server<'_>, side: Side) -> Result<()> {
        let figure = Figure::Watch1000;
        for (in_flight, name) in [(1, "events_per_s_1"), (8, "events_per_s_8")] {
            let mut all = args(["--watch-fanout", "--in-flight"], [1_000, in_flight]);
            all.extend(args(["--warmup-ms", "--duration-ms"], [self.duration_ms / 3, self.duration_ms]));
            let found = self.run(server, &all)?;
            self.samples.add(figure, name, side, found.get("events_per_s")?);
            self.samples.add(figure, "other_cpu_busy", side, found.get("other_cpu_busy")?);
            match in_flight {
                1 => self.samples.add(figure, "last_p50_us", side, found.get("last_watcher_p50_us")?),
                _ => self.samples.add(figure, "cpu_us_per_event", side, found.get("server_cpu_us_per_op")?),
            }
        }
        Ok(())
    }

    /// Fills a server, kills it, and looks at what it does with so many nodes.
    fn nodes(&mut self, bench: &Bench, side: Side) -> Result<()> {
        let figure = Figure::Nodes;
        let server = bench.start_empty(side)?;
        let before = server.settled_bytes()?;
        let fill = args(["--fill", "--connections", "--pipeline"], [self.nodes, 8, 128]);
        let found = self.run(&server, &fill)?;
        self.samples.add(figure, "fill_ops_per_s", side, found.get("ops_per_s")?);
        self.samples.add(figure, "fill_max_us", side, found.get("max_us")?);
        let bytes = server.settled_bytes()? - before;
        self.samples.add(figure, "bytes_per_node", side, bytes / self.nodes as f64);
        server.kill()?;

        let server = bench.start(side, None)?;
        let restart = server.first_read(A_NODE)?;
        self.samples.add(figure, "restart_ms", side, restart.as_secs_f64() * 1e3);
        server.kill()?;

        let (quiet, _) = self.probe(bench, side, SNAP_COUNT_HIGH)?;
        let (disturbed, snapshots) = self.probe(bench, side, SNAP_COUNT_LOW)?;
        ensure!(snapshots > 0, "no snapshot was taken during the probe");
        let max = |found: &Figures, op: &str| found.get(&format!("{op}_max_us"));
        let (mut slowest_quiet, mut slowest_disturbed): (f64, f64) = (0.0, 0.0);
        let names = [
            ("get", "quiet_get_max_us", "snapshot_get_max_us"),
            ("set", "quiet_set_max_us", "snapshot_set_max_us"),
        ];
        for (op, quiet_name, disturbed_name) in names {
            let (quiet, disturbed) = (max(&quiet, op)?, max(&disturbed, op)?);
            self.samples.add(figure, quiet_name, side, quiet);
            self.samples.add(figure, disturbed_name, side, disturbed);
            slowest_quiet = slowest_quiet.max(quiet);
            slowest_disturbed = slowest_disturbed.max(disturbed);
        }
        // What the machine itself was late by, at the same time or in the quiet run, is nobody's fault.
        let control = max(&disturbed, "control")?;
        self.samples.add(figure, "snapshot_control_max_us", side, control);
        let delay = (slowest_disturbed - slowest_quiet.max(control)).max(0.0);
        self.samples.add(figure, "snapshot_delay_us", side, delay);
        Ok(())
    }

    /// What a probe saw, and how many snapshots were taken meanwhile.
    fn probe(&mut self, bench: &Bench, side: Side, snap_count: u32) -> Result<(Figures, usize)> {
        let server = bench.start(side, Some(snap_count))?;
        server.first_read(A_NODE)?;
        let before = bench.snapshots()?;
        let found = self.run(&server, &args(["--probe", "--duration-ms"], [PROBE_MS]))?;
        let snapshots = bench.snapshots()?.saturating_sub(before);
        server.kill()?;
        Ok((found, snapshots))
    }

    fn idle(&mut self, bench: &Bench, side: Side) -> Result<()> {
        let server = bench.start_empty(side)?;
        let found = self.run(&server, &args(["--idle-sessions"], [5_000]))?;
        self.samples.add(
            Figure::Idle5000,
            "bytes_per_session",
            side,
            found.get("server_rss_bytes_per_session")?,
        );
        self.samples.add(Figure::Idle5000, "cpu_busy", side, found.get("server_cpu_busy")?);
        server.kill()
    }
}

/// Names and their numbers; names without a number come first.
fn args<const N: usize, const M: usize>(names: [&str; N], numbers: [u64; M]) -> Vec<String> {
    let (flags, options) = names.split_at(N - M);
    let mut all: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    for (name, number) in options.iter().zip(numbers) {
        all.extend([(*name).to_owned(), number.to_string()]);
    }
    all
}
