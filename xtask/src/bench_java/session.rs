//! One round after the other, and what was found.

use anyhow::{Context, Result, ensure};

use super::client::Figures;
use super::figures::{Figure, Load, Samples};
use super::server::{Bench, Server, Side, Subject};

/// A JIT compiler needs this long under load before it is at its best, in ms; both sides get it.
const WARM_UP_MS: u64 = 6_000;
/// A node that the filling creates.
const A_NODE: &str = "/bench.fill/p00000/n000000000";
/// Writes between two snapshots while the probe is to see some: at 200 sets a second, one every 3 to 5 s.
const SNAP_COUNT_LOW: u32 = 1_000;
/// Likewise, while it is to see none.
const SNAP_COUNT_HIGH: u32 = 1_000_000_000;
/// A load is measured again if others used more processors than this.
const QUIET_PROCESSORS: f64 = 0.25;
/// How long a probe lasts, in ms.
const PROBE_MS: u64 = 15_000;

/// How a measurement is taken.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long every load is measured.
    pub duration_ms: u64,
    /// How many nodes the figure `nodes` is about.
    pub nodes: u64,
    /// How often a load is measured again because somebody else used the processors.
    pub retries: usize,
    /// What happens to an ensemble.
    pub failures: Failures,
}

/// What happens to the servers of an ensemble.
#[derive(Clone, Copy, Debug)]
pub struct Failures {
    /// How often our leader is killed.
    pub kills: usize,
    /// How often Java's is.
    pub java_kills: usize,
    /// How many writes a follower is away for.
    pub away_writes: u64,
}

/// All rounds.
#[derive(Debug)]
pub struct Session {
    /// What was measured.
    pub samples: Samples,
    /// Wrong replies, of both sides together.
    pub faults: u64,
    /// What is measured.
    pub bench: Bench,
    /// How.
    pub plan: Plan,
}

impl Session {
    /// Nothing measured yet.
    pub fn new(bench: Bench, plan: Plan) -> Session {
        Session { samples: Samples::default(), faults: 0, bench, plan }
    }

    /// Measures the figures on both sides. For the loads both servers are up, one of them idle, so that only
    /// seconds lie between the two measurements of a figure: a machine changes from minute to minute.
    pub fn round(&mut self, figures: &[Figure]) -> Result<()> {
        let bench = self.bench.clone();
        let (loads, others): (Vec<_>, Vec<_>) =
            figures.iter().copied().partition(|figure| !matches!(figure, Figure::Nodes | Figure::Idle5000));
        if !loads.is_empty() {
            let [java, ours] = Side::BOTH.map(|side| bench.start_empty(side));
            let servers = [java?, ours?];
            for server in &servers {
                self.warm_up(server)?;
            }
            for figure in loads {
                for server in &servers {
                    eprintln!("  {}, {}", figure.name(), server.side());
                    match figure.load() {
                        Some(load) => self.load(server, figure, load),
                        None => self.watch(server),
                    }
                    .with_context(|| format!("{}, {}", figure.name(), server.side()))?;
                }
            }
            for server in servers {
                server.kill()?;
            }
        }
        for figure in others {
            for side in Side::BOTH {
                eprintln!("  {}, {side}", figure.name());
                match figure {
                    Figure::Nodes => self.nodes(&bench, side),
                    _ => self.idle(&bench, side),
                }
                .with_context(|| format!("{}, {side}", figure.name()))?;
            }
        }
        Ok(())
    }

    /// Loads a server until it is at its best.
    pub fn warm_up(&mut self, server: &impl Subject) -> Result<()> {
        let warm_up = args(["--keep", "--duration-ms"], [WARM_UP_MS]);
        self.run(server, &warm_up).context("warming up")?;
        Ok(())
    }

    /// Runs the client, and counts the wrong replies.
    pub fn run(&mut self, server: &impl Subject, args: &[String]) -> Result<Figures> {
        let figures = server.bench(args)?;
        self.count_faults(&figures)?;
        Ok(figures)
    }

    /// Counts the wrong replies that a client saw.
    pub fn count_faults(&mut self, figures: &Figures) -> Result<()> {
        self.faults += figures.get("faults")? as u64;
        Ok(())
    }

    /// Runs until the machine was left alone, or often enough; the quietest run counts.
    fn run_quietly(&mut self, server: &impl Subject, args: &[String]) -> Result<Figures> {
        let mut quietest = self.run(server, args)?;
        for _ in 0..self.plan.retries {
            if quietest.get("other_cpu_busy")? <= QUIET_PROCESSORS {
                break;
            }
            let again = self.run(server, args)?;
            if again.get("other_cpu_busy")? < quietest.get("other_cpu_busy")? {
                quietest = again;
            }
        }
        Ok(quietest)
    }

    /// Measures a load, with the floors beside it.
    pub fn load(&mut self, server: &impl Subject, figure: Figure, load: Load) -> Result<()> {
        let side = server.side();
        let Load { connections, pipeline, mix } = load;
        let mut all = args(["--connections", "--pipeline"], [connections as u64, pipeline as u64]);
        all.extend(args(
            ["--warmup-ms", "--duration-ms"],
            [self.plan.duration_ms / 3, self.plan.duration_ms],
        ));
        all.extend(["--mix", mix, "--keep", "--floor", "--floor-dir"].map(str::to_owned));
        all.push(self.bench.dir().display().to_string());
        let found = self.run_quietly(server, &all)?;
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

    fn watch(&mut self, server: &Server<'_>) -> Result<()> {
        let (side, figure) = (server.side(), Figure::Watch1000);
        for (in_flight, name) in [(1, "events_per_s_1"), (8, "events_per_s_8")] {
            let mut all = args(["--watch-fanout", "--in-flight"], [1_000, in_flight]);
            all.extend(args(
                ["--warmup-ms", "--duration-ms"],
                [self.plan.duration_ms / 3, self.plan.duration_ms],
            ));
            let found = self.run_quietly(server, &all)?;
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
        let fill = args(["--fill", "--connections", "--pipeline"], [self.plan.nodes, 8, 128]);
        let found = self.run(&server, &fill)?;
        self.samples.add(figure, "fill_ops_per_s", side, found.get("ops_per_s")?);
        self.samples.add(figure, "fill_max_us", side, found.get("max_us")?);
        let bytes = server.settled_bytes()? - before;
        self.samples.add(figure, "bytes_per_node", side, bytes / self.plan.nodes as f64);
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
        let before = bench.snapshots(side)?;
        let found = self.run(&server, &args(["--probe", "--duration-ms"], [PROBE_MS]))?;
        let snapshots = bench.snapshots(side)?.saturating_sub(before);
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

/// Names of options and their numbers; names without a number come first.
pub fn args<const N: usize, const M: usize>(names: [&str; N], numbers: [u64; M]) -> Vec<String> {
    let (flags, options) = names.split_at(N - M);
    let mut all: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    for (name, number) in options.iter().zip(numbers) {
        all.extend([(*name).to_owned(), number.to_string()]);
    }
    all
}
