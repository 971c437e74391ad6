//! Bugs that the simulator's own shell can be given, to prove that the checkers find them. The product's code knows
//! nothing of this.

/// A way for the shell to misbehave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Bug {
    /// Answers leave before the log is synced.
    AckBeforeSync,
    /// Syncing a folder does nothing.
    SkipDirSync,
    /// A failed append or sync is passed over.
    IgnoreLogErrors,
    /// A snapshot shows the tree as it is when it is written, not as it was when it was started.
    NoPreserve,
    /// Mail from the core is taken in only after reads have been answered.
    MailAfterRead,
    /// Reads are answered at once although a write of their session is under way.
    ReadsOvertakeWrites,
    /// A connection that has proved who it is goes on before the core knows.
    LateIdentities,
    /// Hearing from a client is not noted.
    Deaf,
    /// Now and then a delivery is lost on its way.
    LoseMail,
}
