//! What a million nodes cost: bytes of memory per node, and the time of the operations on the hot path.
//!
//! `cargo run --release -p tree --example footprint [nodes]`

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use protocol::txn::{CreateTxn, Transaction, TxnBody, TxnHeader};
use protocol::{AclSlice, Epoch, OpCode, SessionId, Zxid};
use tree::Tree;

const PARENTS: usize = 1_000;
const DATA: [u8; 100] = [7; 100];

fn main() {
    let nodes: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let paths: Vec<String> = (0..nodes).map(path).collect();
    let order: Vec<usize> = shuffled(nodes);
    let mut tree = Tree::new(42);
    let mut clock = Clock { zxid: Zxid::new(Epoch::new(1), 1), time_ms: 1_795_307_668_457 };
    create(&mut tree, &mut clock, "/bench");
    for parent in 0..PARENTS {
        create(&mut tree, &mut clock, &format!("/bench/parent{parent:04}"));
    }

    let before = resident_bytes();
    let ns = each(nodes, |i| create(&mut tree, &mut clock, &paths[i]));
    let after = resident_bytes();
    println!("path of {} bytes: {}", paths[0].len(), paths[0]);
    println!("resident       {:8.1} bytes per node", (after as f64 - before as f64) / nodes as f64);
    println!("create         {ns:8.0} ns");
    println!("look up        {:8.0} ns", each(nodes, |i| _ = black_box(tree.find(&paths[order[i]]))));
    let read = |i: usize| _ = black_box(tree.find(&paths[order[i]]).map(|n| (n.client_stat(), n.acl())));
    println!("read stat      {:8.0} ns", each(nodes, read));
    println!("set            {:8.0} ns", each(nodes, |i| set(&mut tree, &mut clock, &paths[order[i]])));
    println!("set again      {:8.0} ns", each(nodes, |i| set(&mut tree, &mut clock, &paths[order[i]])));
    let changed = resident_bytes();
    println!(
        "resident       {:8.1} bytes per node, all changed",
        (changed as f64 - before as f64) / nodes as f64
    );
    snapshot(&mut tree, &mut clock, &paths, &order);
    println!("invariants     {:?}", tree.check_invariants());
}

/// A whole snapshot in chunks of 250 nodes, first alone, then with a write between any two chunks.
fn snapshot(tree: &mut Tree, clock: &mut Clock, paths: &[String], order: &[usize]) {
    for writes in [0, 25] {
        let (mut slowest, mut total, mut bytes, mut write_ns, mut at) = (0, 0, 0, 0, 0);
        let mut out = Vec::with_capacity(1 << 20);
        let start = Instant::now();
        let mut cursor = tree.begin_snapshot().cursor;
        let begin = start.elapsed();
        loop {
            out.clear();
            let start = Instant::now();
            let more = tree.snapshot_chunk(&mut cursor, 250, &mut out);
            let ns = start.elapsed().as_nanos();
            (slowest, total, bytes) = (slowest.max(ns), total + ns, bytes + out.len());
            let start = Instant::now();
            for _ in 0..writes {
                set(tree, clock, &paths[order[at % paths.len()]]);
                at += 1;
            }
            write_ns += start.elapsed().as_nanos();
            if !more {
                break;
            }
        }
        println!(
            "snapshot       {:8.1} ms for {} MB, slowest chunk {} us, begin {begin:?}; {at} writes meanwhile, {} ns each",
            total as f64 / 1e6,
            bytes / 1_000_000,
            slowest / 1_000,
            write_ns.checked_div(at as u128).unwrap_or(0),
        );
        drop(tree.end_snapshot());
    }
}

struct Clock {
    zxid: Zxid,
    time_ms: i64,
}

impl Clock {
    fn header(&mut self, kind: OpCode) -> TxnHeader {
        self.zxid = self.zxid.next().expect("fewer than four billion transactions");
        // About 20,000 transactions per second.
        self.time_ms += i64::from(self.zxid.counter().is_multiple_of(20));
        TxnHeader {
            session: SessionId::new(1),
            cxid: 1,
            zxid: self.zxid,
            time_ms: self.time_ms,
            kind: kind.to_wire(),
        }
    }
}

fn path(i: usize) -> String {
    format!("/bench/parent{:04}/n{i:010}", i % PARENTS)
}

fn create(tree: &mut Tree, clock: &mut Clock, path: &str) {
    let create = CreateTxn {
        op: OpCode::Create,
        path: Cow::Borrowed(path),
        data: Some(&DATA),
        acl: AclSlice::OPEN,
        ephemeral: false,
        parent_cversion: -1,
        ttl_ms: -1,
    };
    apply(tree, clock.header(OpCode::Create), TxnBody::Create(create));
}

fn set(tree: &mut Tree, clock: &mut Clock, path: &str) {
    let header = clock.header(OpCode::SetData);
    let version = header.zxid.counter() as i32;
    let body = TxnBody::SetData { path: Cow::Borrowed(path), data: Some(&DATA), version, reconfig: false };
    apply(tree, header, body);
}

fn apply(tree: &mut Tree, header: TxnHeader, body: TxnBody<'_>) {
    black_box(tree.apply(&Transaction { header, body, digest: None }, &mut ()));
}

fn each(count: usize, mut operation: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    for i in 0..count {
        operation(i);
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = 88_172_645_463_325_252_u64;
    for i in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(i, (state % (i as u64 + 1)) as usize);
    }
    order
}

/// What the process occupies; 0 where there is no `/proc`.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
