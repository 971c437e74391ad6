//! What can go wrong.

/// Why there is no lock or no leadership.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// A request failed. Lost connections are not among the reasons: the recipes go on after them.
    #[error(transparent)]
    Client(#[from] ferrokeeper_client::Error),
    /// Somebody else has deleted the node that this contender stood in line with.
    #[error("somebody else has deleted this contender's node")]
    Evicted,
    /// More than 2^31 nodes were created below the recipe's node, and the server has no numbers left that tell who
    /// came first. Delete the recipe's node while nobody uses it.
    #[error("the numbers of the nodes below {0} are used up")]
    NumbersUsedUp(String),
}
