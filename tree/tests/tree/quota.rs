//! Usage of quotas and the check against their limits.

use protocol::txn::TxnBody;
use protocol::{ErrorCode, OpCode};
use tree::{QuotaResource, QuotaVerdict};

use super::apply::{Bench, create};

const LIMITS: &str = "/zookeeper/quota/a/zookeeper_limits";
const STATS: &str = "/zookeeper/quota/a/zookeeper_stats";

fn set<'a>(path: &'a str, data: &'a [u8]) -> TxnBody<'a> {
    TxnBody::SetData { path: path.into(), data: Some(data), version: 1, reconfig: false }
}

fn delete(path: &str) -> TxnBody<'_> {
    TxnBody::Delete { path: path.into(), container: false }
}

fn usage(bench: &Bench) -> String {
    let stats = bench.tree.find(STATS).expect("there is a usage node");
    String::from_utf8_lossy(stats.data().unwrap_or_default()).into_owned()
}

/// A tree with `/a` and `/a/b` of two bytes each and a quota on `/a`, set as the shell sets it.
fn with_quota(limits: &[u8]) -> Bench {
    let mut bench = Bench::new();
    for path in ["/a", "/a/b", "/zookeeper/quota/a", LIMITS] {
        bench.create(path);
    }
    bench.apply(set(LIMITS, limits));
    bench.create(STATS);
    bench
}

#[test]
fn usage_is_counted_when_it_begins_and_kept_from_then_on() {
    let mut bench = with_quota(b"count=5,bytes=10");
    assert_eq!(usage(&bench), "count=2,bytes=4");
    let stat = bench.tree.find(STATS).unwrap().stat();
    bench.create("/a/c");
    bench.create("/ab");
    bench.apply(set("/a/b", b"12345"));
    bench.apply(delete("/a/c"));
    assert_eq!(usage(&bench), "count=2,bytes=7");
    assert_eq!(bench.tree.find(STATS).unwrap().stat(), stat, "nobody sees it in the stat");
    assert_eq!(bench.tree.check_quota_usage(), Ok(()));
    assert_eq!(bench.tree.check_invariants(), Ok(()));
    assert!(!bench.heard.0.iter().any(|change| change.contains("set /zookeeper/quota/a/zookeeper_stats")));

    let quota = bench.tree.quotas().next().unwrap();
    assert_eq!((quota.prefix, quota.limits.unwrap().bytes(), quota.usage.unwrap().bytes()), ("/a", 10, 7));
    bench.apply(delete(LIMITS));
    bench.create("/a/d");
    assert_eq!(usage(&bench), "count=2,bytes=7", "no limits, no counting");
    assert_eq!(bench.tree.quotas().count(), 0);
}

#[test]
fn ephemerals_count_and_stop_counting_with_their_session() {
    let mut bench = with_quota(b"count=5,bytes=10");
    bench.apply(create("/a/e", OpCode::Create, true));
    assert_eq!(usage(&bench), "count=3,bytes=6");
    bench.apply(TxnBody::CloseSession { paths: None });
    assert_eq!(usage(&bench), "count=2,bytes=4");
}

#[test]
fn only_the_deepest_quota_counts() {
    let mut bench = with_quota(b"count=5,bytes=10");
    for path in ["/zookeeper/quota/a/b", "/zookeeper/quota/a/b/zookeeper_limits"] {
        bench.create(path);
    }
    bench.create("/zookeeper/quota/a/b/zookeeper_stats");
    bench.create("/a/b/x");
    assert_eq!(usage(&bench), "count=2,bytes=4");
    let inner = bench.tree.find("/zookeeper/quota/a/b/zookeeper_stats").unwrap().data();
    assert_eq!(inner, Some(&b"count=2,bytes=4"[..]));
}

#[test]
fn nonsense_written_over_the_usage_is_replaced_by_the_truth() {
    let mut bench = with_quota(b"count=5,bytes=10");
    bench.apply(set(STATS, b"nonsense"));
    bench.create("/a/c");
    assert_eq!(usage(&bench), "count=3,bytes=6");
}

#[test]
fn hard_limits_refuse_and_soft_limits_complain() {
    let bench = with_quota(b"count=2,bytes=5");
    let QuotaVerdict::SoftExceeded(excesses) = bench.tree.quota_check("/a/new", 2, 1) else {
        panic!("both soft limits are exceeded")
    };
    let seen: Vec<_> = excesses.iter().map(|excess| (excess.resource, excess.usage, excess.limit)).collect();
    assert_eq!(seen, [(QuotaResource::Count, 3, 2), (QuotaResource::Bytes, 6, 5)]);
    assert_eq!(bench.tree.quota_check("/a/new", 1, 0), QuotaVerdict::Within);
    assert_eq!(bench.tree.quota_check("/other", 100, 1), QuotaVerdict::Within);

    let bench = with_quota(b"count=1,bytes=-1=;byteHardLimit=5;countHardLimit=3");
    assert_eq!(
        bench.tree.quota_check("/a/new", 1, 1),
        QuotaVerdict::Within,
        "hard limits win over soft ones"
    );
    let refusal = bench.tree.quota_check("/a/b/new", 2, 1);
    assert_eq!(refusal.refusal(), Some(ErrorCode::QuotaExceeded));
    let QuotaVerdict::HardExceeded(excess) = refusal else { panic!("six bytes are too many") };
    assert_eq!((&*excess.prefix, excess.resource, excess.usage), ("/a", QuotaResource::Bytes, 6));

    let bench = with_quota(b"nonsense");
    assert_eq!(bench.tree.quota_check("/a/new", 1, 1).refusal(), Some(ErrorCode::MarshallingError));
}

#[test]
fn loading_registers_quotas_and_counts_again() {
    let mut bench = with_quota(b"count=5,bytes=10");
    bench.apply(set(STATS, b"count=77,bytes=77"));
    let mut start = bench.tree.begin_snapshot();
    let mut nodes = Vec::new();
    assert!(!bench.tree.snapshot_chunk(&mut start.cursor, 1_000, &mut nodes));
    let loaded = super::snapshot::load(&start.sessions, &start.acls, start.zxid, &nodes).unwrap();
    assert_eq!(loaded.find(STATS).unwrap().data(), Some(&b"count=2,bytes=4"[..]));
    assert_eq!(loaded.check_quota_usage(), Ok(()));
    assert_eq!(loaded.digest(), start.digest);
}
