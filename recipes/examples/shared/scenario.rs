//! What all examples share: arguments, a place of their own on the server, deadlines, and an exit code.

#![allow(dead_code, reason = "no example needs all of it")]

use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::Duration;

use ferrokeeper_client::{Client, ClientBuilder, Create, Error, ErrorCode, Version, child_path};

pub type Failure = Box<dyn StdError + Send + Sync>;
pub type Outcome<T = ()> = Result<T, Failure>;

/// How long anything may take: long enough for a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

const USAGE: &str =
    "the only option is --server HOST:PORT, or several with commas in between; 127.0.0.1:2181 without it";

/// Where an example plays: below a node of its own, so that it disturbs nobody, not even itself in another window.
#[derive(Clone, Debug)]
pub struct Place {
    connect_string: String,
}

impl Place {
    /// A session of its own, as each process has one. Its root is the place.
    pub async fn client(&self) -> Outcome<Client> {
        Ok(self.builder().connect().await?)
    }

    /// Likewise, for those who want to say more.
    pub fn builder(&self) -> ClientBuilder {
        Client::builder(&self.connect_string)
    }
}

/// Plays an example, removes what it has left, and says how it went.
pub fn play<F: Future<Output = Outcome>>(name: &str, story: impl FnOnce(Place) -> F) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let server = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => "127.0.0.1:2181",
        ["--server", server] => server,
        _ => {
            eprintln!("{name}: {USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            let janitor = Client::connect(server).await?;
            // The server appends a number, so that two of the same name do not meet.
            let root = Create::new(format!("/example-{name}-"), b"").sequential();
            let root = janitor.create(root).await?.path;
            let place = Place { connect_string: format!("{server}{root}") };
            let outcome = story(place).await;
            let removed = soon("the place to be removed", remove(&janitor, &root)).await;
            outcome.and(removed.flatten())
        })
    });
    match outcome {
        Ok(()) => {
            println!("{name}: everything was as it must be");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Removes a node and everything below it, also what is still being created.
async fn remove(client: &Client, path: &str) -> Outcome {
    loop {
        match client.delete(path, Version::Any).await {
            Ok(()) | Err(Error::Refused(ErrorCode::NoNode)) => return Ok(()),
            Err(Error::Refused(ErrorCode::NotEmpty)) => {}
            Err(error) => return Err(error.into()),
        }
        for name in client.children(path).await.unwrap_or_default() {
            Box::pin(remove(client, &child_path(path, &name))).await?;
        }
    }
}

/// Waits for something, but not for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> Outcome<T> {
    let result = tokio::time::timeout(DEADLINE, future).await;
    result.map_err(|_| format!("waited {} seconds in vain for {what}", DEADLINE.as_secs()).into())
}

/// Ends the example with a sentence if something is not as it must be.
pub fn ensure(condition: bool, otherwise: impl Into<String>) -> Outcome {
    match condition {
        true => Ok(()),
        false => Err(otherwise.into().into()),
    }
}
