//! `envi` (`Environment.list`).

use std::env;
use std::fmt::{self, Display, Write};

use super::process;
use super::text::Text;
use crate::version::FULL_VERSION;

/// What Java prints for a property that is not set. There is no Java here, so that is all of its own properties.
const NOT_SET: &str = "<NA>";

pub(super) fn write_envi(out: &mut Text) -> fmt::Result {
    writeln!(out, "Environment:")?;
    writeln!(out, "zookeeper.version={FULL_VERSION}")?;
    write_property(out, "host.name", process::host_name())?;
    for property in ["version", "vendor", "home", "class.path", "library.path", "io.tmpdir", "compiler"] {
        writeln!(out, "java.{property}={NOT_SET}")?;
    }
    writeln!(out, "os.name={}", java_os_name(env::consts::OS))?;
    writeln!(out, "os.arch={}", java_os_arch(env::consts::ARCH))?;
    write_property(out, "os.version", process::kernel_release())?;
    let (user, home) = process::user().unzip();
    write_property(out, "user.name", user)?;
    write_property(out, "user.home", home)?;
    write_property(out, "user.dir", env::current_dir().ok().map(|dir| dir.display().to_string()))?;
    // In Java these are about the heap: what of it is free, how far it may grow, how large it is.
    let memory = process::memory();
    let mebibytes = |bytes: u64| format!("{}MB", bytes >> 20);
    write_property(out, "os.memory.free", memory.map(|memory| mebibytes(memory.free)))?;
    write_property(out, "os.memory.max", memory.map(|memory| mebibytes(memory.max)))?;
    write_property(out, "os.memory.total", memory.map(|memory| mebibytes(memory.used)))
}

fn write_property(out: &mut Text, name: &str, value: Option<impl Display>) -> fmt::Result {
    match value {
        Some(value) => writeln!(out, "{name}={value}"),
        None => writeln!(out, "{name}={NOT_SET}"),
    }
}

/// Java's name for a system.
fn java_os_name(name: &str) -> &str {
    match name {
        "linux" => "Linux",
        "macos" => "Mac OS X",
        other => other,
    }
}

/// Java's name for an architecture.
fn java_os_arch(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        other => other,
    }
}
