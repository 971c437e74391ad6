//! The four-letter words: text for operators over the client port (`FourLetterCommands` and its package).
//!
//! The first four bytes of a connection may be a word instead of the length of a frame. What it asks for is
//! printed, then the connection closes. Nobody has to authenticate, so only the words that the operator has listed
//! in `4lw.commands.whitelist` are answered, and `srvr`.
//!
//! One file per subject: `server_lines` srvr and stat, `connections` cons and dump, `watches` wchs, wchp
//! and wchc, `configuration` conf and dirs, `environment` envi, `monitor` mntr.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use ::tree::Tree;
use replica::status::ServerRole;

use crate::context::ServerContext;

mod configuration;
mod connections;
mod date;
mod environment;
mod monitor;
mod process;
mod server_lines;
#[cfg(test)]
mod tests;
mod text;
mod watches;

use text::Text;

/// Bytes of one answer. `cons` prints 200 bytes per connection and `wchp` 20 per watch, so a hundred thousand of
/// each fit; a longer answer is cut and says so.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Bytes of the trace mask that follow `stmk`.
const TRACE_MASK_BYTES: usize = 8;

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// What may be asked.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Word {
            $($(#[doc = $doc])+ $name,)+
            /// `FF F4 FF FD`: a telnet client interrupts. Nothing is printed.
            TelnetBreak,
        }

        impl Word {
            /// The word in the first four bytes of a connection, if it is one. Case matters.
            pub fn from_bytes(bytes: [u8; 4]) -> Option<Word> {
                const TELNET_BREAK: [u8; 4] = [0xff, 0xf4, 0xff, 0xfd];
                $(if bytes == *$text { return Some(Word::$name); })+
                (bytes == TELNET_BREAK).then_some(Word::TelnetBreak)
            }

            /// The word as it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Word::$name => str::from_utf8($text).unwrap_or_default(),)+
                    Word::TelnetBreak => "telnet close",
                }
            }
        }
    };
}

words! {
    /// The configuration.
    Conf = b"conf",
    /// The connections.
    Cons = b"cons",
    /// Resets the counts of the connections.
    Crst = b"crst",
    /// The size of snapshots and log.
    Dirs = b"dirs",
    /// Sessions, their ephemeral nodes, and connections, by when they expire.
    Dump = b"dump",
    /// The machine and the process.
    Envi = b"envi",
    /// The trace mask.
    Gtmk = b"gtmk",
    /// Whether somebody is there.
    Ruok = b"ruok",
    /// Sets the trace mask.
    Stmk = b"stmk",
    /// Resets the counts of the server.
    Srst = b"srst",
    /// The server.
    Srvr = b"srvr",
    /// The server and its connections.
    Stat = b"stat",
    /// The watches by session.
    Wchc = b"wchc",
    /// The watches by path.
    Wchp = b"wchp",
    /// The number of watches.
    Wchs = b"wchs",
    /// Every metric.
    Mntr = b"mntr",
    /// Whether the server is read-only.
    Isro = b"isro",
    /// The digests of the tree.
    Hash = b"hash",
}

impl Word {
    /// Whether eight bytes with a trace mask follow. Whatever follows other words is ignored.
    pub fn wants_argument(self) -> bool {
        self == Word::Stmk
    }
}

/// Answers a word. `argument` is what stands behind it; `stmk` needs eight bytes of it.
///
/// The caller holds the lock that `tree` comes from, shared; here only the locks of watches, sessions and
/// connections are taken, one at a time. The answer is bounded by 32 MiB.
pub fn answer(word: Word, argument: &[u8], server: &ServerContext, tree: &Tree) -> String {
    let mut text = Text::new(ANSWER_BYTES_MAX);
    let written = write_answer(&mut text, word, argument, server, tree);
    text.finish(written)
}

fn write_answer(
    out: &mut Text,
    word: Word,
    argument: &[u8],
    server: &ServerContext,
    tree: &Tree,
) -> fmt::Result {
    if word == Word::TelnetBreak {
        return Ok(());
    }
    if !server.settings.four_letter_words.allows(word.as_str()) {
        return writeln!(out, "{} is not executed because it is not in the whitelist.", word.as_str());
    }
    let serving = !server.stopping.load(Relaxed) && server.shared.status.role() != ServerRole::Looking;
    match word {
        Word::TelnetBreak => Ok(()),
        Word::Ruok => out.write_str("imok"),
        Word::Gtmk => write!(out, "{}", server.trace_mask.load(Relaxed)),
        Word::Stmk => match argument.first_chunk::<TRACE_MASK_BYTES>() {
            Some(bytes) => {
                let mask = i64::from_be_bytes(*bytes);
                server.trace_mask.store(mask, Relaxed);
                write!(out, "{mask}")
            }
            None => Ok(()),
        },
        Word::Envi => environment::write_envi(out),
        Word::Isro => out.write_str(match server.shared.status.role() {
            _ if !serving => "null",
            ServerRole::ReadOnly => "ro",
            _ => "rw",
        }),
        Word::Hash if !serving => out.write_str(NOT_SERVING),
        _ if !serving => writeln!(out, "{NOT_SERVING}"),
        Word::Hash => tree.digest_history().try_for_each(|(zxid, digest)| {
            // Java keeps the digest in a signed long.
            writeln!(out, "{:x}: {}", zxid.to_wire(), digest as i64)
        }),
        Word::Srvr => server_lines::write_srvr(out, server, tree),
        Word::Stat => server_lines::write_stat(out, server, tree),
        Word::Srst => {
            server.stats.reset();
            writeln!(out, "Server stats reset.")
        }
        Word::Cons => connections::write_cons(out, server),
        Word::Crst => {
            server.registry.links().iter().for_each(|link| link.counts.reset());
            writeln!(out, "Connection stats reset.")
        }
        Word::Dump => connections::write_dump(out, server, tree),
        Word::Wchs => watches::write_wchs(out, server),
        Word::Wchp => watches::write_wchp(out, server),
        Word::Wchc => watches::write_wchc(out, server),
        Word::Conf => configuration::write_conf(out, server),
        Word::Dirs => configuration::write_dirs(out, server),
        Word::Mntr => monitor::write_mntr(out, server, tree),
    }
}

/// An address as `InetAddress.getHostAddress` prints it: IPv6 in full, IPv4 in IPv6 as IPv4.
pub fn java_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:x}")).join(":"),
    }
}

/// An address and a port as `InetSocketAddress.toString` prints them.
fn java_socket_address(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => format!("/{}:{port}", java_address(ip)),
        ip @ IpAddr::V6(_) => format!("/[{}]:{port}", java_address(ip)),
    }
}
