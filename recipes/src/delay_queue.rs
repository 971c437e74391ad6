//! A queue whose entries wait for their time.

use std::collections::VecDeque;
use std::future::pending;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrokeeper_client::Client;

use crate::entries::{Entries, Layout, Ready};
use crate::error::RecipeError;

const STEM: &str = "queue-";
const SEPARATOR: char = '|';

/// What the data of Curator's entries begin with: a version.
const FORMAT: [u8; 4] = [0, 1, 0, 1];
/// What stands in front of an item, and of its length in four bytes.
const ITEM: u8 = 1;
/// What stands behind the last one.
const END: u8 = 2;

/// How long to sleep at most before looking at the clock again: somebody may set it.
const CLOCK_PATIENCE: Duration = Duration::from_secs(30);

/// A queue whose entries may be taken from a time on that each has: the one that is due first goes first, and of those
/// that are due at the same time, the one that was put first.
///
/// **Clocks.** Who puts an entry says when it is due, and who takes it goes by the clock of its own system
/// ([`SystemTime`]): an entry is taken too early or too late by as much as that one is wrong. Times are whole
/// milliseconds. Who waits wakes when the next entry is due, or when an entry comes; a clock that is set is noticed
/// within 30 seconds.
///
/// **Guarantees, lost answers and lost sessions** are those of a [`Queue`](crate::Queue): an entry is taken by one
/// consumer at most, and is lost with a consumer that dies after taking it; the first in line (at `<path>-takers`) watches
/// for all. Each take lists the queue.
///
/// **Others.** The layout is that of Curator's `DistributedDelayQueue`, `<path>/queue-|<milliseconds since 1970, in
/// hexadecimal>|<number>`, and that of Curator's items: processes with Curator, as long as it uses no lock path, and with
/// this crate may both put and take. Of an entry with several items, as `putMulti` writes them, one take returns the first
/// one, and the others go to the next takers who ask this queue or a clone of it; they are lost when the last of them is
/// dropped, and [`RecipeError::PerhapsTaken`] holds such an entry's data as Curator has written them. Data that Curator
/// cannot have written are taken as they are. An entry whose name has no time is due at once, as it is for Curator.
#[derive(Clone, Debug)]
pub struct DelayQueue(Entries);

/// As the methods of [`Queue`](crate::Queue): what they say about waiting, dropping and panics holds here.
impl DelayQueue {
    /// The queue of a path. Nothing is sent yet; the path is created when it is needed, and stays, because Curator does
    /// not create it twice.
    pub fn new(client: &Client, path: &str) -> DelayQueue {
        DelayQueue(Entries::new(client, path, Layout::Delay))
    }

    /// Puts an entry that may be taken from this time on; at once if it is over. If the connection is lost and the entry may
    /// have been put, [`RecipeError::Unknown`].
    pub async fn put(&self, data: &[u8], due: SystemTime) -> Result<(), RecipeError> {
        self.0.put(&stem(millis(due)), &pack([data.to_vec()])).await
    }

    /// Takes the entry that is due first; waits until there is one and it is due.
    pub async fn take(&self) -> Result<Vec<u8>, RecipeError> {
        self.0.take().await
    }

    /// As [`DelayQueue::take`], but no longer than this: then `None`.
    pub async fn take_within(&self, patience: Duration) -> Result<Option<Vec<u8>>, RecipeError> {
        tokio::time::timeout(patience, self.take()).await.ok().transpose()
    }

    /// Takes the entry that is due first, if there is one and it is due.
    pub async fn try_take(&self) -> Result<Option<Vec<u8>>, RecipeError> {
        self.0.try_take().await
    }
}

/// What stands in front of the number in an entry's name.
fn stem(due_ms: i64) -> String {
    format!("{STEM}{SEPARATOR}{due_ms:08X}{SEPARATOR}")
}

/// The due time in a name, and its number.
fn due(name: &str) -> (i64, &str) {
    let mut parts = name.rsplitn(3, SEPARATOR);
    let number = parts.next().unwrap_or_default();
    let due = parts.next().and_then(|hex| i64::from_str_radix(hex, 16).ok());
    match (due, parts.next()) {
        (Some(due), Some(_)) => (due, number),
        _ => (0, name),
    }
}

/// The entries that are due.
pub(crate) fn by_due_time(mut names: Vec<String>, now_ms: i64) -> Ready {
    names.retain(|name| name.starts_with(STEM));
    names.sort_unstable_by(|one, other| due(one).cmp(&due(other)));
    let due_count = names.partition_point(|name| due(name).0 <= now_ms);
    let next_ms = names.get(due_count).map(|name| due(name).0);
    names.truncate(due_count);
    Ready { names, next_ms }
}

/// As Curator writes items.
pub(crate) fn pack(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = FORMAT.to_vec();
    for item in items {
        let length = u32::try_from(item.len()).expect("no request is as long as 4 GiB");
        bytes.push(ITEM);
        bytes.extend(length.to_be_bytes());
        bytes.extend(item);
    }
    bytes.push(END);
    bytes
}

/// As Curator reads them; `None` if it cannot.
pub(crate) fn unpack(bytes: &[u8]) -> Option<VecDeque<Vec<u8>>> {
    let mut rest = bytes.strip_prefix(&FORMAT)?;
    let mut items = VecDeque::new();
    loop {
        match *rest.split_off_first()? {
            ITEM => {
                let length = u32::from_be_bytes(*rest.split_off(..4)?.as_array()?);
                items.push_back(rest.split_off(..usize::try_from(length).ok()?)?.to_vec());
            }
            END => return Some(items),
            _ => return None,
        }
    }
}

/// Milliseconds since 1970. Curator takes none before.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// Now, by the system's clock.
pub(crate) fn now_ms() -> i64 {
    millis(SystemTime::now())
}

/// Waits until the system's clock says this; for ever without it.
pub(crate) async fn until(due_ms: Option<i64>) {
    let Some(due_ms) = due_ms else { return pending().await };
    loop {
        let left_ms = due_ms.saturating_sub(now_ms());
        match u64::try_from(left_ms) {
            Ok(left_ms) if left_ms > 0 => {
                tokio::time::sleep(Duration::from_millis(left_ms).min(CLOCK_PATIENCE)).await;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_and_data_are_curators() {
        assert_eq!(stem(1_700_000_000_000), "queue-|18BCFE56800|");
        assert_eq!(stem(255), "queue-|000000FF|");
        let data = [0, 1, 0, 1, 1, 0, 0, 0, 2, b'h', b'i', 2];
        assert_eq!(pack([b"hi".to_vec()]), data);
        assert_eq!(unpack(&data), Some(VecDeque::from([b"hi".to_vec()])));
    }

    #[test]
    fn several_items_are_read_and_what_is_broken_is_none() {
        let items = [b"a".to_vec(), Vec::new(), b"ccc".to_vec()];
        let bytes = pack(items.clone());
        assert_eq!(unpack(&bytes), Some(VecDeque::from(items)));
        for length in 0..bytes.len() {
            assert_eq!(unpack(&bytes[..length]), None, "cut to {length} bytes");
        }
        assert_eq!(unpack(&[0, 1, 0, 2, 2]), None, "another version");
        assert_eq!(unpack(&[0, 1, 0, 1, 3]), None);
        assert_eq!(unpack(&[0, 1, 0, 1, 1, 0xff, 0xff, 0xff, 0xff, 2]), None);
        assert_eq!(unpack(&pack([])), Some(VecDeque::new()));
    }

    #[test]
    fn what_is_due_first_goes_first_and_what_is_not_due_waits() {
        let all = names(&[
            "queue-|00000020|0000000001",
            // Longer, and later, though not by the order of names.
            "queue-|100000000|0000000000",
            "junk",
            "queue-|00000010|0000000007",
            "queue-|00000010|0000000003",
            "queue-|00000021|0000000002",
        ]);
        let due = names(&[
            "queue-|00000010|0000000003",
            "queue-|00000010|0000000007",
            "queue-|00000020|0000000001",
        ]);
        assert_eq!(by_due_time(all.clone(), 0x20), Ready { names: due, next_ms: Some(0x21) });
        assert_eq!(by_due_time(all.clone(), 15), Ready { names: Vec::new(), next_ms: Some(16) });
        assert_eq!(by_due_time(all, i64::MAX).next_ms, None);
    }

    #[test]
    fn names_without_a_time_are_due_at_once() {
        for name in ["queue-0000000001", "queue-|0000000001", "queue-|xyz|0000000001", "queue-||1"] {
            assert_eq!(by_due_time(names(&[name]), 1), Ready { names: names(&[name]), next_ms: None });
        }
    }

    #[test]
    fn times_that_cannot_be_written_are_moved() {
        assert_eq!(millis(UNIX_EPOCH - Duration::from_secs(9)), 1);
        assert_eq!(millis(UNIX_EPOCH), 1);
        assert_eq!(millis(UNIX_EPOCH + Duration::from_millis(7)), 7);
    }

    #[tokio::test]
    async fn a_time_that_is_over_is_not_waited_for() {
        until(Some(now_ms())).await;
        until(Some(i64::MIN)).await;
        let due = now_ms() + 20;
        until(Some(due)).await;
        assert!(now_ms() >= due);
    }
}
