//! `ferrokeeper status`: asks a server how it is, as a person or a health check would.
//!
//! It speaks four-letter words over the client port and nothing else, so it also works with ZooKeeper.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Where servers listen unless they are told otherwise.
const DEFAULT_PORT: u16 = 2181;

/// Bytes of an answer that are read. A server prints 32 MiB at most; more comes from something else.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What `ferrokeeper status` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server's client port
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:2181")]
    server: String,
    /// Print the answer to this four-letter word and nothing else
    #[arg(long, value_parser = parse_word)]
    word: Option<String>,
    /// Print nothing; the exit code tells whether the server is serving
    #[arg(long, short, conflicts_with = "word")]
    quiet: bool,
    /// How long the server may take for each answer, connecting included
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,
}

fn parse_word(text: &str) -> Result<String, String> {
    match text {
        "stmk" => Err("stmk needs a mask, which cannot be given here".to_owned()),
        _ if text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_lowercase()) => Ok(text.to_owned()),
        _ => Err("a four-letter word has four small letters, like mntr".to_owned()),
    }
}

/// Asks and prints. The exit code is 0 if the server is serving, and if a word was given, answers it; else 1.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (text, code) = report(&args);
    if !args.quiet {
        match io::stdout().write_all(text.as_bytes()) {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            other => other.context("cannot print")?,
        }
    }
    Ok(ExitCode::from(code))
}

/// What to print and the exit code.
fn report(args: &Args) -> (String, u8) {
    let ask = |word: &str| ask(&args.server, word, Duration::from_millis(args.timeout_ms));
    let word = args.word.as_deref().unwrap_or("srvr");
    let answer = match ask(word) {
        Ok(answer) => answer,
        Err(error) => return (format!("{} is not reachable: {error}\n", args.server), 1),
    };
    if args.word.is_some() {
        let code = u8::from(Refusal::find(&answer).is_some());
        return (ensure_line_end(answer), code);
    }
    match (Refusal::find(&answer), Server::parse(&answer)) {
        (Some(Refusal::NotServing), _) => {
            (format!("{} is not serving: it is starting, stopping or has no quorum\n", args.server), 1)
        }
        (None, Some(server)) => {
            // The metrics are an extra: without them the server is just as healthy.
            let metrics = match args.quiet {
                true => None,
                false => ask("mntr").ok().filter(|answer| Refusal::find(answer).is_none()),
            };
            (describe(&args.server, &server, &answer, metrics), 0)
        }
        _ => (format!("{} is not a ZooKeeper server: it answers srvr with {answer:.200?}\n", args.server), 1),
    }
}

/// Sends a word and reads all that comes back, within `timeout`, not counting the look-up of a host name.
pub(crate) fn ask(server: &str, word: &str, timeout: Duration) -> anyhow::Result<String> {
    let addresses = resolve(server).with_context(|| format!("{server:?} cannot be resolved"))?;
    let deadline = Instant::now() + timeout;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut failure = io::Error::new(ErrorKind::NotFound, "the name has no address");
    let mut connected = None;
    for address in addresses {
        match left().and_then(|left| TcpStream::connect_timeout(&address, left)) {
            Ok(stream) => {
                connected = Some(stream);
                break;
            }
            Err(error) => failure = error,
        }
    }
    let Some(mut stream) = connected else {
        return Err(failure.into());
    };
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(bytes) => answer.extend_from_slice(&chunk[..bytes]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                anyhow::bail!("no complete answer to {word} within {} ms", timeout.as_millis());
            }
            // A server that closes with bytes of ours unread resets the connection behind its answer.
            Err(error) if error.kind() == ErrorKind::ConnectionReset && !answer.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
        anyhow::ensure!(answer.len() as u64 <= ANSWER_BYTES_MAX, "the answer to {word} does not end");
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The addresses of `host:port`, `host`, `[v6]:port` or a bare IPv6 address.
fn resolve(server: &str) -> io::Result<Vec<std::net::SocketAddr>> {
    let bare = server.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(server);
    if bare.parse::<std::net::Ipv6Addr>().is_ok() || !server.contains(':') {
        return Ok((bare, DEFAULT_PORT).to_socket_addrs()?.collect());
    }
    Ok(server.to_socket_addrs()?.collect())
}

fn ensure_line_end(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// An answer that is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    /// The operator has not allowed the word.
    NotAllowed,
    /// The server has no data to serve yet, or no more.
    NotServing,
    /// Nothing came back: not a word that the server knows.
    Empty,
}

impl Refusal {
    fn find(answer: &str) -> Option<Refusal> {
        if answer.is_empty() {
            Some(Refusal::Empty)
        } else if answer.contains("is not executed because it is not in the whitelist") {
            Some(Refusal::NotAllowed)
        } else if answer.starts_with("This ZooKeeper instance is not currently serving requests") {
            Some(Refusal::NotServing)
        } else {
            None
        }
    }
}

/// What `srvr` says.
pub(crate) struct Server<'a> {
    version: &'a str,
    /// What the server is: `standalone`, `leader`, `follower`, `observer` or `read-only`.
    pub(crate) mode: &'a str,
    fields: BTreeMap<&'a str, &'a str>,
}

impl<'a> Server<'a> {
    /// `None` if this is not what a server that serves says.
    pub(crate) fn parse(answer: &'a str) -> Option<Server<'a>> {
        let fields: BTreeMap<_, _> = answer.lines().filter_map(|line| line.split_once(": ")).collect();
        let version = fields.get("Zookeeper version")?.split(", built on").next()?;
        Some(Server { version, mode: fields.get("Mode")?, fields })
    }

    /// What stands behind the name and a colon; `?` if it is not there.
    pub(crate) fn field(&self, name: &str) -> &'a str {
        self.fields.get(name).copied().unwrap_or("?")
    }

    /// The epoch of the last transaction. A server alone has no epochs, it counts on in the first one.
    fn epoch(&self) -> Option<u64> {
        let zxid = u64::from_str_radix(self.field("Zxid").strip_prefix("0x")?, 16).ok()?;
        (self.mode != "standalone").then_some(zxid >> 32)
    }
}

/// A summary for people, then the answers themselves.
fn describe(address: &str, server: &Server<'_>, answer: &str, metrics: Option<String>) -> String {
    let field = |name| server.field(name);
    let epoch = server.epoch().map(|epoch| format!(" of epoch {epoch}")).unwrap_or_default();
    let mut text = format!(
        "{address} is serving: {}, version {}\n  \
         {} connections, {} requests in progress, {} nodes, last zxid {}{epoch}\n  \
         request latency {} ms (min/avg/max)\n",
        server.mode,
        server.version,
        field("Connections"),
        field("Outstanding"),
        field("Node count"),
        field("Zxid"),
        field("Latency min/avg/max"),
    );
    let metrics = metrics.unwrap_or_default();
    text.push_str(&describe_metrics(&metrics));
    for answer in [answer, &metrics].into_iter().filter(|answer| !answer.is_empty()) {
        text.push('\n');
        text.push_str(&ensure_line_end(answer.to_owned()));
    }
    text
}

/// A line for each group of metrics that the server prints.
fn describe_metrics(metrics: &str) -> String {
    let metrics: BTreeMap<&str, &str> =
        metrics.lines().filter_map(|line| line.strip_prefix("zk_")?.split_once('\t')).collect();
    let get = |key: &str| metrics.get(key).copied();
    let lines = [
        describe_membership(&get),
        get("uptime").and_then(|uptime_ms| {
            let (sessions, watches) = (get("global_sessions")?, get("watch_count")?);
            let uptime = duration(uptime_ms.parse().ok()?);
            Some(format!("up for {uptime}, {sessions} sessions, {watches} watches"))
        }),
        get("p99_updatelatency").and_then(|updates_ms| {
            let (reads_ms, sync_ms) = (get("p99_readlatency")?, get("max_fsynctime")?);
            Some(format!(
                "99 % of reads within {reads_ms} ms, of writes {updates_ms} ms; slowest sync {sync_ms} ms"
            ))
        }),
        get("open_file_descriptor_count").and_then(|open| {
            let most = get("max_file_descriptor_count")?;
            Some(format!("{open} of {most} file descriptors in use"))
        }),
    ];
    lines.into_iter().flatten().map(|line| format!("  {line}\n")).collect()
}

/// What a member of an ensemble says about itself and the others; each kind of member says something else.
fn describe_membership<'a>(get: &dyn Fn(&str) -> Option<&'a str>) -> Option<String> {
    let leading = get("leader_uptime").and_then(|uptime_ms| uptime_ms.parse().ok()).map(duration);
    let parts = [
        // `leading - broadcast`: what it is, and how far it is with that.
        get("peer_state").map(|state| match leading {
            Some(time) => format!("{state} for {time}"),
            None => state.to_owned(),
        }),
        get("quorum_size").map(|voters| format!("{voters} voters")),
        get("observer_master_id").map(|id| format!("observing server {id}")),
        get("synced_followers").map(|count| format!("{count} followers in sync")),
        get("synced_observers").map(|count| format!("{count} observers in sync")),
        get("pending_syncs").map(|count| format!("{count} syncs pending")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// A time span in its two largest units.
fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::net::TcpListener;

    const SRVR: &str = "Zookeeper version: 3.9.5-x, built on 2026-11-22 00:00 UTC\n\
                        Latency min/avg/max: 0/3.0/8\nReceived: 12\nSent: 11\nConnections: 2\n\
                        Outstanding: 0\nZxid: 0x5\nMode: standalone\nNode count: 8\n";
    const MNTR: &str = "zk_version\t3.9.5-x\nzk_uptime\t93784000\nzk_global_sessions\t4\nzk_watch_count\t3\n\
                        zk_open_file_descriptor_count\t17\nzk_max_file_descriptor_count\t1024\n";
    const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";
    const NOT_ALLOWED: &str = "mntr is not executed because it is not in the whitelist.\n";

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        Cli::try_parse_from([&["status"], arguments].concat()).map(|cli| cli.args)
    }

    /// Runs against a server that gives these answers to these words, one after the other.
    fn check(arguments: &[&str], answers: &'static [(&str, &str)]) -> (String, u8) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            for (word, answer) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 4];
                stream.read_exact(&mut asked).unwrap();
                assert_eq!(&asked, word.as_bytes());
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let (text, code) = report(&parse(&[&[&*address], arguments].concat()).unwrap());
        server.join().unwrap();
        (text.replace(&address, "SERVER"), code)
    }

    #[test]
    fn a_serving_server_is_summed_up_and_quoted() {
        let (text, code) = check(&[], &[("srvr", SRVR), ("mntr", MNTR)]);
        let summary = "SERVER is serving: standalone, version 3.9.5-x\n  \
                       2 connections, 0 requests in progress, 8 nodes, last zxid 0x5\n  \
                       request latency 0/3.0/8 ms (min/avg/max)\n  \
                       up for 1 d 2 h, 4 sessions, 3 watches\n  \
                       17 of 1024 file descriptors in use\n";
        assert_eq!((text, code), (format!("{summary}\n{SRVR}\n{MNTR}"), 0));
    }

    #[test]
    fn a_member_of_an_ensemble_says_its_role_its_epoch_and_who_is_in_sync() {
        const SRVR: &str = "Zookeeper version: 3.8.0-x, built on 2022-02-25 08:49 UTC\n\
                            Latency min/avg/max: 0/3.0/8\nConnections: 2\nOutstanding: 0\n\
                            Zxid: 0x200000005\nMode: leader\nNode count: 8\n\
                            Proposal sizes last/min/max: 32/32/48\n";
        const MNTR: &str = "zk_server_state\tleader\nzk_peer_state\tleading - broadcast\nzk_quorum_size\t3\n\
                            zk_synced_followers\t2\nzk_synced_observers\t1\nzk_pending_syncs\t0\n\
                            zk_leader_uptime\t61500\n";
        let (text, code) = check(&[], &[("srvr", SRVR), ("mntr", MNTR)]);
        let summary = "SERVER is serving: leader, version 3.8.0-x\n  \
                       2 connections, 0 requests in progress, 8 nodes, last zxid 0x200000005 of epoch 2\n  \
                       request latency 0/3.0/8 ms (min/avg/max)\n  \
                       leading - broadcast for 1 min 1 s, 3 voters, 2 followers in sync, 1 observers in sync, \
                       0 syncs pending\n";
        assert_eq!((text, code), (format!("{summary}\n{SRVR}\n{MNTR}"), 0));
    }

    #[test]
    fn a_follower_says_less_than_a_leader() {
        let metrics = "zk_peer_state\tfollowing - broadcast\nzk_quorum_size\t3\n";
        assert_eq!(describe_metrics(metrics), "  following - broadcast, 3 voters\n");
        assert_eq!(describe_metrics("zk_observer_master_id\t3\n"), "  observing server 3\n");
    }

    #[test]
    fn without_metrics_the_server_is_just_as_healthy() {
        let (text, code) = check(&[], &[("srvr", SRVR), ("mntr", NOT_ALLOWED)]);
        assert_eq!(code, 0);
        assert!(text.ends_with(&format!("ms (min/avg/max)\n\n{SRVR}")), "{text}");
    }

    #[test]
    fn a_server_that_does_not_serve_is_not_healthy() {
        let (text, code) = check(&["--quiet"], &[("srvr", NOT_SERVING)]);
        assert_eq!(code, 1);
        assert!(text.starts_with("SERVER is not serving"), "{text}");
        let (text, code) = check(&[], &[("srvr", "HTTP/1.1 400 Bad Request\r\n")]);
        assert_eq!(code, 1);
        assert!(text.starts_with("SERVER is not a ZooKeeper server"), "{text}");
    }

    #[test]
    fn a_word_is_printed_as_it_comes() {
        assert_eq!(check(&["--word", "ruok"], &[("ruok", "imok")]), ("imok\n".to_owned(), 0));
        assert_eq!(check(&["--word", "mntr"], &[("mntr", MNTR)]), (MNTR.to_owned(), 0));
        assert_eq!(check(&["--word", "mntr"], &[("mntr", NOT_ALLOWED)]), (NOT_ALLOWED.to_owned(), 1));
        assert_eq!(check(&["--word", "abcd"], &[("abcd", "")]), (String::new(), 1));
    }

    #[test]
    fn nobody_there_is_said_and_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let (text, code) = report(&parse(&[&address]).unwrap());
        assert_eq!(code, 1);
        assert!(text.starts_with(&format!("{address} is not reachable: ")), "{text}");
    }

    #[test]
    fn silence_ends_with_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (text, code) = report(&parse(&[&address, "--timeout-ms", "20"]).unwrap());
        assert_eq!(code, 1);
        assert!(text.contains("no complete answer to srvr within 20 ms"), "{text}");
    }

    #[test]
    fn addresses_may_lack_the_port() {
        let resolve = |server| resolve(server).unwrap()[0].to_string();
        assert_eq!(resolve("127.0.0.1"), "127.0.0.1:2181");
        assert_eq!(resolve("127.0.0.1:99"), "127.0.0.1:99");
        assert_eq!(resolve("::1"), "[::1]:2181");
        assert_eq!(resolve("[::1]"), "[::1]:2181");
        assert_eq!(resolve("[::1]:99"), "[::1]:99");
    }

    #[test]
    fn words_that_cannot_be_asked_are_refused() {
        assert!(parse(&["--word", "stmk"]).is_err());
        assert!(parse(&["--word", "RUOK"]).is_err());
        assert!(parse(&["--word", "monitor"]).is_err());
        assert_eq!(parse(&[]).unwrap().server, "127.0.0.1:2181");
    }

    #[test]
    fn time_spans_have_two_units_at_most() {
        assert_eq!(duration(999), "0 s");
        assert_eq!(duration(61_000), "1 min 1 s");
        assert_eq!(duration(3_600_000), "1 h 0 min");
        assert_eq!(duration(93_784_000), "1 d 2 h");
    }
}
