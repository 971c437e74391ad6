//! A request under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use protocol::client::response::Response;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::namespace::Namespace;
use crate::watch::WatchGuard;

/// A request under way, and the future of its result.
///
/// The request was taken up when the method that returned this was called; awaiting only waits. Dropping it is safe
/// at any time: the request is not taken back, its result is lost, and a watch that it asked for is given up again.
#[must_use = "the request is under way, but nobody will hear its result"]
pub struct Call<T> {
    state: CallState<T>,
}

/// What the result needs besides the answer.
#[derive(Debug)]
pub(crate) struct Extra {
    pub namespace: Namespace,
    /// The watch that the request asks for.
    pub watch: Option<WatchGuard>,
}

/// Makes the result of the answer.
pub(crate) type Finish<T> = fn(Result<Response, Error>, Option<Box<Extra>>) -> Result<T, Error>;

enum CallState<T> {
    /// Not taken up.
    Refused(Option<Error>),
    UnderWay {
        answer: oneshot::Receiver<Result<Response, Error>>,
        finish: Finish<T>,
        extra: Option<Box<Extra>>,
    },
}

impl<T> Call<T> {
    pub(crate) fn refused(error: Error) -> Call<T> {
        Call { state: CallState::Refused(Some(error)) }
    }

    pub(crate) fn under_way(
        answer: oneshot::Receiver<Result<Response, Error>>,
        finish: Finish<T>,
        extra: Option<Box<Extra>>,
    ) -> Call<T> {
        Call { state: CallState::UnderWay { answer, finish, extra } }
    }
}

// Nothing in it is ever pinned.
impl<T> Unpin for Call<T> {}

impl<T> Future for Call<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        match &mut self.state {
            CallState::Refused(error) => {
                Poll::Ready(Err(error.take().expect("a future is not polled after its end")))
            }
            CallState::UnderWay { answer, finish, extra } => {
                // The core answers every request before it goes.
                let answer = ready!(Pin::new(answer).poll(cx)).unwrap_or(Err(Error::Closed));
                Poll::Ready(finish(answer, extra.take()))
            }
        }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            CallState::Refused(_) => "refused",
            CallState::UnderWay { .. } => "under way",
        };
        f.debug_tuple("Call").field(&state).finish()
    }
}
