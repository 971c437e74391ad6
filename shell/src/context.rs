//! What a command works with.

use ferrokeeper_client::Stat;
use jiff::tz::TimeZone;

use crate::options::Parsed;
use crate::output::Output;
use crate::render;
use crate::session::{Clients, Session};

/// What a command works with.
pub struct Context<'s> {
    /// Where results go.
    pub output: &'s Output<'s>,
    /// The session, which is not over.
    pub session: &'s Session,
    /// Where times are to be those of.
    pub zone: &'s TimeZone,
}

impl Context<'_> {
    /// The clients, connected if that is possible.
    pub async fn clients(&self) -> Clients {
        self.session.clients().await
    }

    /// Prints a stat, if text is what is printed.
    pub fn show_stat(&self, stat: &Stat) {
        self.output.text(&render::stat(stat, self.zone));
    }

    /// Prints a stat if `-s` asks for it, likewise: JSON has it anyway.
    pub fn show_stat_if(&self, parsed: &Parsed, stat: &Stat) {
        if parsed.has("s") {
            self.show_stat(stat);
        }
    }
}
