//! Standing in for `java`: whoever starts a ZooKeeper server with it gets the server under test instead.
//!
//! Test harnesses run `java -Dk=v ... org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg`. A folder in
//! front of `PATH` holds a script of that name which calls this program back; it replaces itself by the server,
//! so that the process id and the signals are the server's. Everything else is handed to the real Java.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::server::ServerKind;
use crate::toolbox::{TARGET_VARIABLE, Toolbox, real_java, which};

/// Says which server to start: the text of `--server`.
pub const SERVER_VARIABLE: &str = "INTEROP_SERVER";
/// The file that the servers' output is appended to.
pub const LOG_VARIABLE: &str = "INTEROP_SERVER_LOG";
/// The Java that the shim hides; see [`real_java`].
pub const REAL_JAVA_VARIABLE: &str = "INTEROP_REAL_JAVA";

const MAIN_CLASSES: [&str; 2] =
    ["org.apache.zookeeper.server.quorum.QuorumPeerMain", "org.apache.zookeeper.server.ZooKeeperServerMain"];
/// Options whose value is the next word.
const OPTIONS_WITH_VALUE: [&str; 5] = ["-cp", "-classpath", "--class-path", "-p", "--module-path"];
/// Properties that set up the logging of a JVM.
const LOGGING: [&str; 3] = ["log4j.", "zookeeper.log.", "zookeeper.root.logger"];
/// Properties of the JVM itself, which mean nothing to another server.
const JVM_ONLY: [&str; 4] = ["file.encoding", "java.awt.", "java.net.", "sun."];

/// What somebody wants of `java`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JavaCall {
    /// A ZooKeeper server.
    Server {
        /// Its configuration.
        cfg: PathBuf,
        /// System properties, those for logging left out.
        properties: Vec<(String, String)>,
    },
    /// Something else.
    Other,
}

impl JavaCall {
    /// Understands the words after `java`.
    pub fn parse(words: &[String]) -> JavaCall {
        let mut properties = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if let Some(property) = word.strip_prefix("-D") {
                let (key, value) = property.split_once('=').unwrap_or((property, ""));
                if !LOGGING.iter().any(|start| key.starts_with(start)) {
                    properties.push((key.to_string(), value.to_string()));
                }
            } else if OPTIONS_WITH_VALUE.contains(&word.as_str()) {
                words.next();
            } else if !word.starts_with('-') {
                return match words.next() {
                    Some(cfg) if MAIN_CLASSES.contains(&word.as_str()) => {
                        JavaCall::Server { cfg: cfg.into(), properties }
                    }
                    _ => JavaCall::Other,
                };
            }
        }
        JavaCall::Other
    }
}

/// Makes a folder to be put in front of `PATH`, whose `java` is this program.
pub fn install(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let me = std::env::current_exe().context("own path")?;
    let script = dir.join("java");
    let text = format!("#!/bin/sh\nexec {} java-shim -- \"$@\"\n", quoted(&me.display().to_string()));
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
        .context("make the shim executable")
}

/// Puts the shim into the environment of a program that will call `java`.
pub fn use_in(command: &mut Command, toolbox: &Toolbox, dir: &Path, server: &str, log: &Path) -> Result<()> {
    let mut path = OsString::from(dir);
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let java = which("java").context("there is no java")?;
    command.env(TARGET_VARIABLE, toolbox.target());
    command
        .env("PATH", path)
        .env(SERVER_VARIABLE, server)
        .env(LOG_VARIABLE, log)
        .env(REAL_JAVA_VARIABLE, java);
    Ok(())
}

/// Becomes the server, or the real Java. Comes back only with an error.
pub fn become_java(toolbox: &Toolbox, words: &[String]) -> Result<std::convert::Infallible> {
    let mut command = match JavaCall::parse(words) {
        JavaCall::Server { cfg, properties } => {
            let server = std::env::var(SERVER_VARIABLE).ok();
            let kind = ServerKind::chosen(toolbox, server.as_deref())?;
            let mut command = kind.command(toolbox, &cfg, &for_server(&kind, properties))?;
            if let Some(log) = std::env::var_os(LOG_VARIABLE) {
                let log = File::options().create(true).append(true).open(log)?;
                command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            }
            command
        }
        JavaCall::Other => {
            let mut command = Command::new(real_java());
            command.args(words);
            command
        }
    };
    let error = command.exec();
    Err(error).with_context(|| format!("start {:?}", command.get_program()))
}

fn for_server(kind: &ServerKind, mut properties: Vec<(String, String)>) -> Vec<(String, String)> {
    if matches!(kind, ServerKind::Command(_)) {
        properties.retain(|(key, _)| !JVM_ONLY.iter().any(|start| key.starts_with(start)));
    }
    properties
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> JavaCall {
        JavaCall::parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    fn properties(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_call_of_a_test_harness_is_understood() {
        let call = parse(
            "-cp a.jar:b.jar -Dfile.encoding=UTF-8 -Dreadonlymode.enabled=true -Dzookeeper.log.dir=/tmp \
             -Dzookeeper.root.logger=INFO,CONSOLE -Dlog4j.configuration=file:x -Dzookeeper.a=b=c \
             org.apache.zookeeper.server.quorum.QuorumPeerMain /tmp/zoo.cfg",
        );
        let expected = properties(&[
            ("file.encoding", "UTF-8"),
            ("readonlymode.enabled", "true"),
            ("zookeeper.a", "b=c"),
        ]);
        assert_eq!(call, JavaCall::Server { cfg: "/tmp/zoo.cfg".into(), properties: expected });
    }

    #[test]
    fn a_class_path_that_looks_like_a_main_class_is_no_main_class() {
        assert_eq!(parse("-cp org.apache.zookeeper.server.quorum.QuorumPeerMain -version"), JavaCall::Other);
        assert_eq!(parse("-jar x.jar"), JavaCall::Other);
        assert_eq!(parse("-version"), JavaCall::Other);
    }

    #[test]
    fn what_only_a_jvm_understands_is_kept_from_others() {
        let all =
            properties(&[("file.encoding", "UTF-8"), ("java.awt.headless", "true"), ("zookeeper.a", "b")]);
        let command: ServerKind = "fk server {flags}".parse().unwrap();
        assert_eq!(for_server(&command, all.clone()), properties(&[("zookeeper.a", "b")]));
        assert_eq!(for_server(&"java-3.9".parse().unwrap(), all.clone()), all);
    }

    #[test]
    fn the_script_survives_strange_paths() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
