//! Logins that any web server knows, so that none has to remember anything.
//!
//! `cargo run -p ferrokeeper-recipes --example web_sessions`
//!
//! Each login is a node with a time to live. An ephemeral node would go with the web server that has made it, and log its
//! users out whenever that one is replaced; a persistent one would stay when a user never logs out. A node with a TTL belongs to
//! nobody, and the servers remove it when nobody has touched it for so long. They look now and then only, so web servers
//! look at the time themselves.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Stat, Version};

use crate::scenario::{Outcome, Place, ensure, play};

#[path = "shared/scenario.rs"]
mod scenario;

/// How long a login lasts after the last request.
const TTL: Duration = Duration::from_secs(30 * 60);

fn main() -> ExitCode {
    play("web_sessions", story)
}

async fn story(place: Place) -> Outcome {
    place.client().await?.create(Create::new("/logins", b"")).await?;
    let first = WebServer::start(&place).await?;
    let second = WebServer::start(&place).await?;
    let ada = first.log_in("ada").await?;
    let alan = first.log_in("alan").await?;
    println!("the first web server logs two users in");

    let now = now();
    expect(second.user_of(&ada, now).await?, Some("ada"))?;
    println!("  the second one knows them");
    first.client.close().await?;
    expect(second.user_of(&ada, now).await?, Some("ada"))?;
    println!("  also when the first one has gone");

    second.log_out(&ada).await?;
    expect(second.user_of(&ada, now).await?, None)?;
    println!("the second web server logs a user out whom the first one has logged in");

    expect(second.user_of(&alan, now + TTL / 2).await?, Some("alan"))?;
    let (_, stat) = second.client.get(&format!("/logins/{alan}")).await?;
    ensure(stat.version == 1, "a request must renew the login when it has become old")?;
    expect(second.user_of(&alan, now + 2 * TTL).await?, None)?;
    println!("a login is renewed by requests, and not valid when there are none for half an hour");

    expect(second.user_of("../alan", now).await?, None)?;
    expect(second.user_of(&"0".repeat(32), now).await?, None)?;
    println!("what is no login is nobody's");
    Ok(())
}

fn expect(found: Option<String>, wanted: Option<&str>) -> Outcome {
    ensure(found.as_deref() == wanted, format!("the user must be {wanted:?}, and not {found:?}"))
}

/// A web server; it keeps nothing between requests.
struct WebServer {
    client: Client,
}

impl WebServer {
    async fn start(place: &Place) -> Outcome<WebServer> {
        Ok(WebServer { client: place.client().await? })
    }

    /// Returns what the browser keeps in a cookie: a number that nobody can guess.
    async fn log_in(&self, user: &str) -> Outcome<String> {
        let token = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
        self.client.create(Create::new(format!("/logins/{token}"), user).ttl(TTL)).await?;
        Ok(token)
    }

    /// Whose login it is, if it is one.
    async fn user_of(&self, token: &str, now: Duration) -> Outcome<Option<String>> {
        // It comes from outside, and becomes part of a path.
        if token.len() != 32 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let path = format!("/logins/{token}");
        let Some((user, stat)) = self.find(&path).await? else { return Ok(None) };
        let age = now.saturating_sub(Duration::from_millis(stat.mtime_ms.try_into().unwrap_or(0)));
        if age >= TTL {
            return Ok(None);
        }
        // Not with each request: this is a write, on a majority of servers.
        if age > TTL / 4 {
            match self.client.set(&path, &user, Version::Is(stat.version)).await {
                // Another request was faster; that will do.
                Ok(_) | Err(Error::Refused(ErrorCode::BadVersion)) => {}
                Err(Error::Refused(ErrorCode::NoNode)) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(String::from_utf8(user)?))
    }

    async fn find(&self, path: &str) -> Outcome<Option<(Vec<u8>, Stat)>> {
        match self.client.get(path).await {
            Err(Error::Refused(ErrorCode::NoNode)) => {}
            found => return Ok(Some(found?)),
        }
        // The login may be so new that this server has not heard of it.
        self.client.sync(path).await?;
        match self.client.get(path).await {
            Err(Error::Refused(ErrorCode::NoNode)) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    async fn log_out(&self, token: &str) -> Outcome {
        match self.client.delete(&format!("/logins/{token}"), Version::Any).await {
            Ok(()) | Err(Error::Refused(ErrorCode::NoNode)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Since 1970, as servers count.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
