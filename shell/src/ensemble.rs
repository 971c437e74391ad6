//! Commands on the ensemble: config and reconfig.

use ferrokeeper_client::{Error, Reconfig};
use serde_json::json;

use crate::catalogue::Entry;
use crate::context::Context;
use crate::failure::Failure;
use crate::failure::Outcome;
use crate::json;
use crate::options::Parsed;
use crate::session::keep_once;

const CONFIG: &str = "/zookeeper/config";

/// `config`.
pub async fn config(context: &Context<'_>, parsed: &Parsed) -> Outcome {
    let root = context.clients().await.root;
    let failed = |error: Error| Failure::of(&error, Some(CONFIG));
    let (data, stat) = if parsed.has("w") {
        let (data, stat, watch) = root.get_or_null_and_watch(CONFIG).await.map_err(failed)?;
        keep_once(watch);
        (data, stat)
    } else {
        root.get_or_null(CONFIG).await.map_err(failed)?
    };
    let text = data.map_or_else(|| "null".into(), |data| String::from_utf8_lossy(&data).into_owned());
    let clients = parsed.has("c").then(|| connect_string(&text));
    context.output.document(|| match &clients {
        Some(clients) => json!({ "clients": clients, "stat": json::stat(&stat) }),
        None => json!({ "config": text, "stat": json::stat(&stat) }),
    });
    context.output.text(clients.as_deref().unwrap_or(&text));
    context.show_stat_if(parsed, &stat);
    Ok(())
}

/// The version, and where clients connect to (`ConfigUtils.getClientConfigStr`). Members stand in the order of the text.
fn connect_string(config: &str) -> String {
    let mut version = "";
    let mut clients = Vec::new();
    for (key, value) in config.lines().filter_map(|line| line.split_once('=')) {
        match key.trim() {
            "version" => version = value.trim(),
            key if key.starts_with("server.") => clients.push(client_address(value.trim())),
            _ => {}
        }
    }
    format!("{version} {}", clients.join(","))
}

/// Of a member's line; empty if it names none.
fn client_address(member: &str) -> String {
    match member.split_once(';') {
        None => String::new(),
        Some((_, port)) if !port.contains(':') => format!("0.0.0.0:{port}"),
        Some((_, address)) => address.replace(['[', ']'], ""),
    }
}

/// Where clients reach the members. One that listens everywhere is reached where the other members reach it.
pub fn client_addresses(config: &str) -> Vec<String> {
    let members = config.lines().filter_map(|line| line.split_once('='));
    let members = members.filter(|(key, _)| key.trim().starts_with("server."));
    members.filter_map(|(_, member)| reachable(member.trim())).collect()
}

fn reachable(member: &str) -> Option<String> {
    let (member, client) = member.split_once(';')?;
    let (host, port) = client.rsplit_once(':').unwrap_or(("", client));
    if !matches!(host, "" | "0.0.0.0" | "[::]" | "[0:0:0:0:0:0:0:0]") {
        return Some(format!("{host}:{port}"));
    }
    let host = match member.strip_prefix('[') {
        Some(rest) => format!("[{}]", rest.split(']').next()?),
        None => member.split(':').next()?.to_owned(),
    };
    Some(format!("{host}:{port}"))
}

/// `reconfig`.
pub async fn reconfigure(context: &Context<'_>, entry: &Entry, parsed: &Parsed) -> Outcome {
    let (change, version) = wanted(entry, parsed)?;
    let root = context.clients().await.root;
    // Java's client names no path, and an empty one where zkCli shows it.
    let (data, stat) =
        root.reconfigure(&change, version).await.map_err(|error| Failure::of(&error, Some("")))?;
    let text = String::from_utf8_lossy(&data);
    context.output.result(
        || format!("Committed new configuration:\n{text}"),
        || json!({ "config": text, "stat": json::stat(&stat) }),
    );
    context.show_stat_if(parsed, &stat);
    Ok(())
}

fn wanted(entry: &Entry, parsed: &Parsed) -> Result<(Reconfig, Option<i64>), Failure> {
    let [file, members, add, remove] =
        ["file", "members", "add", "remove"].map(|option| parsed.value(option));
    if [file, members, add, remove].iter().all(Option::is_none) {
        return Err(Failure::new(entry.usage()));
    }
    let version = match parsed.value("v") {
        None => None,
        Some(text) => Some(
            i64::from_str_radix(text, 16)
                .map_err(|_| Failure::new("-v must be followed by a long (configuration version)"))?,
        ),
    };
    if (file.is_some() || members.is_some()) && (add.is_some() || remove.is_some()) {
        return Err(Failure::new(
            "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental modes \
             is not allowed)",
        ));
    }
    let list = |text: Option<&str>| text.map(str::to_lowercase).into_iter().collect::<Vec<_>>();
    let change = match (file, members) {
        (Some(_), Some(_)) => {
            return Err(Failure::new(
                "Can't use -file and -members together (conflicting non-incremental modes)",
            ));
        }
        (Some(file), None) => Reconfig::Members(members_of_file(file)?),
        (None, Some(_)) => Reconfig::Members(list(members)),
        (None, None) => Reconfig::Incremental { joining: list(add), leaving: list(remove) },
    };
    Ok((change, version))
}

/// The lines of a dynamic configuration file that say who the members are. Unlike zkCli's, one participant may have
/// observers: whether the servers have `standaloneEnabled` is not for a shell to guess.
fn members_of_file(file: &str) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "Permission denied".to_owned(),
            _ => error.to_string(),
        };
        // The name stands there twice, as in zkCli.
        Failure::new(format!("Error processing {file}{file} ({reason})"))
    })?;
    let lines = text.lines().map(str::trim);
    let members =
        lines.filter(|line| ["server.", "group.", "weight."].iter().any(|key| line.starts_with(key)));
    let members: Vec<String> = members.map(str::to_owned).collect();
    match members.is_empty() {
        true => Err(Failure::new(format!("Error processing {file}: it names no server"))),
        false => Ok(members),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::find;
    use crate::line::words;
    use crate::options::parse;

    fn wants(line: &str) -> Result<(Reconfig, Option<i64>), String> {
        let entry = find("reconfig").unwrap();
        wanted(entry, &parse(entry.flags, entry.choice, &words(line)).unwrap())
            .map_err(|failure| failure.message)
    }

    #[test]
    fn a_configuration_tells_clients_where_to_connect() {
        let config = "server.1=a:2888:3888:participant;10.0.0.1:2181\nserver.2=b:2888:3888;2182\n\
                      server.3=c:1:2:observer\nversion=100000000";
        assert_eq!(connect_string(config), "100000000 10.0.0.1:2181,0.0.0.0:2182,");
        assert_eq!(connect_string(""), " ");
    }

    #[test]
    fn members_that_listen_everywhere_are_reached_where_the_others_reach_them() {
        let config = "server.1=a:2888:3888:participant;10.0.0.1:2181\nserver.2=b:2888:3888;2182\n\
                      server.3=[fe80::1]:1:2:observer;0.0.0.0:5\nserver.4=c:1:2\nversion=0";
        assert_eq!(client_addresses(config), ["10.0.0.1:2181", "b:2182", "[fe80::1]:5"]);
    }

    #[test]
    fn changes_are_incremental_or_whole() {
        assert_eq!(
            wants("reconfig -v 1f -add server.1=A:1:2;3 -remove 2,3"),
            Ok((
                Reconfig::Incremental {
                    joining: vec!["server.1=a:1:2;3".into()],
                    leaving: vec!["2,3".into()]
                },
                Some(31)
            ))
        );
        assert_eq!(wants("reconfig -members x"), Ok((Reconfig::Members(vec!["x".into()]), None)));
        for (line, begin) in [
            ("reconfig", "reconfig [-s] [-v version] [[-file path]"),
            ("reconfig -s", "reconfig [-s] [-v version] [[-file path]"),
            ("reconfig -add x -members y", "Can't use -file or -members together with"),
            ("reconfig -file x -members y", "Can't use -file and -members together"),
            ("reconfig -v z -add x", "-v must be followed by a long"),
            ("reconfig -file /nonexistent", "Error processing /nonexistent/nonexistent (No such file"),
        ] {
            let told = wants(line).unwrap_err();
            assert!(told.starts_with(begin), "{line}: {told}");
        }
    }
}
