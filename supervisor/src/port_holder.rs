//! Who listens on a port: for one sentence in one error message. Reads `/proc`; sees other users' processes only as root.

use std::{fs, net::SocketAddr};

use nix::unistd::Pid;

use crate::proc_files;

/// "python3 -m http.server (pid 8107)", if it can be seen.
#[must_use]
pub fn find(address: SocketAddr) -> Option<String> {
    let inodes = listening_inodes(address.port());
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(Pid::from_raw).find(|pid| holds_one_of(*pid, &inodes)).map(|pid| {
        let name = proc_files::command_line(pid).unwrap_or_else(|| "a process".to_owned());
        format!("{name} (pid {pid})")
    })
}

/// Inodes of all sockets that listen on this port, of whatever address: 0.0.0.0 and [::] stand in the way of each.
fn listening_inodes(port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let local_port = local.rsplit(':').next().and_then(|hex| u16::from_str_radix(hex, 16).ok());
            if *state == LISTENING && local_port == Some(port) {
                inodes.push(format!("socket:[{inode}]"));
            }
        }
    }
    inodes
}

fn holds_one_of(pid: Pid, inodes: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        fs::read_link(descriptor.path())
            .is_ok_and(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
    })
}
