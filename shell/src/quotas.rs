//! Commands on quotas. A quota is a node below `/zookeeper/quota`, whatever the connect string's path is.

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Version, child_path};
use serde_json::{Map, Value, json};

use crate::catalogue::Entry;
use crate::context::Context;
use crate::failure::Failure;
use crate::failure::Outcome;
use crate::nodes::visit;
use crate::options::Parsed;
use crate::quota_text::{BYTES, BYTES_HARD, COUNT, COUNT_HARD, Track};
use crate::session::Clients;

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Which option sets what, and which numbers are too small for it.
const KEYS: [(&str, &str); 4] = [("n", COUNT), ("b", BYTES), ("N", COUNT_HARD), ("B", BYTES_HARD)];

/// Where a node's quota lies.
struct Place {
    /// The node on the server.
    node: String,
    folder: String,
}

impl Place {
    fn of(clients: &Clients, path: &str) -> Place {
        let node = clients.full_path(path);
        // Java's shell puts the paths together as they are, also that of the root.
        Place { folder: format!("{ROOT}{node}"), node }
    }

    fn limits(&self) -> String {
        format!("{}/{LIMITS}", self.folder)
    }

    fn stats(&self) -> String {
        format!("{}/{STATS}", self.folder)
    }
}

fn malformed() -> Failure {
    Failure::new("The quota that is stored is malformed.")
}

async fn read(client: &Client, path: &str) -> Result<Track, Failure> {
    let (data, _) = client.get(path).await.map_err(|error| Failure::of(&error, Some(path)))?;
    Track::parse(&data).ok_or_else(malformed)
}

/// `listquota`.
pub async fn list(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let clients = context.clients().await;
    let place = Place::of(&clients, path);
    context.output.remark(&format!("absolute path is {}", place.limits()));
    let mut document = Map::from_iter([("path".to_owned(), json!(path))]);
    for (what, node) in [("quota", place.limits()), ("stat", place.stats())] {
        let data = match clients.root.get(&node).await {
            Ok((data, _)) => data,
            Err(Error::Refused(ErrorCode::NoNode)) => {
                return context.output.complain(&format!("quota for {path} does not exist."));
            }
            Err(error) => return Err(Failure::of(&error, Some(&node))),
        };
        let track = Track::parse(&data).ok_or_else(malformed)?;
        context.output.text(&format!("Output {what} for {path} {track}"));
        document.insert(what.to_owned(), track.to_json());
    }
    context.output.document(|| Value::Object(document));
    Ok(())
}

/// `delquota`.
pub async fn delete(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    let clients = context.clients().await;
    let place = Place::of(&clients, path);
    let limits = place.limits();
    let failed = |error: Error| Failure::of(&error, Some(&limits));
    if clients.root.exists(&limits).await.map_err(failed)?.is_none() {
        return context.output.complain_as_result(&format!("Quota does not exist for {path}"));
    }
    let mut track = read(&clients.root, &limits).await?;
    let keys: Vec<&str> = KEYS.iter().filter(|(flag, _)| parsed.has(flag)).map(|(_, key)| *key).collect();
    if keys.is_empty() {
        return remove(&clients.root, place.folder).await;
    }
    for key in keys {
        track.set(key, -1);
    }
    let text = track.to_string();
    clients.root.set(&limits, text.as_bytes(), Version::Any).await.map(drop).map_err(failed)
}

/// Removes limits and usage, and the folders above them that are empty then.
async fn remove(client: &Client, mut folder: String) -> Outcome {
    let failed = |path: &str| {
        let path = path.to_owned();
        move |error: Error| Failure::of(&error, Some(&path))
    };
    for name in client.children(&folder).await.map_err(failed(&folder))? {
        let path = child_path(&folder, &name);
        client.delete(&path, Version::Any).await.map_err(failed(&path))?;
    }
    while folder != ROOT && client.children(&folder).await.map_err(failed(&folder))?.is_empty() {
        client.delete(&folder, Version::Any).await.map_err(failed(&folder))?;
        folder.truncate(folder.rfind('/').unwrap_or(0));
    }
    Ok(())
}

/// `setquota`.
pub async fn set(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let path = parsed.argument(0).ok_or_else(|| Failure::new(entry.usage()))?;
    if path.starts_with(ROOT) {
        return context.output.complain(&format!("cannot set a quota under the path: {ROOT}"));
    }
    let limits = match wanted(parsed) {
        Ok(limits) => limits,
        Err(complaint) => return context.output.complain(complaint),
    };
    let clients = context.clients().await;
    // The node's path is checked, and told, as the user knows it.
    let failed = |error: Error| Failure::of(&error, Some(path));
    if clients.here.exists(path).await.map_err(failed)?.is_none() {
        return Err(Failure::new(format!("{path} does not exist.")));
    }
    let place = Place::of(&clients, path);
    expect_none_below(&clients.root, &place, path).await?;
    expect_none_above(&clients.root, &place, path).await?;
    create_folders(&clients.root, &place).await?;
    store(context, &clients.root, &place, limits).await
}

/// The limits that the options name (`SetQuotaCommand.checkOptionValue`).
fn wanted(parsed: &Parsed) -> Result<Track, &'static str> {
    let mut track = Track::default();
    for (flag, key) in KEYS {
        track.set(key, -1);
        let Some(text) = parsed.value(flag) else { continue };
        let counts_nodes = matches!(flag, "n" | "N");
        let value = match counts_nodes {
            true => text.parse::<i32>().map(i64::from),
            false => text.parse::<i64>(),
        };
        let value = value.map_err(|_| "NumberFormatException happens when parsing the option value")?;
        if counts_nodes && value <= 0 {
            return Err("the num quota must be greater than zero");
        }
        if value < 0 {
            return Err("the bytes quota must be greater than or equal to zero");
        }
        track.set(key, value);
    }
    Ok(track)
}

/// Quotas do not nest.
async fn expect_none_below(client: &Client, place: &Place, path: &str) -> Outcome {
    // A quota on the root is a folder's own.
    let folder = place.folder.trim_end_matches('/');
    if client.exists(folder).await.map_err(|error| Failure::of(&error, Some(folder)))?.is_none() {
        return Ok(());
    }
    visit(client, folder, false, async |found| {
        let above = found.strip_suffix(LIMITS).and_then(|above| above.strip_suffix('/'));
        match above.filter(|&above| above != folder) {
            Some(above) => {
                Err(Failure::new(format!("{path} has a child {} which has a quota", &above[ROOT.len()..])))
            }
            None => Ok(()),
        }
    })
    .await
}

async fn expect_none_above(client: &Client, place: &Place, path: &str) -> Outcome {
    let mut folder = ROOT.to_owned();
    let names: Vec<&str> = place.node.split('/').filter(|name| !name.is_empty()).collect();
    for name in names.iter().take(names.len().saturating_sub(1)) {
        folder = child_path(&folder, name);
        let limits = child_path(&folder, LIMITS);
        let found = client.exists(&limits).await.map_err(|error| Failure::of(&error, Some(&limits)))?;
        if found.is_some() {
            let above = &folder[ROOT.len()..];
            return Err(Failure::new(format!("{path} has a parent {above} which has a quota")));
        }
    }
    Ok(())
}

async fn create_folders(client: &Client, place: &Place) -> Outcome {
    let mut folder = ROOT.to_owned();
    for name in place.node.split('/').filter(|name| !name.is_empty()) {
        folder = child_path(&folder, name);
        // Looked for first, because a refused create is a transaction, too.
        let exists = client.exists(&folder).await.map_err(|error| Failure::of(&error, Some(&folder)))?;
        if exists.is_some() {
            continue;
        }
        match client.create(Create::null(&folder)).await {
            Ok(_) | Err(Error::Refused(ErrorCode::NodeExists)) => {}
            Err(error) => return Err(Failure::of(&error, Some(&folder))),
        }
    }
    Ok(())
}

async fn store(context: &Context<'_>, client: &Client, place: &Place, limits: Track) -> Outcome {
    let folder = place.folder.trim_end_matches('/');
    let (limits_path, stats_path) = (child_path(folder, LIMITS), child_path(folder, STATS));
    let exists =
        client.exists(&limits_path).await.map_err(|error| Failure::of(&error, Some(&limits_path)))?.is_some();
    if exists {
        let mut stored = read(client, &limits_path).await?;
        stored.take_over(&limits);
        warn(context, &stored, &read(client, &stats_path).await?);
        let text = stored.to_string();
        let set = client.set(&limits_path, text.as_bytes(), Version::Any).await;
        return set.map(drop).map_err(|error| Failure::of(&error, Some(&limits_path)));
    }
    for (path, text) in [(&limits_path, limits.to_string()), (&stats_path, "count=0,bytes=0".to_owned())] {
        client.create(Create::new(path, text)).await.map_err(|error| Failure::of(&error, Some(path)))?;
    }
    warn(context, &read(client, &limits_path).await?, &read(client, &stats_path).await?);
    Ok(())
}

fn warn(context: &Context<'_>, limits: &Track, used: &Track) {
    for warning in limits.warnings(used) {
        match context.output.is_json() {
            true => context.output.warn(&warning),
            false => context.output.text(&warning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::find;
    use crate::line::words;
    use crate::options::parse;

    fn wanted_by(line: &str) -> Result<String, &'static str> {
        let entry = find("setquota").unwrap();
        wanted(&parse(entry.flags, entry.choice, &words(line)).unwrap()).map(|track| track.to_string())
    }

    #[test]
    fn limits_are_numbers_that_make_sense() {
        let stored = "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=-1";
        assert_eq!(wanted_by("setquota -n 5 /a"), Ok(stored.to_owned()));
        assert!(wanted_by("setquota -b 0 /a").is_ok());
        assert_eq!(wanted_by("setquota -N 0 /a"), Err("the num quota must be greater than zero"));
        assert_eq!(
            wanted_by("setquota -B -5 /a"),
            Err("the bytes quota must be greater than or equal to zero")
        );
        for line in ["setquota -n x /a", "setquota -n 3000000000 /a"] {
            assert!(wanted_by(line).unwrap_err().starts_with("NumberFormatException"), "{line}");
        }
    }
}
