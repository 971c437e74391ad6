//! What the README promises to somebody who starts the server for the first time, and what a bad start says.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use protocol::{Acl, ErrorCode};

use crate::client::{CallError, Client, four_letter_word, is_serving};
use crate::deadline::wait_for;
use crate::ops::{Lifetime, Write};
use crate::ports::free_port;
use crate::process::{Process, Signal};
use crate::server::ServerKind;
use crate::tally::Tally;
use crate::toolbox::Toolbox;

/// A start, good or bad, and a stop take milliseconds; a busy machine gets much more.
const LIMIT: Duration = Duration::from_secs(20);
/// Where the server listens when nobody says otherwise.
const DEFAULT_PORT: u16 = 2181;

/// Keys that would leave the server less safe if they were ignored.
const SECURITY_KEYS: [&str; 4] = [
    "sslQuorum=true",
    "quorum.auth.enableSasl=true",
    "enforce.auth.enabled=true",
    "sessionRequireClientSASLAuth=true",
];

/// Examines every promise. Only a command can be examined: Java starts in other ways.
pub fn run(toolbox: &Toolbox, kind: &ServerKind) -> Result<Tally> {
    let ServerKind::Command(template) = kind else { bail!("these promises are not Java's") };
    let smoke = Smoke { toolbox, base: template.base().to_vec() };
    let mut tally = Tally::default();
    if TcpListener::bind(("127.0.0.1", DEFAULT_PORT)).is_ok() {
        tally.check("without a word it serves here alone and keeps its data in ./data", smoke.bare_start());
    } else {
        println!("skip  the bare start: something else listens on port {DEFAULT_PORT}");
        tally.skipped += 1;
    }
    tally.check("flags set port and folder", smoke.flags());
    tally.check("flags win over the file", smoke.flags_over_file());
    tally.check("properties are obeyed", smoke.properties());
    tally.check("a taken port is an error that names it", smoke.taken_port());
    tally.check("a folder that cannot be made is an error that names it", smoke.impossible_folder());
    tally.check("a folder in use by another server is refused", smoke.folder_in_use());
    tally.check("a missing file is an error that names it", smoke.missing_file());
    for (line, key) in [
        ("tickTime=soon", "tickTime"),
        ("clientPort=70000", "clientPort"),
        ("minSessionTimeout=9000\nmaxSessionTimeout=8000", "essionTimeout"),
        ("initLimit=10\nsyncLimit=5\nserver.1=a:2888:3888\nserver.2=b:2888:3888", "myid"),
    ] {
        tally.check(&format!("{line:?} is an error that names it"), smoke.refused_line(line, key));
    }
    for line in SECURITY_KEYS {
        let key = line.split('=').next().unwrap_or(line);
        tally.check(&format!("{line} refuses to start"), smoke.refused_line(line, key));
    }
    for line in [
        "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
        "audit.enable=true",
        "tpyo=1",
    ] {
        tally.check(&format!("{line} starts with a warning"), smoke.warned_line(line));
    }
    tally.check("SIGTERM ends it cleanly", smoke.clean_stop(Signal::TERM));
    tally.check("SIGINT ends it cleanly", smoke.clean_stop(Signal::INT));
    tally.check("TTL nodes work unless they are turned off", smoke.ttl_nodes());
    tally.check("status tells whether it serves", smoke.status());
    Ok(tally)
}

/// The program, and the folder of the moment.
struct Smoke<'a> {
    toolbox: &'a Toolbox,
    base: Vec<String>,
}

/// A server with its folder; the folder goes with it.
struct Running {
    process: Process,
    port: u16,
    dir: tempfile::TempDir,
}

impl Smoke<'_> {
    fn spawn(&self, dir: &Path, words: &[&str]) -> Result<Process> {
        let mut command = Command::new(std::path::absolute(&self.base[0])?);
        command.args(&self.base[1..]).args(words).current_dir(dir);
        Process::spawn(command, &dir.join("server.log"))
    }

    /// Starts it in an empty folder and waits until it serves on `port`.
    fn start(&self, port: u16, words: &[&str]) -> Result<Running> {
        self.start_in(self.toolbox.scratch("smoke")?, port, words)
    }

    fn start_in(&self, dir: tempfile::TempDir, port: u16, words: &[&str]) -> Result<Running> {
        let mut process = self.spawn(dir.path(), words)?;
        let served = wait_for("the server to serve", LIMIT, || {
            ensure!(process.exit_status()?.is_none(), "it ended at once");
            Ok(is_serving(port).then_some(()))
        });
        served.with_context(|| format!("{words:?}; it said:\n{}", process.log_tail()))?;
        Ok(Running { process, port, dir })
    }

    /// Starts it and expects it to end with an error that says all `hints`.
    fn refuse(&self, dir: &Path, words: &[&str], hints: &[&str]) -> Result<()> {
        let mut process = self.spawn(dir, words)?;
        let status =
            process.wait(LIMIT).with_context(|| format!("{words:?}; it said:\n{}", process.log_tail()))?;
        let said = process.log();
        ensure!(
            status.code().is_some_and(|code| code != 0),
            "{words:?} ended with {status}; it said:\n{said}"
        );
        ensure!(!said.contains("panicked"), "{words:?} panicked:\n{said}");
        for hint in hints {
            ensure!(said.contains(hint), "{words:?} did not say {hint:?} but:\n{said}");
        }
        Ok(())
    }

    fn bare_start(&self) -> Result<()> {
        let mut server = self.start(DEFAULT_PORT, &[])?;
        ensure!(server.dir.path().join("data/version-2").is_dir(), "no data/version-2 was made");
        let elsewhere = std::net::TcpStream::connect(("127.0.0.2", DEFAULT_PORT));
        ensure!(elsewhere.is_err(), "it listens on other addresses than 127.0.0.1");
        use_it(server.port)?;
        stop(&mut server.process, Signal::TERM)
    }

    fn flags(&self) -> Result<()> {
        let port = free_port()?;
        let mut server = self.start(port, &["--port", &port.to_string(), "--data-dir", "here/and there"])?;
        ensure!(server.dir.path().join("here/and there/version-2").is_dir(), "the folder was not made");
        use_it(port)?;
        stop(&mut server.process, Signal::TERM)
    }

    fn flags_over_file(&self) -> Result<()> {
        let (port, in_file) = (free_port()?, free_port()?);
        let dir = self.toolbox.scratch("smoke")?;
        let cfg = write_cfg(dir.path(), &format!("clientPort={in_file}\ndataDir=from-file\n"))?;
        let words = [&cfg, "--port", &port.to_string(), "--data-dir", "from-flag"];
        let mut server = self.start_in(dir, port, &words)?;
        ensure!(!is_serving(in_file), "it serves on the port of the file too");
        ensure!(!server.dir.path().join("from-file").exists(), "it made the folder of the file");
        stop(&mut server.process, Signal::TERM)
    }

    fn properties(&self) -> Result<()> {
        let port = free_port()?;
        let words = ["-Dzookeeper.4lw.commands.whitelist=ruok", "--port", &port.to_string()];
        let mut server = self.start(port, &words)?;
        let answer = four_letter_word(port, "ruok", LIMIT)?;
        ensure!(answer == "imok", "ruok was answered with {answer:?}");
        stop(&mut server.process, Signal::TERM)
    }

    fn taken_port(&self) -> Result<()> {
        let holder = TcpListener::bind(("127.0.0.1", 0))?;
        let port = holder.local_addr()?.port().to_string();
        let dir = self.toolbox.scratch("smoke")?;
        self.refuse(dir.path(), &["--port", &port], &[&port])
    }

    /// Below a plain file there can be no folder, not even for root.
    fn impossible_folder(&self) -> Result<()> {
        let dir = self.toolbox.scratch("smoke")?;
        std::fs::write(dir.path().join("file"), "")?;
        let port = free_port()?.to_string();
        self.refuse(dir.path(), &["--port", &port, "--data-dir", "file/data"], &["file/data"])
    }

    fn folder_in_use(&self) -> Result<()> {
        let (first_port, second_port) = (free_port()?, free_port()?);
        let mut first = self.start(first_port, &["--port", &first_port.to_string()])?;
        self.refuse(first.dir.path(), &["--port", &second_port.to_string()], &["data"])?;
        use_it(first_port).context("the first server, after the second was refused")?;
        stop(&mut first.process, Signal::TERM)
    }

    fn missing_file(&self) -> Result<()> {
        let dir = self.toolbox.scratch("smoke")?;
        self.refuse(dir.path(), &["no-such.cfg"], &["no-such.cfg"])
    }

    fn refused_line(&self, line: &str, key: &str) -> Result<()> {
        let dir = self.toolbox.scratch("smoke")?;
        let port = match line.starts_with("clientPort") {
            true => String::new(),
            false => format!("clientPort={}\n", free_port()?),
        };
        let cfg = write_cfg(dir.path(), &format!("dataDir=data\n{port}{line}\n"))?;
        self.refuse(dir.path(), &[&cfg], &[key])
    }

    fn warned_line(&self, line: &str) -> Result<()> {
        let port = free_port()?;
        let dir = self.toolbox.scratch("smoke")?;
        let cfg = write_cfg(dir.path(), &format!("dataDir=data\nclientPort={port}\n{line}\n"))?;
        let mut server = self.start_in(dir, port, &[&cfg])?;
        let key = line.split('=').next().unwrap_or(line);
        let said = server.process.log();
        let warned = said.lines().any(|line| line.contains("WARN") && line.contains(key));
        ensure!(warned, "no warning about {key} in:\n{said}");
        use_it(port)?;
        stop(&mut server.process, Signal::TERM)
    }

    /// Stops it while a client is connected and has just been answered: what was answered must be there again.
    fn clean_stop(&self, signal: Signal) -> Result<()> {
        let port = free_port()?;
        let words = ["--port", &port.to_string()];
        let mut server = self.start(port, &words)?;
        let mut client = Client::connect(port, 10_000)?;
        client.write(&Write::create("/kept", "a value"))?;
        stop(&mut server.process, signal)?;
        let mut again = self.start_in(server.dir, port, &words)?;
        let (data, _) = Client::connect(port, 10_000)?.get_data("/kept")?;
        ensure!(data.as_deref() == Some(b"a value"), "after the restart /kept holds {data:?}");
        stop(&mut again.process, signal)
    }

    fn ttl_nodes(&self) -> Result<()> {
        let ttl_node = Write::Create {
            path: "/ttl".into(),
            data: None,
            acl: vec![Acl::open()],
            lifetime: Lifetime::Ttl { ttl_ms: 100_000 },
            sequential: false,
            with_stat: true,
        };
        for (property, works) in
            [("-Dzookeeper.snapCount=1000", true), ("-Dzookeeper.extendedTypesEnabled=false", false)]
        {
            let port = free_port()?;
            let mut server = self.start(port, &[property, "--port", &port.to_string()])?;
            match Client::connect(port, 10_000)?.write(&ttl_node) {
                Ok(_) if works => {}
                Err(CallError::Refused(ErrorCode::Unimplemented)) if !works => {}
                other => bail!("with {property} a TTL node was answered with {other:?}"),
            }
            stop(&mut server.process, Signal::TERM)?;
        }
        Ok(())
    }

    fn status(&self) -> Result<()> {
        let port = free_port()?;
        let status = || -> Result<bool> {
            let mut command = Command::new(&self.base[0]);
            command.args(["status", &format!("127.0.0.1:{port}")]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Ok(command.status()?.success())
        };
        ensure!(!status()?, "nobody serves, and status says that all is well");
        let mut server = self.start(port, &["--port", &port.to_string()])?;
        ensure!(status()?, "the server serves, and status says that it does not");
        stop(&mut server.process, Signal::TERM)
    }
}

/// Writes `zoo.cfg` and returns its path.
fn write_cfg(dir: &Path, text: &str) -> Result<String> {
    let cfg: PathBuf = dir.join("zoo.cfg");
    std::fs::write(&cfg, text)?;
    Ok(cfg.display().to_string())
}

fn use_it(port: u16) -> Result<()> {
    let mut client = Client::connect(port, 10_000)?;
    client.write(&Write::create("/used", "x"))?;
    client.write(&Write::Delete { path: "/used".into(), version: 0 })?;
    client.close()?;
    Ok(())
}

fn stop(process: &mut Process, signal: Signal) -> Result<()> {
    let status = process.stop(signal, LIMIT)?;
    ensure!(
        status.code() == Some(0),
        "after {signal:?} it ended with {status}; it said:\n{}",
        process.log_tail()
    );
    Ok(())
}
