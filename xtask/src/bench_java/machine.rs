//! The machine, in words that name nobody.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// Processor, memory, kernel, file system and Java, one line each.
pub fn describe(dir: &Path) -> String {
    let cpus = thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let virtual_machine = fs::read_to_string("/proc/cpuinfo")
        .is_ok_and(|text| text.contains(" hypervisor"))
        .then_some(", a virtual machine");
    let kib: f64 = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What follows the version names who built it.
    let kernel: String = kernel.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let lines = [
        format!("- {cpus} processors ({model}{})", virtual_machine.unwrap_or_default()),
        format!("- {:.0} GB of memory", kib * 1024.0 / 1e9),
        format!("- Linux {kernel}, {}", file_system(dir).unwrap_or_else(|| "unknown file system".to_owned())),
        format!("- {}", java_version().unwrap_or_else(|| "unknown Java".to_owned())),
    ];
    lines.join("\n")
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// The type of the file system that a folder lies on: that of the longest mount point above it.
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (mount_point, kind) = (fields.next()?, fields.next()?);
        dir.starts_with(mount_point).then(|| (mount_point.len(), kind.to_owned()))
    });
    above.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn java_version() -> Option<String> {
    let output = Command::new("java").arg("-version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(text.lines().next()?.replace('"', ""))
}
