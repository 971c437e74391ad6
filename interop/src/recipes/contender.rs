//! A process full of contenders that use our own recipes; `data/Contender.java` and `data/contender.py` are the same
//! with Curator's and kazoo's.
//!
//! **What it reads**: a line for each contender, `<who> <server> <recipe> <path> <number>`, and then `go`. Each has a
//! session of its own. For locks and elections the number is how often it wants to hold; 0 is for one that never lets
//! go, because it will be killed. For queues and counters it is how often it does its part, for barriers how many meet.
//!
//! **What it prints**, all times in nanoseconds of the machine's monotonic clock:
//!
//! - `<who> ready`: it is connected, and waits for `go`.
//! - `<who> begin alone|shared <token> <time>`, taken when the lock is held; the token is the transaction that created
//!   the node which the lock is held with.
//! - `<who> end <time>`, taken before the lock is released.
//! - `<who> took <who>/<number>`: that entry was taken out of the queue for good.
//! - `<who> comes|inside|leaves|outside <time>`: at a barrier.
//! - `<who> done`, or `<who> failed <why>`.
//!
//! Whoever holds something writes its token into `<path>-ledger`; a holder who shares only reads it. It must find a
//! lower token there, and nobody may have written between its look and its own writing.

use std::io::{BufRead, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ferrokeeper_client::{Client, Version};
use ferrokeeper_recipes::{
    Counter, CounterEncoding, DoubleBarrier, LeaderLatch, LockingQueue, Mutex, Priority, PriorityQueue,
    ProtectedNode, Queue, ReadWriteLock, Semaphore,
};
use tokio::sync::watch;

use super::monotonic_ns;

/// How long a contender waits for its connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(120);

/// Runs them until all are done; their sessions may be silent for so long.
pub fn run(timeout_ms: u64) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (go, gone) = watch::channel(false);
        let mut contenders = Vec::new();
        loop {
            let line = tokio::task::spawn_blocking(read_line).await??;
            if line == "go" {
                break;
            }
            let contender = Contender::parse(&line)?;
            contenders.push(tokio::spawn(contender.live(timeout_ms, gone.clone())));
        }
        go.send_replace(true);
        for contender in contenders {
            contender.await?;
        }
        Ok(())
    })
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    let length = std::io::stdin().lock().read_line(&mut line)?;
    ensure!(length > 0, "the input ended before `go`");
    Ok(line.trim_end().to_owned())
}

struct Contender {
    who: String,
    server: String,
    recipe: String,
    path: String,
    number: u32,
}

impl Contender {
    fn parse(line: &str) -> Result<Contender> {
        let words: Vec<&str> = line.split(' ').collect();
        let [who, server, recipe, path, number] = words[..] else {
            bail!("a contender is five words: {line:?}");
        };
        let [who, server, recipe, path] = [who, server, recipe, path].map(str::to_owned);
        Ok(Contender { who, server, recipe, path, number: number.parse()? })
    }

    async fn live(self, timeout_ms: u64, go: watch::Receiver<bool>) {
        match self.contend(timeout_ms, go).await {
            Ok(()) => self.say("done"),
            Err(error) => self.say(&format!("failed {}", format!("{error:#}").replace('\n', " "))),
        }
    }

    fn say(&self, what: &str) {
        // One write, so that a kill leaves whole lines or the beginning of the last one.
        let line = format!("{} {what}\n", self.who);
        let mut out = std::io::stdout().lock();
        // Whoever reads this misses what cannot be written.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }

    fn say_when(&self, what: &str) {
        self.say(&format!("{what} {}", monotonic_ns()));
    }

    async fn contend(&self, timeout_ms: u64, mut go: watch::Receiver<bool>) -> Result<()> {
        let client = Client::builder(&self.server)
            .session_timeout(Duration::from_millis(timeout_ms))
            .connect_timeout(CONNECT_LIMIT)
            .connect()
            .await?;
        self.say("ready");
        go.wait_for(|go| *go).await?;
        match self.recipe.as_str() {
            "mutex" | "impatience" | "read" | "write" | "latch" | "semaphore-2" => {
                // Who is to hold for ever does not come back from the first hold.
                for _ in 0..self.number.max(1) {
                    self.hold_once(&client).await?;
                }
            }
            "meet" => self.meet(&client).await?,
            "count-64" => {
                self.count(&Counter::new(&client, &self.path, CounterEncoding::BigEndian64)).await?
            }
            "count-text" => self.count(&Counter::new(&client, &self.path, CounterEncoding::Text)).await?,
            _ => self.queue(&client).await?,
        }
        client.close().await?;
        Ok(())
    }

    async fn hold_once(&self, client: &Client) -> Result<()> {
        let path = &self.path;
        match self.recipe.as_str() {
            "mutex" => {
                let guard = Mutex::new(client, path).lock().await?;
                self.hold(client, true, guard.fencing_token().to_wire()).await?;
                guard.release().await?;
            }
            // A mistake for the suite to find: it stands in line, but does not look who is in front.
            "impatience" => {
                let node = ProtectedNode::create(client, path, "lock-", b"").await?;
                self.hold(client, true, node.czxid().to_wire()).await?;
                node.delete().await?;
            }
            "write" => {
                let guard = ReadWriteLock::new(client, path).write().await?;
                self.hold(client, true, guard.fencing_token().to_wire()).await?;
                guard.release().await?;
            }
            "read" => {
                let guard = ReadWriteLock::new(client, path).read().await?;
                self.hold(client, false, guard.fencing_token().to_wire()).await?;
                guard.release().await?;
            }
            "latch" => {
                let latch = LeaderLatch::join(client, path, self.who.as_bytes()).await?;
                let epoch = latch.wait().await?;
                self.hold(client, true, epoch.to_wire()).await?;
                latch.leave().await?;
            }
            _ => {
                let lease = Semaphore::new(client, path, 2).acquire().await?;
                let begin_ns = monotonic_ns();
                let stat = client.exists(&lease.path()).await?.context("a lease without a node")?;
                self.hold_since(begin_ns, client, false, stat.czxid.to_wire()).await?;
                lease.release().await?;
            }
        }
        Ok(())
    }

    async fn hold(&self, client: &Client, alone: bool, token: i64) -> Result<()> {
        self.hold_since(monotonic_ns(), client, alone, token).await
    }

    /// A hold, from its first moment to its last.
    async fn hold_since(&self, begin_ns: u64, client: &Client, alone: bool, token: i64) -> Result<()> {
        self.say(&format!("begin {} {token} {begin_ns}", if alone { "alone" } else { "shared" }));
        if self.number == 0 {
            std::future::pending::<()>().await;
        }
        let ledger = format!("{}-ledger", self.path);
        let (before, stat) = client.get(&ledger).await?;
        if alone {
            let before: i64 = String::from_utf8(before)?.parse()?;
            ensure!(before < token, "the ledger has seen token {before}, mine is {token}");
            client.set(&ledger, token.to_string().as_bytes(), Version::Is(stat.version)).await?;
        }
        self.say_when("end");
        Ok(())
    }

    async fn meet(&self, client: &Client) -> Result<()> {
        self.say_when("comes");
        let inside = DoubleBarrier::new(client, &self.path, self.number).enter().await?;
        self.say_when("inside");
        self.say_when("leaves");
        inside.leave().await?;
        self.say_when("outside");
        Ok(())
    }

    async fn count(&self, counter: &Counter) -> Result<()> {
        for _ in 0..self.number {
            counter.add(1).await?;
        }
        Ok(())
    }

    async fn queue(&self, client: &Client) -> Result<()> {
        let fifo = Queue::new(client, &self.path);
        let priorities = PriorityQueue::new(client, &self.path);
        let locking = LockingQueue::new(client, &self.path);
        for number in 0..self.number.max(1) {
            let entry = format!("{}/{number}", self.who);
            let taken = match self.recipe.as_str() {
                "put" => {
                    fifo.put(entry.as_bytes()).await?;
                    continue;
                }
                "priority-put" => {
                    priorities.put(entry.as_bytes(), Priority::default()).await?;
                    continue;
                }
                "locking-put" => {
                    locking.put(entry.as_bytes(), Priority::default()).await?;
                    continue;
                }
                "take" => fifo.take().await?,
                "priority-take" => priorities.take().await?,
                "locking-take" => {
                    let taken = locking.take().await?;
                    if self.number == 0 {
                        self.say_when("begin shared 0");
                        std::future::pending::<()>().await;
                    }
                    let data = taken.data().to_vec();
                    taken.consume().await?;
                    data
                }
                other => bail!("there is no recipe {other}"),
            };
            self.say(&format!("took {}", String::from_utf8(taken)?));
        }
        Ok(())
    }
}
