//! Keeps requests under way on many sessions, and says how many were answered: to be compared with `ferrokeeper bench`
//! at the same `--connections`, `--pipeline` and `--mix`.
//!
//! `cargo run --release -p ferrokeeper-client --example load -- SERVER CONNECTIONS PIPELINE GETS_OF_100 SECONDS`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Version};

const KEYS: u64 = 10_000;
const VALUE: [u8; 100] = [b'v'; 100];

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, connections, pipeline, gets, seconds] = arguments.as_slice() else {
        return Err("SERVER CONNECTIONS PIPELINE GETS_OF_100 SECONDS".into());
    };
    let (connections, pipeline): (u64, u64) = (connections.parse()?, pipeline.parse()?);
    let (gets, seconds): (u64, u64) = (gets.parse()?, seconds.parse()?);
    fill(&Client::connect(server).await?).await?;
    let answered = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut loops = Vec::new();
    for connection in 0..connections {
        let client = Client::connect(server).await?;
        for lane in 0..pipeline {
            let seed = connection * pipeline + lane + 1;
            loops.push(tokio::spawn(play(
                client.clone(),
                seed,
                gets,
                Arc::clone(&answered),
                Arc::clone(&stop),
            )));
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, start) = (answered.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let per_second = (answered.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for ended in loops {
        ended.await??;
    }
    println!("{per_second:.0} ops/s");
    Ok(())
}

async fn fill(client: &Client) -> Result<(), Failure> {
    let root = client.create(Create::new("/load", b""));
    let calls: Vec<_> =
        (0..KEYS).map(|key| client.create(Create::new(format!("/load/{key:08}"), VALUE))).collect();
    for call in std::iter::once(root).chain(calls) {
        match call.await {
            Ok(_) | Err(Error::Refused(ErrorCode::NodeExists)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn play(
    client: Client,
    seed: u64,
    gets: u64,
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Result<(), Error> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while !stop.load(Ordering::Relaxed) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let path = format!("/load/{:08}", random % KEYS);
        match (random >> 32) % 100 < gets {
            true => drop(client.get(&path).await?),
            false => drop(client.set(&path, &VALUE, Version::Any).await?),
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
