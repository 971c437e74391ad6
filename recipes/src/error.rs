//! What can go wrong.

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// A request failed. Lost connections are not among the reasons: the recipes go on after them.
    #[error(transparent)]
    Client(#[from] ferrokeeper_client::Error),
    /// Somebody else has deleted the node that this contender stood in line with, or held something with.
    #[error("somebody else has deleted this contender's node")]
    Evicted,
    /// More than 2^31 nodes were created below the recipe's node, and the server has no numbers left that tell who
    /// came first. Delete the recipe's node while nobody uses it.
    #[error("the numbers of the nodes below {0} are used up")]
    NumbersUsedUp(String),
    /// The connection was lost, and the nodes do not tell whether the change was made.
    #[error("the answer was lost, and the change was made or not")]
    Unknown,
    /// The connection was lost while an entry was taken out of a queue, and by now it is gone: either this consumer has
    /// taken it, or another one. This is its data.
    #[error("the answer was lost, and an entry was taken by this consumer or by another one")]
    PerhapsTaken(Vec<u8>),
    /// What a counter's node holds is no number in the counter's encoding.
    #[error("{0} holds no number of this encoding")]
    NotANumber(String),
    /// A counter's number would be too large or too small for its encoding.
    #[error("the number is out of range")]
    Overflow,
    /// Somebody has deleted the node of a generator of ids, or set its number back: it would give numbers a second time.
    #[error("the numbers of {0} were set back")]
    SetBack(String),
    /// There are more nodes than a cache was told to hold.
    #[error("there are more than {0} nodes")]
    TooManyNodes(usize),
    /// An instance of a service that cannot be registered so.
    #[error("the instance cannot be registered: {0}")]
    InvalidInstance(&'static str),
}
