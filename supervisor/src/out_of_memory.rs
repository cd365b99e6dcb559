//! Whether the kernel killed a process for want of memory: the cgroup counts such kills, and a SIGKILL that comes with a new
//! count, and was not ours, was one of them. Reads two small files; works with cgroup v1 and v2, and says no where there is neither.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The counter of our own memory cgroup, and how much of it is explained.
#[derive(Debug)]
pub struct OutOfMemory {
    file: Option<PathBuf>,
    explained: u64,
}

impl OutOfMemory {
    /// Finds the counter and takes its present value as explained.
    #[must_use]
    pub fn new() -> Self {
        let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = counter_files(&cgroups).into_iter().find(|file| kills(file).is_some());
        let mut counter = Self { file, explained: 0 };
        counter.forget();
        counter
    }

    /// Whether there was a kill that no death has explained yet; this death explains it.
    pub fn explains_a_kill(&mut self) -> bool {
        let Some(now) = self.file.as_deref().and_then(kills) else { return false };
        let new = now > self.explained;
        if new {
            self.explained += 1;
        }
        new
    }

    /// All kills so far belong to others: to be called when no death is waiting for its explanation.
    pub fn forget(&mut self) {
        if let Some(now) = self.file.as_deref().and_then(kills) {
            self.explained = now;
        }
    }
}

impl Default for OutOfMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the counter may be, most exact first. In a container the path of `/proc/self/cgroup` may lie outside of what is mounted;
/// then the mount's own root is the container's.
fn counter_files(cgroups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|name| name == "memory") {
            let root = Path::new("/sys/fs/cgroup/memory");
            files.extend([root.join(path).join("memory.oom_control"), root.join("memory.oom_control")]);
        } else if controllers.is_empty() {
            for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new) {
                files.extend([root.join(path).join("memory.events"), root.join("memory.events")]);
            }
        }
    }
    files
}

fn kills(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::counter_files;

    #[test]
    fn both_cgroup_versions_are_looked_at() {
        let files = counter_files("5:cpu,memory:/a/b\n0::/c\n");
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        assert_eq!(files[0], "/sys/fs/cgroup/memory/a/b/memory.oom_control");
        assert_eq!(files[2], "/sys/fs/cgroup/c/memory.events");
    }
}
