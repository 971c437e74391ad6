//! Every activity against a server that is honest, and the load against one that is not.

use clap::Parser;

use super::fake_server::{FakeServer, Lie};
use super::faults::{FaultKind, Faults};
use super::report::Report;
use super::{Options, measure_server};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn run(lie: Lie, args: &str) -> (Report, Faults) {
    run_on(1, lie, args)
}

/// Several names for one server are as good as several servers.
fn run_on(servers: usize, lie: Lie, args: &str) -> (Report, Faults) {
    let server = FakeServer::start(lie);
    let addresses = vec![server.address().to_string(); servers].join(",");
    let common = ["bench", "--server", &addresses];
    let cli = Cli::try_parse_from(common.into_iter().chain(args.split_whitespace())).unwrap();
    cli.options.check().unwrap();
    let (mut report, mut faults) = (Report::default(), Faults::default());
    measure_server(&cli.options, &mut report, &mut faults).unwrap();
    (report, faults)
}

fn check_honest(args: &str, expected: &[&str]) {
    check_report(run(Lie::None, args), expected);
}

fn check_report((report, faults): (Report, Faults), expected: &[&str]) {
    assert_eq!(faults.count(), 0, "{faults}");
    let json = report.to_json();
    for name in expected {
        assert!(json.contains(&format!("\"{name}\":")), "{name} is missing in {json}");
    }
}

const SHORT: &str = "--connections 3 --pipeline 4 --keys 25 --warmup-ms 5 --duration-ms 60";
const EVERYTHING: &str = "get=4,exists=2,children=1,set=4,create=3,delete=2,ecreate=2,sync=1,multi10=1";

#[test]
fn an_honest_server_has_no_faults() {
    let names =
        ["ops_per_s", "p999_us", "get_ops", "multi10_p50_us", "ecreate_max_us", "client_cpu_us_per_op"];
    check_honest(&format!("{SHORT} --mix {EVERYTHING} --threads 2"), &names);
    let few = "--connections 2 --pipeline 3 --keys 3 --value-bytes 0 --warmup-ms 5 --duration-ms 60";
    check_honest(&format!("{few} --mix {EVERYTHING}"), &["ops_per_s"]);
}

#[test]
fn the_servers_process_is_measured() {
    let own = std::process::id();
    let names = ["server_cpu_us_per_op", "server_rss_mib", "other_cpu_busy"];
    check_honest(&format!("{SHORT} --server-pid {own}"), &names);
}

#[test]
fn every_lie_is_found_out() {
    for (lie, kind) in [
        (Lie::Xid, FaultKind::Order),
        (Lie::Refusal, FaultKind::Refused),
        (Lie::OldZxid, FaultKind::ZxidBackwards),
        (Lie::Data, FaultKind::Data),
        (Lie::ShortData, FaultKind::Data),
        (Lie::OldVersion, FaultKind::Stat),
        (Lie::Path, FaultKind::Path),
        (Lie::LongBody, FaultKind::Body),
        (Lie::MissingChild, FaultKind::Data),
        (Lie::Event, FaultKind::UnexpectedEvent),
        (Lie::Close, FaultKind::Connection),
    ] {
        let (_, faults) = run(lie, &format!("{SHORT} --keep --mix {EVERYTHING}"));
        assert!(faults.to_string().contains(&format!("fault {kind:?}: ")), "{lie:?} was taken for: {faults}");
    }
}

#[test]
fn other_activities_run_and_report() {
    check_honest("--fill 3000 --connections 2 --pipeline 16", &["nodes", "ops_per_s", "max_us"]);
    check_honest(
        "--watch-fanout 5 --in-flight 2 --warmup-ms 5 --duration-ms 50",
        &["events_per_s", "delivery_p50_us", "last_watcher_p99_us", "undelivered"],
    );
    check_honest("--watch-fanout 5 --one-shot --warmup-ms 5 --duration-ms 50", &["events_per_s"]);
    check_honest("--idle-sessions 20 --hold-ms 60 --ping-interval-ms 20", &["sessions", "ping_p50_us"]);
    check_honest(
        "--probe --duration-ms 60",
        &["get_max_us", "set_over_10_ms", "control_max_us", "late_p99_us"],
    );
}

#[test]
fn the_load_is_spread_over_several_servers() {
    let mixed = run_on(3, Lie::None, &format!("{SHORT} --mix {EVERYTHING} --threads 2"));
    check_report(mixed, &["servers", "ops_per_s"]);
    check_report(run_on(2, Lie::None, "--fill 300 --connections 3 --pipeline 4"), &["ops_per_s"]);
}

#[test]
fn a_gap_in_writes_ends_with_the_same_session_on_another_server() {
    let (report, faults) = run_on(2, Lie::LostReply, "--write-gap --duration-ms 60");
    let json = report.to_json();
    assert!(!json.contains("\"connections_lost\":0,"), "{json}");
    assert!(!json.contains("\"in_doubt\":0,"), "{json}");
    check_report((report, faults), &["gap_ms", "writes", "connect_attempts"]);
}

#[test]
fn an_acknowledged_write_that_is_lost_is_found_out() {
    let (_, faults) = run_on(2, Lie::LostWrite, "--write-gap --duration-ms 60");
    assert!(faults.to_string().contains("fault Stat: "), "{faults}");
}

#[test]
fn what_looks_at_one_server_takes_one() {
    let args = ["bench", "--server", "127.0.0.1:1,127.0.0.1:2", "--probe"];
    let options = Cli::try_parse_from(args).unwrap().options;
    let error = measure_server(&options, &mut Report::default(), &mut Faults::default()).unwrap_err();
    assert!(error.to_string().contains("a single one"), "{error}");
}

#[test]
fn the_first_read_is_waited_for() {
    let server = FakeServer::start(Lie::None);
    let address = server.address().to_string();
    let args = ["bench", "--server", &address, "--first-read", "/none", "--duration-ms", "50"];
    let options = Cli::try_parse_from(args).unwrap().options;
    let error = measure_server(&options, &mut Report::default(), &mut Faults::default()).unwrap_err();
    assert!(error.to_string().starts_with("no read from"), "{error}");
}
