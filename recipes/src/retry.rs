//! Trying again.

use std::time::Duration;

use ferrokeeper_client::{Advice, Error};
use tokio::time::Instant;

use crate::error::RecipeError;

/// How often, for how long and after which pauses something is tried again.
///
/// It covers Curator's policies: `RetryOneTime` is `every(pause).times(1)`, `RetryNTimes` `every(pause).times(n)`,
/// `RetryForever` `every(pause)`, `RetryUntilElapsed` `every(pause).within(time)`, `ExponentialBackoffRetry` and its bounded
/// form `exponential(base, most).times(n)`.
///
/// What may be tried again is decided by what has failed, see [`Retry::run`] and [`Retry::run_repeatable`]. Recipes wait
/// lost connections out by themselves; this is for what the client's own methods say of one
/// ([`Error::ConnectionLost`]), for servers that do not answer in time or refuse for now.
///
/// ```no_run
/// # async fn example(client: ferrokeeper_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let retry = ferrokeeper_recipes::Retry::exponential(Duration::from_millis(50), Duration::from_secs(5)).times(10);
/// let (data, _) = retry.run(|| client.get("/config")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    pause: Pause,
    times_max: Option<u32>,
    elapsed_max: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pause {
    Always(Duration),
    /// A random one, below a bound that doubles each time.
    Growing {
        base: Duration,
        most: Duration,
    },
}

/// A failure that says whether what has failed may have happened nevertheless: the client's [`Error`] and
/// [`RecipeError`].
pub trait Failure: sealed::Sealed {}

impl Failure for Error {}
impl Failure for RecipeError {}

mod sealed {
    use super::{Advice, Error, RecipeError};

    pub trait Sealed {
        /// Nothing has happened, and the same may succeed later.
        fn is_passing(&self) -> bool;
        /// It may have happened: nobody knows.
        fn is_in_doubt(&self) -> bool;
    }

    impl Sealed for Error {
        fn is_passing(&self) -> bool {
            self.advice() == Advice::Retry
        }

        fn is_in_doubt(&self) -> bool {
            self.may_have_happened()
        }
    }

    impl Sealed for RecipeError {
        fn is_passing(&self) -> bool {
            matches!(self, RecipeError::Client(error) if error.is_passing())
        }

        fn is_in_doubt(&self) -> bool {
            match self {
                RecipeError::Client(error) => error.is_in_doubt(),
                RecipeError::Unknown => true,
                _ => false,
            }
        }
    }
}

impl Retry {
    /// For ever, after equal pauses.
    pub const fn every(pause: Duration) -> Retry {
        Retry { pause: Pause::Always(pause), times_max: None, elapsed_max: None }
    }

    /// For ever, after pauses that are random, so that many who have failed together do not come back together: from `base`
    /// to a bound that doubles each time, first to twice the base, and no longer than `most`.
    pub const fn exponential(base: Duration, most: Duration) -> Retry {
        Retry { pause: Pause::Growing { base, most }, times_max: None, elapsed_max: None }
    }

    /// No more than so many times, beside the first one.
    pub const fn times(self, times: u32) -> Retry {
        Retry { times_max: Some(times), ..self }
    }

    /// Not when this has gone by since the beginning, or would have after the pause. What is under way by then is not cut
    /// short: the client's time for one operation does that.
    pub const fn within(self, time: Duration) -> Retry {
        Retry { elapsed_max: Some(time), ..self }
    }

    /// Calls an operation until it succeeds, or is not to be tried again: then its last failure. It is called again only
    /// when nothing has happened and the same may succeed later ([`Advice::Retry`]): never when it may have happened.
    ///
    /// Cancel-safe if the operation is.
    pub async fn run<T, E, Attempt>(&self, operation: impl FnMut() -> Attempt) -> Result<T, E>
    where
        E: Failure,
        Attempt: Future<Output = Result<T, E>>,
    {
        self.run_while(operation, E::is_passing).await
    }

    /// Likewise, also when it may have happened: for operations that may happen twice, such as reading, or setting without
    /// a version. [`RecipeError::PerhapsTaken`] is always handed on, with the entry in it.
    pub async fn run_repeatable<T, E, Attempt>(&self, operation: impl FnMut() -> Attempt) -> Result<T, E>
    where
        E: Failure,
        Attempt: Future<Output = Result<T, E>>,
    {
        self.run_while(operation, |error: &E| error.is_passing() || error.is_in_doubt()).await
    }

    async fn run_while<T, E, Attempt>(
        &self,
        mut operation: impl FnMut() -> Attempt,
        may_repeat: impl Fn(&E) -> bool,
    ) -> Result<T, E>
    where
        Attempt: Future<Output = Result<T, E>>,
    {
        let start = Instant::now();
        let mut retries = 0;
        loop {
            let error = match operation().await {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            let random = getrandom::u64().expect("the operating system has random numbers");
            match self.pause(retries, start.elapsed(), random) {
                Some(pause) if may_repeat(&error) => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
            retries = retries.saturating_add(1);
        }
    }

    /// The pause after so many retries and so much time; `None` if it is enough.
    fn pause(&self, retries: u32, elapsed: Duration, random: u64) -> Option<Duration> {
        let pause = match self.pause {
            Pause::Always(pause) => pause,
            Pause::Growing { base, most } => {
                let base = base.min(most);
                let bound = base.saturating_mul(2_u32.saturating_pow(retries.saturating_add(1))).min(most);
                base + scaled(bound - base, random)
            }
        };
        let is_enough = self.times_max.is_some_and(|most| retries >= most)
            || self.elapsed_max.is_some_and(|most| elapsed.saturating_add(pause) > most);
        (!is_enough).then_some(pause)
    }
}

/// A part of some time, the whole for the largest number.
fn scaled(time: Duration, random: u64) -> Duration {
    let nanos = time.as_nanos().saturating_mul(u128::from(random)) >> u64::BITS;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ferrokeeper_client::{ErrorCode, Fate};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LOST: Error = Error::ConnectionLost(Fate::NotApplied);
    const IN_DOUBT: Error = Error::ConnectionLost(Fate::MaybeApplied);

    /// Runs something that fails so often, and says what has come of it, how often it was called, and how long that took.
    async fn run<E: Failure + Clone>(
        retry: Retry,
        error: E,
        failures: u32,
        is_repeatable: bool,
    ) -> (Result<(), E>, u32, Duration) {
        let start = Instant::now();
        let calls = Cell::new(0);
        let attempt = || {
            calls.set(calls.get() + 1);
            std::future::ready(if calls.get() > failures { Ok(()) } else { Err(error.clone()) })
        };
        let result = match is_repeatable {
            true => retry.run_repeatable(attempt).await,
            false => retry.run(attempt).await,
        };
        (result, calls.get(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_until_it_succeeds_or_is_enough() {
        let every = Retry::every(SECOND);
        assert_eq!(run(every, LOST, 100, false).await, (Ok(()), 101, 100 * SECOND));
        assert_eq!(run(every.times(3), LOST, 3, false).await, (Ok(()), 4, 3 * SECOND));
        assert_eq!(run(every.times(3), LOST, 4, false).await, (Err(LOST), 4, 3 * SECOND));
        assert_eq!(run(every.times(0), LOST, 1, false).await, (Err(LOST), 1, Duration::ZERO));
        assert_eq!(run(every.within(5 * SECOND), LOST, 9, false).await, (Err(LOST), 6, 5 * SECOND));
        assert_eq!(run(every.times(2).within(5 * SECOND), LOST, 9, false).await.1, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_be_repeated_is_repeated() {
        let retry = Retry::every(SECOND).times(5);
        let calls = async |error: Error, is_repeatable| run(retry, error, 2, is_repeatable).await.1;
        for passing in [LOST, Error::LineFull, Error::Refused(ErrorCode::ThrottledOp)] {
            assert_eq!(calls(passing.clone(), false).await, 3, "{passing}");
            assert_eq!(calls(passing.clone(), true).await, 3, "{passing}");
        }
        for doubtful in [IN_DOUBT, Error::TimedOut(Fate::MaybeApplied)] {
            assert_eq!(calls(doubtful.clone(), false).await, 1, "{doubtful}");
            assert_eq!(calls(doubtful.clone(), true).await, 3, "{doubtful}");
        }
        // Another look may help with the first one, but the same request does not.
        for hopeless in [Error::Refused(ErrorCode::BadVersion), Error::SessionExpired, Error::Closed] {
            assert_eq!(calls(hopeless.clone(), true).await, 1, "{hopeless}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_recipes_count_by_what_they_say() {
        let retry = Retry::every(SECOND).times(5);
        let calls = async |error: RecipeError, is_repeatable| run(retry, error, 2, is_repeatable).await.1;
        assert_eq!(calls(LOST.into(), false).await, 3);
        assert_eq!(calls(IN_DOUBT.into(), false).await, 1);
        assert_eq!(calls(RecipeError::Unknown, false).await, 1);
        assert_eq!(calls(RecipeError::Unknown, true).await, 3);
        for hopeless in [RecipeError::PerhapsTaken(Vec::new()), RecipeError::Evicted, RecipeError::Overflow] {
            assert_eq!(calls(hopeless.clone(), true).await, 1, "{hopeless}");
        }
    }

    #[test]
    fn random_pauses_lie_between_the_base_and_a_bound_that_doubles_up_to_the_most() {
        let retry = Retry::exponential(SECOND, 10 * SECOND);
        let longest = |retries| retry.pause(retries, Duration::ZERO, u64::MAX).unwrap().as_secs_f64();
        let expected = [2.0, 4.0, 8.0, 10.0, 10.0];
        for (retries, bound) in (0..).zip(expected) {
            assert!((longest(retries) - bound).abs() < 0.001, "{} for {bound}", longest(retries));
            assert_eq!(retry.pause(retries, Duration::ZERO, 0), Some(SECOND));
        }
        assert_eq!(retry.pause(1, Duration::ZERO, 1 << 63), Some(SECOND * 5 / 2));
        assert!((longest(u32::MAX) - 10.0).abs() < 0.001, "no overflow");
        let short = Retry::exponential(SECOND, SECOND / 2);
        assert_eq!(short.pause(7, Duration::ZERO, 12345), Some(SECOND / 2));
    }

    #[test]
    fn a_pause_that_would_end_too_late_is_not_made() {
        let retry = Retry::every(SECOND).within(5 * SECOND);
        assert_eq!(retry.pause(0, 4 * SECOND, 0), Some(SECOND));
        assert_eq!(retry.pause(0, 4 * SECOND + Duration::from_nanos(1), 0), None);
        assert_eq!(retry.pause(0, Duration::MAX, 0), None);
    }
}
