//! Waiting for something to become true, never longer than a limit and never by sleeping blindly.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The pause between two looks. Short, because most of what we wait for takes milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `probe` again and again until it yields a value. Fails when `limit` is over or `probe` itself fails;
/// `what` names the thing waited for in the error.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            bail!("waited {} ms in vain for {what}", limit.as_millis());
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_the_wait() {
        let mut looks = 0;
        let value = wait_for("the third look", Duration::from_secs(10), || {
            looks += 1;
            Ok((looks == 3).then_some("seen"))
        });
        assert_eq!(value.unwrap(), "seen");
        assert_eq!(looks, 3);
    }

    #[test]
    fn the_limit_is_an_error_that_names_the_thing() {
        let error = wait_for::<()>("a miracle", Duration::ZERO, || Ok(None)).unwrap_err();
        assert!(error.to_string().contains("a miracle"));
    }
}
