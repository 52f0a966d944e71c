//! A control group of its own for each node, so that kubelets on one machine do
//! not see each other's Pods.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Starts the name of every group made here, followed by the owner's process id.
const PREFIX: &str = "evenkeel-bed-";

/// Processes that were killed leave their groups a moment later.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// A group at the top of every hierarchy. Dropping it removes it with all below.
#[derive(Debug)]
pub(crate) struct Cgroup {
    name: String,
}

impl Cgroup {
    /// Makes one for a node. Groups of processes that are gone are removed first:
    /// a process that is killed cannot clean up.
    pub(crate) fn new(node: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let hierarchies = hierarchies()?;
        sweep(&hierarchies);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let group = Self {
            name: format!("{PREFIX}{}-{number}-{node}", std::process::id()),
        };
        let legacy = hierarchies.iter().any(|hierarchy| !hierarchy.unified);
        // Beside version 1 the unified hierarchy has no controllers that kubelets use.
        for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.unified != legacy) {
            hierarchy.make(&group.name)?;
        }
        Ok(group)
    }

    /// As kubelets name it: from the root of the hierarchies.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for hierarchy in hierarchies().unwrap_or_default() {
            let path = hierarchy.root.join(&self.name);
            let deadline = Instant::now() + EMPTY_WITHIN;
            while path.exists() && !remove(&path) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A mounted hierarchy of control groups.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    /// Of version 2.
    unified: bool,
}

impl Hierarchy {
    fn make(&self, name: &str) -> Result<()> {
        let path = self.root.join(name);
        fs::create_dir(&path).with_context(|| format!("making the control group {}", path.display()))?;
        if self.unified {
            let controllers = self.root.join("cgroup.subtree_control");
            for controller in ["+cpuset", "+cpu", "+memory", "+pids", "+io", "+hugetlb"] {
                // What the kernel lacks, the kubelet will name.
                drop(fs::write(&controllers, controller));
            }
            return Ok(());
        }
        // A new cpuset is empty, and no process can enter it.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parent = self.root.join(file);
            if parent.exists() {
                let all = fs::read_to_string(&parent)?;
                fs::write(path.join(file), all).with_context(|| format!("writing {file}"))?;
            }
        }
        Ok(())
    }
}

fn hierarchies() -> Result<Vec<Hierarchy>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    Ok(parse(&text))
}

/// The lines of mountinfo (proc(5)): fields, a dash, then the file system's type.
fn parse(mounts: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let unified = match after.split(' ').next() {
            Some("cgroup") => false,
            Some("cgroup2") => true,
            _ => continue,
        };
        if let Some(root) = before.split(' ').nth(4).map(PathBuf::from)
            && !found.iter().any(|hierarchy| hierarchy.root == root)
        {
            found.push(Hierarchy { root, unified });
        }
    }
    found
}

/// Removes the groups of owners that no longer run.
fn sweep(hierarchies: &[Hierarchy]) {
    for hierarchy in hierarchies {
        let Ok(entries) = fs::read_dir(&hierarchy.root) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let owner = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                // What is still in use stays for the next time.
                remove(&entry.path());
            }
        }
    }
}

/// Removes a group and all below; the files in it are the kernel's and go along.
fn remove(path: &Path) -> bool {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found_once() {
        let mounts = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let hierarchy = |root: &str, unified| Hierarchy {
            root: root.into(),
            unified,
        };
        assert_eq!(
            parse(mounts),
            [
                hierarchy("/sys/fs/cgroup/memory", false),
                hierarchy("/sys/fs/cgroup/unified", true)
            ]
        );
    }
}
