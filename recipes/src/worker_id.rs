//! Small numbers that are held.

use std::collections::HashSet;

use ferrokeeper_client::{Client, Error, ErrorCode, child_path};

use crate::claimed::Claimed;
use crate::error::RecipeError;
use crate::guard::{Lost, lost};
use crate::requests::{children, create_containers, guid};

/// A small number that one holder has at a time, for example the part of a snowflake id that tells the machines apart.
/// It is held until [`WorkerId::release`], or until this is dropped: then a task in the background gives it back.
///
/// **Guarantees.** No two hold the same number of one path at the same time, as far as their sessions live. It is the
/// smallest one that was free when it was claimed.
///
/// **Lost connections** are waited out. **A lost session gives it back, too**, and the holder may be the last one to learn
/// of it: end what uses it with [`WorkerId::lost`]. The next holder may come at once: ids made of it and the time stay
/// unique only if its clock is not behind that of the one before.
///
/// **Layout.** `<path>/<number>`, ephemeral, in decimal digits, with random data that tell its holder.
#[derive(Debug)]
#[must_use = "dropping it gives the number back"]
pub struct WorkerId {
    node: Claimed,
    number: u32,
}

impl WorkerId {
    /// Claims the smallest number below a limit that nobody holds; `None` if all are held. The path is created when it is
    /// needed, and goes when nobody has used it for a while.
    ///
    /// Cancel-safe: dropping the future gives back what it may have claimed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn claim(client: &Client, path: &str, limit: u32) -> Result<Option<WorkerId>, RecipeError> {
        loop {
            let Some(number) = smallest_free(&children(client, path).await?, limit) else {
                return Ok(None);
            };
            let node = child_path(path, &number.to_string());
            // Nobody else, not even another holder of this session, has these data.
            match Claimed::claim(client, &node, guid().as_bytes()).await {
                Ok(Some(node)) => return Ok(Some(WorkerId { node, number })),
                // Somebody was faster; so somebody gets on.
                Ok(None) => {}
                Err(Error::Refused(ErrorCode::NoNode)) => create_containers(client, path).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Waits until the number is lost, or can no longer be relied upon. Cancel-safe: called again it says so again, as
    /// long as it is so.
    pub async fn lost(&self) -> Lost {
        lost(self.node.client(), self.node.path(), self.node.czxid()).await
    }

    /// Gives the number back and waits until that is done. When it fails although the session lives, or the future is
    /// dropped, it goes on in the background.
    pub async fn release(self) -> Result<(), Error> {
        self.node.delete().await
    }
}

fn smallest_free(names: &[String], limit: u32) -> Option<u32> {
    let held: HashSet<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
    (0..limit).find(|number| !held.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_number_that_nobody_holds_is_free() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(smallest_free(&[], 3), Some(0));
        assert_eq!(smallest_free(&names(&["2", "0", "junk", "-1"]), 3), Some(1));
        assert_eq!(smallest_free(&names(&["0", "1", "2", "7"]), 3), None);
        assert_eq!(smallest_free(&[], 0), None);
    }
}
