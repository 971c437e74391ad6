//! Facts about this process and its machine, as Linux tells them under `/proc`. What cannot be known is `None`.

use std::fs;

/// The files that are open.
pub(super) fn open_files() -> Option<u64> {
    // The listing itself is one of them.
    let files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(files.saturating_sub(1))
}

/// How many files may be open; `None` also if there is no limit.
pub(super) fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// The name of the machine.
pub(super) fn host_name() -> Option<String> {
    kernel_text("hostname")
}

/// The release of the kernel.
pub(super) fn kernel_release() -> Option<String> {
    kernel_text("osrelease")
}

fn kernel_text(name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Name and home directory of the user that the process runs as.
pub(super) fn user() -> Option<(String, String)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    find_user(&users, rustix::process::geteuid().as_raw())
}

fn find_user(users: &str, id: u32) -> Option<(String, String)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, user) = (fields.next()?, fields.next()?, fields.next()?);
        let (_group, _comment, home) = (fields.next()?, fields.next()?, fields.next()?);
        (user.parse() == Ok(id)).then(|| (name.to_owned(), home.to_owned()))
    })
}

/// Memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Memory {
    /// What the process could still have.
    pub(super) free: u64,
    /// What it could have at most: all there is, or less if its control group is limited.
    pub(super) max: u64,
    /// What it has.
    pub(super) used: u64,
}

/// The memory of process and machine.
pub(super) fn memory() -> Option<Memory> {
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    let process = fs::read_to_string("/proc/self/status").ok()?;
    let group_limit = || fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok();
    let used = kib_field(&process, "VmRSS:")?;
    let total = kib_field(&machine, "MemTotal:")?;
    let max = group_limit().map_or(total, |limit: u64| limit.min(total));
    let free = kib_field(&machine, "MemAvailable:")?.min(max.saturating_sub(used));
    Some(Memory { free, max, used })
}

/// The value of a line like `MemTotal:  123 kB`, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/bash\nbroken\nzk:x:107:110::/var/lib/zookeeper:/bin/sh\n";
        assert_eq!(find_user(users, 107), Some(("zk".to_owned(), "/var/lib/zookeeper".to_owned())));
        assert_eq!(find_user(users, 7), None);
    }

    #[test]
    fn fields_of_proc_are_in_bytes() {
        let text = "MemTotal:       16384 kB\nMemAvailable:    12 kB\nHugePages_Total:       0\n";
        assert_eq!(kib_field(text, "MemAvailable:"), Some(12 << 10));
        assert_eq!(kib_field(text, "MemTotal:"), Some(16 << 20));
        assert_eq!(kib_field(text, "HugePages_Total:"), None);
        assert_eq!(kib_field(text, "Other:"), None);
    }

    #[test]
    fn this_process_has_open_files_and_memory() {
        assert!(open_files().unwrap() >= 1);
        let memory = memory().unwrap();
        assert!(memory.used > 0 && memory.used <= memory.max);
    }
}
