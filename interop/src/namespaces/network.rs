//! A bridge with a namespace for each server, and what can be done to the packets between them.
//!
//! This process must be in namespaces of its own already, for networks and for mounts: it is where the clients are.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::Place;

/// The namespace of the bridge.
const HUB: &str = "hub";
/// Where `ip` keeps its namespaces; a file system of our own is mounted over `/run`.
const NAMESPACES: &str = "/run/netns";
/// What the interface of a namespace is called inside.
const LAN: &str = "lan";
/// The address of the clients, and of every proxy.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// A burst of a slow line, and how long a packet may wait in front of it.
const SLOW_LINE: [&str; 4] = ["burst", "64kb", "latency", "400ms"];

/// The network. It is gone when this process ends.
#[derive(Debug)]
pub struct Network {
    servers: usize,
}

/// The address of a server.
pub fn address(server: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, server as u8 + 1)
}

/// The name of a server's namespace, and of its port at the bridge.
fn name(server: usize) -> String {
    format!("s{}", server + 1)
}

impl Network {
    /// Builds it, for so many servers; one that was there before goes.
    pub fn build(servers: usize) -> Result<Network> {
        ensure!(servers < 99, "a network of {servers} servers");
        run("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
        ip(&["link", "set", "lo", "up"])?;
        ip(&["netns", "add", HUB])?;
        ip(&["-n", HUB, "link", "add", "name", "switch", "type", "bridge"])?;
        ip(&["-n", HUB, "link", "set", "switch", "up"])?;
        let network = Network { servers };
        plug(None, "clients", CLIENTS)?;
        for server in 0..servers {
            let name = name(server);
            ip(&["netns", "add", &name])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            plug(Some(&name), &name, address(server))?;
        }
        network.heal()?;
        Ok(network)
    }

    /// Where a server of an ensemble runs.
    pub fn place(&self, server: usize) -> Place {
        let namespace = PathBuf::from(NAMESPACES).join(name(server));
        Place { host: address(server), namespace: Some(namespace) }
    }

    /// From now on no packet of the first of each pair reaches the second. What was cut before is whole again.
    pub fn cut(&self, pairs: &[(usize, usize)]) -> Result<()> {
        let rules: Vec<String> = pairs
            .iter()
            .map(|(from, to)| format!("iifname \"{}\" oifname \"{}\" counter drop", name(*from), name(*to)))
            .collect();
        self.weather(&rules)
    }

    /// The same in both directions.
    pub fn part(&self, pairs: &[(usize, usize)]) -> Result<()> {
        let both: Vec<(usize, usize)> = pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
        self.cut(&both)
    }

    /// From now on so many of a hundred packets are lost, whosever they are.
    pub fn lose(&self, percent: u32) -> Result<()> {
        self.weather(&[format!("numgen random mod 100 < {percent} counter drop")])
    }

    /// From now on a server gets so many megabits a second at most.
    pub fn slow(&self, server: usize, megabits: u32) -> Result<()> {
        let (port, rate) = (name(server), format!("{megabits}mbit"));
        let mut words = vec!["qdisc", "replace", "dev", &port, "root", "tbf", "rate", &rate];
        words.extend(SLOW_LINE);
        tc(&words)
    }

    /// A server gets everything as fast as it can again.
    pub fn quicken(&self, server: usize) -> Result<()> {
        tc(&["qdisc", "del", "dev", &name(server), "root"])
    }

    /// New connections of a server to another one's port go to a port of the clients' instead: for each of
    /// (the other, its port, the clients' port).
    pub fn detour(&self, server: usize, routes: &[(usize, u16, u16)]) -> Result<()> {
        let mut text = "table ip detour\ndelete table ip detour\ntable ip detour {\n\
                        chain out { type nat hook output priority -100\n"
            .to_string();
        for (other, port, instead) in routes {
            let host = address(*other);
            text += &format!("ip daddr {host} tcp dport {port} dnat to {CLIENTS}:{instead}\n");
        }
        text += "}\n}\n";
        nft(&name(server), &text)
    }

    /// No packet is dropped any more.
    pub fn heal(&self) -> Result<()> {
        self.weather(&[])
    }

    /// How many packets have been dropped since the last change.
    pub fn dropped(&self) -> Result<u64> {
        let output = inside(HUB, "nft", &["list", "table", "bridge", "weather"])
            .output()
            .context("start nft to list its counters")?;
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        let counts = listed.split("counter packets ").skip(1);
        Ok(counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// Replaces all rules of the bridge at once.
    fn weather(&self, rules: &[String]) -> Result<()> {
        let text = format!(
            "table bridge weather\ndelete table bridge weather\ntable bridge weather {{\n\
             chain forward {{ type filter hook forward priority 0; policy accept;\n{}\n}}\n}}\n",
            rules.join("\n")
        );
        nft(HUB, &text)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // So that the next one can be built; all of it would go with this process, too.
        let _ = ip(&["link", "delete", LAN]);
        for server in 0..self.servers {
            let _ = ip(&["netns", "delete", &name(server)]);
        }
        let _ = ip(&["netns", "delete", HUB]);
        let _ = run("umount", &["--lazy", "/run"]);
    }
}

/// Connects a namespace, or this one, with the bridge.
fn plug(namespace: Option<&str>, port: &str, address: Ipv4Addr) -> Result<()> {
    let there: Vec<&str> = namespace.map_or_else(Vec::new, |name| vec!["-n", name]);
    let address = format!("{address}/24");
    let with = |words: &[&str]| ip(&[&there, words].concat());
    with(&["link", "add", "name", LAN, "type", "veth", "peer", "name", port, "netns", HUB])?;
    ip(&["-n", HUB, "link", "set", port, "master", "switch", "up"])?;
    with(&["addr", "add", &address, "dev", LAN])?;
    with(&["link", "set", LAN, "up"])
}

fn ip(words: &[&str]) -> Result<()> {
    run("ip", words)
}

fn tc(words: &[&str]) -> Result<()> {
    finish(inside(HUB, "tc", words), "")
}

fn nft(namespace: &str, rules: &str) -> Result<()> {
    finish(inside(namespace, "nft", &["-f", "-"]), rules)
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(words);
    finish(command, "")
}

/// A program with its words in a namespace.
fn inside(namespace: &str, program: &str, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={NAMESPACES}/{namespace}")).args(["--", program]).args(words);
    command
}

fn finish(mut command: Command, input: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!(
            "{} {} failed: {}",
            command.get_program().to_string_lossy(),
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
