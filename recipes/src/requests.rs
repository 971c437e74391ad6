//! What recipes ask servers, lost connections or not.

use std::time::Duration;

use ferrokeeper_client::{
    Advice, Call, Client, Create, Error, ErrorCode, Version, WatchEnd, WatchOnce, child_path,
};

/// How often a deletion behind everybody's back is tried.
const CLEANUP_ATTEMPTS: u32 = 10;

/// How long one request of such a deletion may take, the wait for a connection included.
pub(crate) const CLEANUP_PATIENCE: Duration = Duration::from_secs(30);

/// The pause after a first failed attempt; it grows by as much with each.
const CLEANUP_PAUSE: Duration = Duration::from_millis(50);

/// How many nodes are asked for at a time.
pub(crate) const BATCH: usize = 64;

/// Creates a node and those above it that are missing. From below: above there may be nodes in which this client may
/// create nothing.
pub(crate) async fn create_containers(client: &Client, path: &str) -> Result<(), Error> {
    let mut missing = vec![path];
    while let Some(&path) = missing.last() {
        match through_losses(|| client.create(Create::new(path, b"").container())).await {
            Ok(_) | Err(Error::Refused(ErrorCode::NodeExists)) => drop(missing.pop()),
            Err(error @ Error::Refused(ErrorCode::NoNode)) => match path.rfind('/') {
                Some(end) if end > 0 => missing.push(&path[..end]),
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Creates an empty node that stays, if there is none; what is missing above it, as containers.
pub(crate) async fn create_lasting(client: &Client, path: &str) -> Result<(), Error> {
    loop {
        match through_losses(|| client.create(Create::new(path, b""))).await {
            Ok(_) | Err(Error::Refused(ErrorCode::NodeExists)) => return Ok(()),
            Err(error @ Error::Refused(ErrorCode::NoNode)) => create_above(client, path, error).await?,
            Err(error) => return Err(error),
        }
    }
}

/// Creates what is missing above a node that was refused for that. The refusal comes back if there is nothing above it.
pub(crate) async fn create_above(client: &Client, path: &str, refusal: Error) -> Result<(), Error> {
    match path.rfind('/') {
        Some(end) if end > 0 => create_containers(client, &path[..end]).await,
        _ => Err(refusal),
    }
}

/// Deletes a node, if there is one.
pub(crate) async fn delete(client: &Client, path: &str) -> Result<(), Error> {
    done(through_losses(|| client.delete(path, Version::Any)).await)
}

/// The names of a node's children; none if there is no node.
pub(crate) async fn children(client: &Client, path: &str) -> Result<Vec<String>, Error> {
    match through_losses(|| client.children(path)).await {
        Err(Error::Refused(ErrorCode::NoNode)) => Ok(Vec::new()),
        names => names,
    }
}

/// The data of some of a node's children, in their order. Those that have gone are left out; who may not be read has the
/// refusal instead.
pub(crate) async fn data_of_children<'a>(
    client: &Client,
    path: &str,
    names: &'a [String],
) -> Result<Vec<(&'a str, Result<Vec<u8>, ErrorCode>)>, Error> {
    let mut found = Vec::with_capacity(names.len());
    for names in names.chunks(BATCH) {
        let paths: Vec<String> = names.iter().map(|name| child_path(path, name)).collect();
        // All are under way before the first answer.
        let calls: Vec<_> = paths.iter().map(|path| client.get(path)).collect();
        for ((name, path), call) in names.iter().zip(&paths).zip(calls) {
            let answer = match call.await {
                Err(Error::ConnectionLost(_)) => through_losses(|| client.get(path)).await,
                answer => answer,
            };
            match answer {
                Ok((data, _)) => found.push((name.as_str(), Ok(data))),
                Err(Error::Refused(ErrorCode::NoNode)) => {}
                Err(Error::Refused(code)) => found.push((name.as_str(), Err(code))),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// Calls again after every lost connection; for what may happen twice. The next call waits for a connection, so this
/// does not spin.
pub(crate) async fn through_losses<T>(mut call: impl FnMut() -> Call<T>) -> Result<T, Error> {
    loop {
        match call().await {
            Err(Error::ConnectionLost(_)) => {}
            result => return result,
        }
    }
}

pub(crate) fn last_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Waits until a watch fires, or until it is known that it will not: look again then. Fails when the session is over.
pub(crate) async fn fired(changed: WatchOnce) -> Result<(), Error> {
    match changed.await.err().and_then(WatchEnd::session_error) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Tries to clean up until it is done or hopeless; false if it was often enough.
pub(crate) async fn cleaned_up<F: Future<Output = Result<(), Error>>>(mut clean: impl FnMut() -> F) -> bool {
    for attempt in 1..=CLEANUP_ATTEMPTS {
        let result = clean().await;
        if !retryable(&result) {
            return true;
        }
        tracing::debug!(?result, attempt, "an abandoned node could not be deleted");
        tokio::time::sleep(CLEANUP_PAUSE * attempt).await;
    }
    false
}

pub(crate) fn retryable(result: &Result<(), Error>) -> bool {
    result.as_ref().is_err_and(|error| error.advice() != Advice::GiveUp)
}

/// A deletion of what is not there has nothing to do.
pub(crate) fn done(deletion: Result<(), Error>) -> Result<(), Error> {
    match deletion {
        Err(Error::Refused(ErrorCode::NoNode)) => Ok(()),
        other => other,
    }
}

/// A random UUID, as text.
pub(crate) fn guid() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    // Version 4, variant 1.
    let bits = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_a_random_uuid() {
        let (one, other) = (guid(), guid());
        assert_ne!(one, other);
        let groups: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{one}");
        assert_eq!(one.as_bytes()[14], b'4', "{one}");
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }

    #[test]
    fn names_and_paths() {
        assert_eq!(last_name("/locks/x/a"), "a");
    }
}
