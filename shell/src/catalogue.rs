//! The commands: their options and what the shell says about them.

use std::fmt::Write as _;

use crate::options::{Choice, Flag, switch, valued};
use crate::own_commands::OWN;

/// A command of the shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    AddAuth,
    AddWatch,
    Close,
    Config,
    Connect,
    Copy,
    Create,
    Delete,
    DeleteAll,
    DelQuota,
    DiskUsage,
    Export,
    Find,
    Get,
    GetAcl,
    GetAllChildrenNumber,
    GetEphemerals,
    Grep,
    History,
    Import,
    ListQuota,
    Ls,
    Move,
    PrintWatches,
    Quit,
    Reconfig,
    Redo,
    RemoveWatches,
    Set,
    SetAcl,
    SetQuota,
    Stat,
    Sync,
    Top,
    Transaction,
    Tree,
    Version,
    Watch,
    WhoAmI,
}

/// What belongs to a command.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which.
    pub command: Command,
    /// As it is typed.
    pub name: &'static str,
    /// What follows.
    pub synopsis: &'static str,
    /// Its options.
    pub flags: &'static [Flag],
    /// How many of them.
    pub choice: Choice,
    /// Whether the usage text lists the options; zkCli does so for some.
    explains: bool,
}

const fn entry(
    command: Command,
    name: &'static str,
    synopsis: &'static str,
    flags: &'static [Flag],
) -> Entry {
    Entry { command, name, synopsis, flags, choice: Choice::Free, explains: false }
}

/// A command that zkCli does not have.
pub const fn own(
    command: Command,
    name: &'static str,
    synopsis: &'static str,
    flags: &'static [Flag],
) -> Entry {
    Entry { command, name, synopsis, flags, choice: Choice::Free, explains: true }
}

const QUOTAS: &[Flag] = &[
    switch("n", "num soft quota"),
    switch("b", "bytes soft quota"),
    switch("N", "num hard quota"),
    switch("B", "bytes hard quota"),
];
const QUOTA_VALUES: &[Flag] = &[
    valued("n", "num soft quota"),
    valued("b", "bytes soft quota"),
    valued("N", "num hard quota"),
    valued("B", "bytes hard quota"),
];
const GET: &[Flag] = &[
    switch("b", "Output data in base64 format"),
    switch("s", "Print znode stats additionally"),
    switch("w", "Watch for changes on the znode"),
    switch("x", "Output data in hexdump format"),
];
const SET: &[Flag] = &[
    switch("b", "Supply data in base64 format"),
    switch("s", "Print znode stats additionally"),
    valued("v", "Set with an expected version"),
];
const LS: &[Flag] = &[switch("?", "help"), switch("R", "recurse"), switch("s", "stat"), switch("w", "watch")];
const CREATE: &[Flag] =
    &[switch("e", "ephemeral"), switch("s", "sequential"), switch("c", "container"), valued("t", "ttl")];
const RECONFIG: &[Flag] = &[
    switch("s", "stats"),
    valued("v", "required current config version"),
    valued("file", "path of config file to parse for membership"),
    valued("members", "comma-separated list of config strings for non-incremental reconfig"),
    valued("add", "comma-separated list of config strings for new servers"),
    valued("remove", "comma-separated list of server IDs to remove"),
];
const REMOVE_WATCHES: &[Flag] = &[
    switch("c", "child watcher type"),
    switch("d", "data watcher type"),
    switch("p", "persistent watcher type"),
    switch("r", "persistent recursive watcher type"),
    switch("a", "any watcher type"),
    switch("l", "remove locally when there is no server connection"),
];
const SET_ACL: &[Flag] = &[switch("s", "stats"), valued("v", "version"), switch("R", "recursive")];
const CONFIG: &[Flag] =
    &[switch("s", "stats"), switch("w", "watch"), switch("c", "client connection string")];

/// zkCli's commands, sorted as it lists them.
pub const CATALOGUE: &[Entry] = &[
    entry(
        Command::AddWatch,
        "addWatch",
        "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is \
         PERSISTENT_RECURSIVE",
        &[valued("m", "")],
    ),
    entry(Command::AddAuth, "addauth", "scheme auth", &[]),
    entry(Command::Close, "close", "", &[]),
    entry(Command::Config, "config", "[-c] [-w] [-s]", CONFIG),
    entry(Command::Connect, "connect", "host:port", &[]),
    entry(Command::Create, "create", "[-s] [-e] [-c] [-t ttl] path [data] [acl]", CREATE),
    entry(Command::Delete, "delete", "[-v version] path", &[valued("v", "version")]),
    entry(Command::DeleteAll, "deleteall", "path [-b batch size]", &[valued("b", "batch size")]),
    Entry { choice: Choice::AtMostOne, ..entry(Command::DelQuota, "delquota", "[-n|-b|-N|-B] path", QUOTAS) },
    Entry { explains: true, ..entry(Command::Get, "get", "[-s] [-w] [-b] [-x] path", GET) },
    entry(Command::GetAcl, "getAcl", "[-s] path", &[switch("s", "stats")]),
    entry(Command::GetAllChildrenNumber, "getAllChildrenNumber", "path", &[]),
    entry(Command::GetEphemerals, "getEphemerals", "path", &[]),
    entry(Command::History, "history", "", &[]),
    entry(Command::ListQuota, "listquota", "path", &[]),
    entry(Command::Ls, "ls", "[-s] [-w] [-R] path", LS),
    entry(Command::PrintWatches, "printwatches", "on|off", &[]),
    entry(Command::Quit, "quit", "", &[]),
    entry(
        Command::Reconfig,
        "reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
         [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        RECONFIG,
    ),
    entry(Command::Redo, "redo", "cmdno", &[]),
    entry(Command::RemoveWatches, "removewatches", "path [-c|-d|-a] [-l]", REMOVE_WATCHES),
    Entry { explains: true, ..entry(Command::Set, "set", "path data [-s] [-v version] [-b]", SET) },
    entry(Command::SetAcl, "setAcl", "[-s] [-v version] [-R] path acl", SET_ACL),
    Entry {
        choice: Choice::One,
        ..entry(Command::SetQuota, "setquota", "-n|-b|-N|-B val path", QUOTA_VALUES)
    },
    entry(Command::Stat, "stat", "[-w] path", &[switch("w", "watch")]),
    entry(Command::Sync, "sync", "path", &[]),
    entry(Command::Version, "version", "", &[]),
    entry(Command::WhoAmI, "whoami", "", &[]),
];

/// Older names of commands, with what zkCli said about them while it had them.
pub const OLD_NAMES: &[(&str, &str, &str)] = &[
    ("ls2", "ls", "'ls2' has been deprecated. Please use 'ls [-s] path' instead."),
    ("rmr", "deleteall", "The command 'rmr' has been deprecated. Please use 'deleteall' instead."),
];

/// The command of that name. Names are case-sensitive.
pub fn find(name: &str) -> Option<&'static Entry> {
    // Newer zkCli's second word for it.
    let name = if name == "exit" { "quit" } else { name };
    all().find(|entry| entry.name == name)
}

/// All commands.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    CATALOGUE.iter().chain(OWN)
}

impl Entry {
    /// How the command is used (`CliCommand.getUsageStr`).
    pub fn usage(&self) -> String {
        let mut text = format!("{} {}", self.name, self.synopsis);
        if self.explains {
            let options = explain(self.flags);
            // The line break at the end is zkCli's.
            let options =
                if OWN.iter().any(|own| own.name == self.name) { options.trim_end() } else { &options };
            if !options.is_empty() {
                let _ = write!(text, "\n{options}");
            }
        }
        text
    }
}

/// The options with their meanings, one a line.
pub fn explain(flags: &[Flag]) -> String {
    let heads: Vec<String> = flags
        .iter()
        .map(|flag| format!(" -{}{}", flag.name, if flag.takes_value { " <arg>" } else { "" }))
        .collect();
    let width = heads.iter().map(String::len).max().unwrap_or(0);
    let lines = heads.iter().zip(flags).map(|(head, flag)| format!("{head:<width$}   {}\n", flag.help));
    lines.collect()
}

/// What the shell says when it does not know a command.
pub fn usage() -> String {
    let mut text = String::from("ZooKeeper -server host:port -client-configuration properties-file cmd args");
    for entry in all() {
        let _ = write!(text, "\n\t{} {}", entry.name, entry.synopsis);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_as_java_sorts() {
        assert!(CATALOGUE.is_sorted_by_key(|entry| entry.name));
    }

    #[test]
    fn usage_lists_options_where_zkcli_does() {
        let usage = |name| find(name).unwrap().usage();
        assert_eq!(
            usage("set"),
            "set path data [-s] [-v version] [-b]\n -b         Supply data in base64 format\n \
             -s         Print znode stats additionally\n -v <arg>   Set with an expected version\n"
        );
        assert_eq!(
            usage("get"),
            "get [-s] [-w] [-b] [-x] path\n -b   Output data in base64 format\n \
             -s   Print znode stats additionally\n -w   Watch for changes on the znode\n \
             -x   Output data in hexdump format\n"
        );
        assert_eq!(usage("ls"), "ls [-s] [-w] [-R] path");
        assert_eq!(usage("version"), "version ");
    }

    #[test]
    fn the_whole_usage_is_zkclis_and_then_ours() {
        let usage = usage();
        assert!(usage.starts_with(
            "ZooKeeper -server host:port -client-configuration properties-file cmd args\n\taddWatch [-m mode] path #"
        ));
        assert!(usage.contains("\n\tsync path\n\tversion \n\twhoami \n\tcp [-r]"), "{usage}");
    }
}
